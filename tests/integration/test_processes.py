"""Each process by itself: its settings, its errors, its logs, its end."""

import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from services.common.identity import Role
from services.common.ids import new_id
from tests.integration.clients import HOST, KEYS
from tests.integration.stack import ON_SQLITE, Credentials, Server, Stack, environment, wait_until
from tests.integration.world import World, operation_id

MODULES = {
    "topology": "services.topology",
    "allocator": "services.allocator",
    "agent": "services.executor",
    "gateway": "gateway",
}
# What each needs besides an address.
NEEDED: Mapping[str, Sequence[str]] = {
    "topology": (),
    "allocator": (),
    "agent": ("--simulate", "1"),
    "gateway": ("--rest", f"{HOST}:0", "--disable-auth"),
}


@contextmanager
def server(name: str, directory: Path, *flags: str, env: Mapping[str, str] | None = None) -> Iterator[Server]:
    """A ready process on a free port without certificates, unless the flags say otherwise."""
    needed = [*NEEDED[name], *(["--state-dir", str(directory)] if name == "topology" else [])]
    listen = [] if "--listen" in flags or env else ["--listen", f"{HOST}:0"]
    made = Server(name, [MODULES[name], *listen, "--insecure-plaintext", *needed, *flags], directory, env or {})
    try:
        made.start()
        yield made
    finally:
        made.end()


