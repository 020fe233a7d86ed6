"""An existing heketi.json starts the gateway as it is: with simulated nodes, with TLS, beside the other services."""

import json
import shutil
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from services.common.identity import Role
from tests.integration.clients import HOST, Rest
from tests.integration.stack import ON_SQLITE, Credentials, Server, Stack, environment, flags_of
from tests.integration.test_serve import children_of, is_gone

FILES = Path(__file__).resolve().parents[1] / "data" / "heketi_json"
_SERVICES = {"services.topology", "services.allocator", "services.executor", "gateway"}


@contextmanager
def gateway(
    name: str, directory: Path, *flags: str, env: dict[str, str] | None = None, file: Path | None = None
) -> Iterator[Server]:
    """A gateway with one of the files; only its port is another, so that tests can run beside anything."""
    argv = ["gateway", "--config", str(file or FILES / f"{name}.json"), "--rest", f"{HOST}:0", *flags]
    (directory / "tmp").mkdir()
    server = Server(name, argv, directory, {"TMPDIR": str(directory / "tmp"), **(env or {})})
    try:
        server.start()
        yield server
    finally:
        server.end()


def notes(server: Server) -> list[str]:
    return [str(event["note"]) for event in server.events("config.obsolete")]


def keys_told(server: Server) -> list[str]:
    told = [note.split(" ")[0].rstrip(":") for note in notes(server)]
    assert len(told) == len(set(told))
    return told


def test_executor_mock_means_simulated_nodes(short_path: Path) -> None:
    env = {"HEKETI_MOCK_DEVICE_SIZE_GB": "100", "HEKETI_DB_PATH": "/var/lib/heketi/other.db"}
    with gateway("mock", short_path, env=env) as server:
        rest = Rest(server.addresses[0], "My Secret")
        cluster = rest.made("/clusters", {"file": True, "block": True})["id"]
        for number in range(3):
            names = {"manage": [f"any{number}.example.com"], "storage": [f"192.168.10.{number}"]}
            node = rest.made("/nodes", {"zone": 1, "hostnames": names, "cluster": cluster})["id"]
            # Any disk, the first one too: Heketi's own tests use it.
            rest.made("/devices", {"name": f"/dev/sd{'abc'[number]}", "node": node})
        device = rest.json(f"/nodes/{node}")["devices"][0]
        assert device["storage"]["total"] == 100 << 20
        volume = rest.made("/volumes", {"size": 5, "durability": {"type": "replicate", "replicate": {"replica": 3}}})
        assert len(volume["bricks"]) == 3
        # SIGUSR2 ends an administrative mode, as in Heketi.
        assert rest.send("POST", "/admin", {"state": "read-only"}).status_code == 204
        assert rest.send("DELETE", f"/volumes/{volume['id']}").status_code == 503
        server.process.send_signal(signal.SIGUSR2)
        rest_again = Rest(server.addresses[0], "My Secret")
        while rest_again.json("/admin")["state"] != "normal":
            pass  # the signal is on its way
        assert rest.change("DELETE", f"/volumes/{volume['id']}").status_code == 204
        pids = children_of(server.pid)
        assert set(pids) == _SERVICES
        assert {"use_auth", "glusterfs.db", "glusterfs.executor", "HEKETI_DB_PATH"} <= set(keys_told(server))
        assert server.stop() == 0
    assert all(map(is_gone, pids.values()))
    assert list((short_path / "tmp").iterdir()) == []