def refused(
    name: str, directory: Path, *flags: str, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """A process that is to end by itself with an error, and not with a traceback."""
    state = ["--state-dir", str(directory)] if name == "topology" else []
    done = subprocess.run(
        [sys.executable, "-m", MODULES[name], *NEEDED[name], *state, *flags],
        env=environment(env),
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode not in {0, -signal.SIGTERM}
    assert "Traceback" not in done.stderr
    assert " ready on " not in done.stdout
    return done


EVERY = pytest.mark.parametrize("name", MODULES)


@EVERY
def test_flag_over_environment_over_file_over_default(name: str, tmp_path: Path) -> None:
    prefix = f"BRICKYARD_{name.upper()}"
    sockets = {each: tmp_path / each for each in ("flag", "environment", "file")}
    for directory in sockets.values():
        directory.mkdir(mode=0o700)
    config = tmp_path / "config.toml"
    config.write_text(f'listen = ["unix:{sockets["file"]}/s"]\n')
    env = {f"{prefix}_LISTEN": f"unix:{sockets['environment']}/s"}
    flags = ["--listen", f"unix:{sockets['flag']}/s"]
    told = ["--config", str(config)]
    for given, where in (
        ((told, {}), "file"),
        ((told, env), "environment"),
        (([*told, *flags], env), "flag"),
        (([], {**env, f"{prefix}_CONFIG": str(config)}), "environment"),
    ):
        arguments, environment_given = given
        with server(name, tmp_path, *arguments, env={"UNUSED": "", **environment_given}) as running:
            assert f"unix:{sockets[where]}/s" in running.addresses
            assert running.stop() == 0


@EVERY
def test_log_level_counts_in_any_order(name: str, tmp_path: Path) -> None:
    with server(name, tmp_path, "--log-format", "json", "--log-level", "error") as running:
        assert running.stop() == 0
    assert running.events() == []


@pytest.mark.parametrize(
    ("name", "through"),
    [
        ("topology", "flag"),
        ("agent", "environment"),
        *((name, "environment") for name in ("topology", "allocator", "gateway")),
    ],
)
def test_log_level_in_the_file_counts(name: str, through: str, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('log_level = "error"\n')
    flags = ["--config", str(config)] if through == "flag" else []
    env = {f"BRICKYARD_{name.upper()}_CONFIG": str(config)} if through == "environment" else {}
    with server(name, tmp_path, "--listen", f"{HOST}:0", *flags, env=env) as running:
        assert running.stop() == 0
    assert running.events() == []


@EVERY
def test_taken_port(name: str, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        address = f"{HOST}:{taken.getsockname()[1]}"
        done = refused(name, tmp_path, "--listen", address, "--insecure-plaintext")
        assert address in done.stderr
        if name == "gateway":
            done = refused(name, tmp_path, "--listen", f"{HOST}:0", "--insecure-plaintext", "--rest", address)
            assert address in done.stderr


@EVERY
def test_socket_with_too_long_a_path(name: str, tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/{'long' * 30}.sock"
    done = refused(name, tmp_path, "--listen", address)
    assert f"cannot listen on {address}: a socket's path has at most 107 bytes" in done.stderr


@EVERY
def test_missing_certificates(name: str, tmp_path: Path) -> None:
    done = refused(name, tmp_path, "--listen", f"{HOST}:0", "--tls-dir", str(tmp_path / "none"))
    assert str(tmp_path / "none" / "ca.pem") in done.stderr
    assert "brickyard ca issue" in done.stderr


@EVERY
def test_broken_certificates(name: str, tmp_path: Path) -> None:
    for file in ("ca.pem", "cert.pem", "key.pem"):
        (tmp_path / file).write_text("not a certificate\n")
    done = refused(name, tmp_path, "--listen", f"{HOST}:0", "--tls-dir", str(tmp_path))
    assert str(tmp_path) in done.stderr


@EVERY
def test_plain_tcp_must_be_asked_for_by_name(name: str, tmp_path: Path) -> None:
    done = refused(name, tmp_path, "--listen", f"{HOST}:0")
    assert "--insecure-plaintext" in done.stderr


@EVERY
def test_socket_directory_must_be_private(name: str, tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    done = refused(name, tmp_path, "--listen", f"unix:{tmp_path}/open/s")
    assert "chmod 700" in done.stderr


@EVERY
def test_unknown_settings_are_named(name: str, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('lissten = "x"\n')
    done = refused(name, tmp_path, "--config", str(config))
    assert "lissten" in done.stderr
    assert "--nonsense" in refused(name, tmp_path, "--nonsense").stderr


@pytest.mark.parametrize(
    ("name", "flags", "told"),
    [
        ("topology", ["--database", "mysql://x/y"], "mysql"),
        ("topology", ["--database", "sqlite:////nowhere/at/all.db"], "/nowhere/at/all.db"),
        ("topology", ["--database", "postgresql://nobody@127.0.0.1:1/none"], "127.0.0.1"),
        ("agent", ["--simulate-disk-size", "large"], "large"),
        ("agent", ["--faults", "broken.json"], "broken.json"),
        ("gateway", ["--rest", "nowhere"], "nowhere"),
        ("gateway", ["--lease-seconds", "0"], "--lease-seconds"),
        ("gateway", ["--rest-cert", "broken.json"], "--rest-key"),
        ("gateway", ["--admin-key-file", "absent.key"], "absent.key"),
    ],
)
def test_wrong_values_are_named(name: str, flags: list[str], told: str, tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text('{"fault": [{"command": "x", "action": "explode"}]}')
    done = refused(name, tmp_path, "--listen", f"{HOST}:0", "--insecure-plaintext", *flags)
    assert told in done.stderr


def test_gateway_insists_on_keys(tmp_path: Path) -> None:
    flags = ["-m", "gateway", "--listen", f"{HOST}:0", "--insecure-plaintext", "--rest", f"{HOST}:0"]
    done = subprocess.run(
        [sys.executable, *flags], env=environment(), capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode != 0
    assert "--admin-key-file" in done.stderr
    for user in ("admin", "user"):
        (tmp_path / user).write_text(f"{KEYS[user]}\n")
    files = ["--admin-key-file", str(tmp_path / "admin"), "--user-key-file", str(tmp_path / "user")]
    made = Server("gateway", [*flags[1:], *files], tmp_path, {"HEKETI_ADMIN_KEY": "less than the file"})
    try:
        made.start()
    finally:
        made.end()


@pytest.mark.parametrize(
    ("name", "number"),
    [*((name, signal.SIGTERM) for name in MODULES), ("gateway", signal.SIGINT), ("topology", signal.SIGINT)],
)
def test_signals_end_it_in_order(name: str, number: signal.Signals, tmp_path: Path) -> None:
    with server(name, tmp_path) as running:
        assert running.stop(number) == 0
        assert [event["event"] for event in running.events()][-2:] == ["server.stopping", "server.stopped"]
        assert all(event["process"] and event["level"] and event["timestamp"] for event in running.events())


def test_rest_with_certificate(tmp_path: Path, credentials: Credentials) -> None:
    files = credentials.of(Role.GATEWAY)
    flags = ["--rest-cert", str(files.certificate), "--rest-key", str(files.key)]
    with server("gateway", tmp_path, *flags) as running:
        assert running.addresses[0].startswith("https://")
        context = ssl.create_default_context(cafile=str(files.ca))
        assert httpx.get(f"{running.addresses[0]}/hello", verify=context).status_code == 200


@ON_SQLITE
def test_request_id_goes_all_the_way(world: World, stack: Stack) -> None:
    cluster = world.cluster(3)
    given = new_id()
    accepted = world.rest.send("POST", "/volumes", cluster.volume_body(1), headers={"X-Request-Id": given})
    assert accepted.headers["x-request-id"] == given
    assert world.rest.follow(accepted).status_code == 303
    begun = operation_id(accepted.headers["location"])
    rpc = "/brickyard.{}.v1.{}".format
    traces: list[tuple[Server, str, dict[str, object]]] = [
        (stack.gateway, "request.answered", {"path": "/volumes"}),
        (stack.gateway, "operation.started", {"operation_id": begun}),
        (stack.gateway, "operation.ended", {"operation_id": begun}),
        (stack.allocator, "rpc.done", {"method": rpc("allocator", "AllocatorService/PlanVolume")}),
        (stack.topology, "rpc.done", {"method": rpc("topology", "TopologyService/GetInventory")}),
        (stack.topology, "rpc.done", {"method": rpc("topology", "OperationService/BeginOperation")}),
        (stack.topology, "rpc.done", {"method": rpc("topology", "OperationService/CommitOperation")}),
        (stack.agents_server, "rpc.done", {"method": rpc("executor", "ExecutorService/CreateBrick")}),
        (stack.agents_server, "command.run", {}),
    ]

    def missing() -> list[tuple[str, str, dict[str, object]]]:
        return [
            (server.name, event, fields)
            for server, event, fields in traces
            if not server.events(event, request_id=given, **fields)
        ]

    wait_until(lambda: not missing(), f"request id {given} in all logs; missing in {missing()}", seconds=3)
    commands = [each["argv"] for each in stack.agents_server.events("command.run", request_id=given)]
    assert {argv[0] for argv in commands} == {"lvm", "mkfs.xfs", "gluster"}


@ON_SQLITE
def test_a_request_without_a_fit_id_gets_one(stack: Stack) -> None:
    for headers in ({}, {"X-Request-Id": "short"}, {"X-Request-Id": "x" * 5000}):
        answer = stack.rest().send("GET", "/clusters", headers=headers)
        assert len(answer.headers["x-request-id"]) == 32
        assert answer.status_code == 200