def test_tls_of_the_file(tmp_path: Path, credentials: Credentials) -> None:
    files = credentials.of(Role.GATEWAY)
    shutil.copy(files.certificate, tmp_path / "heketi.crt")
    shutil.copy(files.key, tmp_path / "heketi.key")
    with gateway("tls", tmp_path) as server:
        url = server.addresses[0]
        assert url.startswith("https://")
        trusting = ssl.create_default_context(cafile=str(files.ca))
        with httpx.Client(base_url=url, verify=trusting) as http:
            assert http.get("/hello").text == "Hello from Heketi"
            # As Heketi's test of TLS does it: a cluster with a body of {} and a node.
            assert http.post("/clusters", content="{}").status_code == 401
        idle = httpx.Client(base_url=url, verify=trusting)
        assert Rest(url, "My Secret", http=idle).made("/clusters", {})["nodes"] == []
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            httpx.get(f"{url}/hello")
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"{url.replace('https', 'http')}/hello")
        # A client that keeps its connection, and does not look at it, is not waited for.
        assert server.stop() == 0
        assert "timeout graceful shutdown exceeded" not in server.log.read_text()
        idle.close()


def beside(stack: Stack) -> Sequence[str]:
    """Where the other services are: what no heketi.json can tell."""
    return (
        *flags_of(stack.credentials, Role.GATEWAY),
        *("--topology", stack.topology.addresses[0], "--allocator", stack.allocator.addresses[0]),
        *("--agents", stack.agents_server.addresses[0]),
    )


@ON_SQLITE
@pytest.mark.parametrize(
    ("name", "key", "told"),
    [
        (
            "ssh",
            "KubeAdminSecret-7Fd02",
            {
                "use_auth",
                "backup_db_to_kube_secret",
                "profiling",
                "glusterfs.db",
                "glusterfs.disable_background_cleaner",
                "glusterfs.refresh_time_background_cleaner",
                "glusterfs.brick_colour",
            },
        ),
        ("kubernetes", "My Secret", {"use_auth", "backup_db_to_kube_secret", "glusterfs.kubeexec"}),
    ],
)
def test_executors_beside_the_other_services(stack: Stack, tmp_path: Path, name: str, key: str, told: set[str]) -> None:
    with gateway(name, tmp_path, *beside(stack)) as server:
        assert Rest(server.addresses[0], key).send("GET", "/clusters").status_code == 200
        assert told <= set(keys_told(server))
        assert children_of(server.pid) == {}


@ON_SQLITE
def test_limits_and_start_mode_of_the_file_hold(stack: Stack, tmp_path: Path) -> None:
    content = json.loads((FILES / "ssh.json").read_text())
    content["default_state"] = "local-client"
    content["glusterfs"]["brick_min_size_gb"] = 3
    (tmp_path / "heketi.json").write_text(json.dumps(content))
    env = {"HEKETI_ADMIN_KEY": "from the environment", "HEKETI_JWT_IAT_LEEWAY_SECONDS": "7"}
    with gateway("ssh", tmp_path, *beside(stack), env=env, file=tmp_path / "heketi.json") as server:
        rest = Rest(server.addresses[0], "from the environment")
        assert rest.json("/admin") == {"state": "local-client"}
        rest.made("/clusters", {"file": True, "block": True})
        disperse = {"type": "disperse", "disperse": {"data": 4, "redundancy": 2}}
        refused = rest.send("POST", "/volumes", {"size": 11, "durability": disperse})
        assert "smaller than the minimum supported volume size (12582912)" in refused.text
        assert Rest(server.addresses[0], "KubeAdminSecret-7Fd02").send("GET", "/clusters").status_code == 401


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"jwt": {"admin": {"key": ""}, "user": {"key": "x"}}}, "JWT keys are missing"),
        ({"port": 8080}, "port: 8080 is not a string"),
        ({"glusterfs": {"executor": "pigeon"}}, "invalid executor: pigeon"),
        ({"default_state": "asleep"}, "unknown admin state name: asleep"),
        ({"enable_tls": True, "cert_file": "absent.crt", "key_file": "absent.key"}, "absent.crt"),
    ],
)
def test_what_cannot_be_used_is_told(tmp_path: Path, changes: dict[str, object], told: str) -> None:
    content = {**json.loads((FILES / "mock.json").read_text()), **changes}
    (tmp_path / "heketi.json").write_text(json.dumps(content))
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "--config", "heketi.json", "--rest", f"{HOST}:0"],
        env=environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode != 0
    assert told in done.stderr
    assert "Traceback" not in done.stderr
