"""`brickyard`, the command: everything on one machine, certificates, tokens, topology files."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import httpx
import pytest

from brickyard.gateway.v1 import operator_service_pb2 as pb
from brickyard.gateway.v1.operator_service_pb2_grpc import OperatorServiceStub
from brickyard.topology.v1 import topology_service_pb2
from brickyard.topology.v1.topology_service_pb2_grpc import TopologyServiceStub
from services.common.credentials import TlsFiles
from services.common.identity import Role
from tests.integration.clients import HOST, KEYS, Rest
from tests.integration.stack import ON_SQLITE, Server, Stack, environment, secure_channel
from tests.integration.world import World

STOP_WITHIN_S = 20


def brickyard(*arguments: str, cwd: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateway.cli.brickyard", *arguments],
        cwd=cwd,
        env=environment(env),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def children_of(pid: int) -> dict[str, int]:
    """The processes that a process has started, by their module."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            argv = (entry / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue  # it ended while we looked
        if parent == pid and "-m" in argv:
            found[argv[argv.index("-m") + 1]] = int(entry.name)
    return found


def is_gone(pid: int) -> bool:
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True


@contextmanager
def embedded(directory: Path, *flags: str) -> Iterator[Server]:
    """`brickyard serve` on free ports, with its temporary files below `directory`."""
    (directory / "tmp").mkdir()
    argv = ["gateway.cli.brickyard", "serve", "--rest", f"{HOST}:0", "--operator", f"{HOST}:0", *flags]
    server = Server("serve", argv, directory, {"TMPDIR": str(directory / "tmp")})
    server.spawn()
    try:
        server.await_ready()
        yield server
    finally:
        server.end()


def url_of(server: Server) -> str:
    return server.addresses[0]


def test_populated_and_ended_without_a_trace(short_path: Path) -> None:
    started = time.monotonic()
    with embedded(short_path, "--nodes", "4", "--disks", "2", "--populate") as server:
        print(f"brickyard serve --populate: ready after {time.monotonic() - started:.1f} s")
        (state,) = (short_path / "tmp").iterdir()
        assert state.stat().st_mode & 0o077 == 0
        rest = Rest(url_of(server), (state / "admin.key").read_text().strip())
        (cluster,) = rest.json("/clusters")["clusters"]
        nodes = [rest.json(f"/nodes/{node}") for node in rest.json(f"/clusters/{cluster}")["nodes"]]
        assert [len(node["devices"]) for node in nodes] == [2, 2, 2, 2]
        body = {"size": 5, "durability": {"type": "replicate", "replicate": {"replica": 3}}}
        volume = rest.made("/volumes", body)
        assert rest.change("DELETE", f"/volumes/{volume['id']}").status_code == 204
        assert httpx.get(f"{url_of(server)}/clusters").status_code == 401
        pids = children_of(server.pid)
        assert set(pids) == {"services.topology", "services.allocator", "services.executor", "gateway"}
        assert server.stop() == 0
        assert server.events("node.changed") == []
    assert all(is_gone(pid) for pid in pids.values())
    assert list((short_path / "tmp").iterdir()) == []


def test_what_it_prints_works(short_path: Path) -> None:
    with embedded(short_path, "--nodes", "3") as server:
        # What follows the ready line is written at once with it.
        lines = [server.process.stdout.readline() for _ in range(4)] if server.process.stdout else []
        text = server.ready_line + "\n" + "".join(lines)
        (operator,) = re.findall(r"and (\S+) \(gRPC\)", text)
        with grpc.insecure_channel(operator, options=[("grpc.enable_retries", 0)]) as channel:
            assert not OperatorServiceStub(channel).ListClusters(pb.ListClustersRequest(), timeout=5).clusters
        (curl,) = [line.strip() for line in lines if line.strip().startswith("curl")]
        arguments = re.search(r"brickyard (token [^)]*)\)", curl)
        assert arguments is not None
        token = brickyard(*arguments[1].split(), cwd=short_path).stdout.strip()
        url = curl.split()[-1]
        assert httpx.get(url, headers={"Authorization": f"bearer {token}"}).json() == {"clusters": []}
        (load,) = [line.split()[1:] for line in lines if line.strip().startswith("brickyard topology load")]
        done = brickyard(*load, cwd=short_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("Creating node") == 3
        again = brickyard(*load, cwd=short_path)
        assert (again.returncode, again.stdout.count("Found node"), again.stdout.count("Creating")) == (0, 3, 0)
        assert server.stop(signal.SIGINT) == 0
    assert list((short_path / "tmp").iterdir()) == []


@pytest.mark.parametrize("victim", ["services.topology", "services.executor", "gateway"])
def test_it_ends_with_an_error_when_a_part_dies(short_path: Path, victim: str) -> None:
    with embedded(short_path, "--nodes", "3") as server:
        pids = children_of(server.pid)
        os.kill(pids[victim], signal.SIGKILL)
        assert server.wait(STOP_WITHIN_S) == 1
        assert "ended with exit code -9" in server.tail()
        assert "Traceback" not in server.log.read_text()
    assert all(is_gone(pid) for pid in pids.values())
    assert list((short_path / "tmp").iterdir()) == []


def test_a_taken_port_is_told_and_nothing_stays(short_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        address = f"{HOST}:{taken.getsockname()[1]}"
        (short_path / "tmp").mkdir()
        done = brickyard(
            *("serve", "--rest", address, "--operator", f"{HOST}:0"),
            cwd=short_path,
            env={"TMPDIR": f"{short_path}/tmp"},
        )
    assert done.returncode == 1
    assert address in done.stderr
    assert "Traceback" not in done.stderr
    assert list((short_path / "tmp").iterdir()) == []


def test_state_directory_keeps_what_was_made(short_path: Path) -> None:
    flags = ["--nodes", "3", "--state-dir", str(short_path / "state"), "--disable-auth"]
    with embedded(short_path, *flags) as server:
        made = Rest(url_of(server)).made("/clusters", {"file": True, "block": True})
        assert server.stop() == 0
    (short_path / "tmp").rmdir()
    with embedded(short_path, *flags) as server:
        assert Rest(url_of(server)).json("/clusters") == {"clusters": [made["id"]]}
        assert server.stop() == 0


def test_certificates_of_the_command_line(short_path: Path) -> None:
    made = brickyard("ca", "init", "--dir", "ca", cwd=short_path)
    assert (made.returncode, (short_path / "ca" / "ca-key.pem").stat().st_mode & 0o077) == (0, 0)
    again = brickyard("ca", "init", "--dir", "ca", cwd=short_path)
    assert again.returncode != 0
    assert "already" in again.stderr
    for role in ("topology", "operator"):
        flags = ("--role", role, "--name", role, "--host", HOST, "--out", role)
        done = brickyard("ca", "issue", "--dir", "ca", *flags, cwd=short_path)
        assert done.returncode == 0, done.stderr
        assert (short_path / role / "key.pem").stat().st_mode & 0o077 == 0
    argv = ["services.topology", "--listen", f"{HOST}:0", "--tls-dir", "topology", "--database", "sqlite:///t.db"]
    server = Server("topology", argv, short_path)
    try:
        server.start()
        files = TlsFiles.in_directory(short_path / "operator")
        with secure_channel(server.addresses[0], files, authority=short_path / "ca") as channel:
            answer = TopologyServiceStub(channel).ListClusters(topology_service_pb2.ListClustersRequest(), timeout=10)
        assert list(answer.clusters) == []
    finally:
        server.end()
    wrong = brickyard("ca", "issue", "--dir", "ca", "--role", "king", "--name", "x", "--out", "x", cwd=short_path)
    assert wrong.returncode != 0
    assert "king" in wrong.stderr
    nowhere = brickyard(
        "ca", "issue", "--dir", "nowhere", "--role", "agent", "--name", "x", "--out", "x", cwd=short_path
    )
    assert nowhere.returncode != 0
    assert "nowhere" in nowhere.stderr


@ON_SQLITE
def test_token_for_one_request(stack: Stack, short_path: Path) -> None:
    for user in KEYS:
        (short_path / f"{user}.key").write_text(KEYS[user] + "\n")

    def asked(user: str, method: str, path: str, *, ask: str = "", key: str = "") -> int:
        flags = ("--key-file", f"{key or user}.key", "--user", user, method, path)
        token = brickyard("token", *flags, cwd=short_path).stdout.strip()
        url = f"{stack.gateway.addresses[0]}{ask or path}"
        return httpx.request(method, url, headers={"Authorization": f"bearer {token}"}).status_code

    assert asked("admin", "GET", "/clusters") == 200
    assert asked("admin", "GET", "/clusters", ask="/volumes") == 401
    assert asked("admin", "GET", "/clusters", key="user") == 401
    assert asked("user", "GET", "/volumes") == 200
    assert asked("user", "GET", "/clusters") == 401


@ON_SQLITE
def test_topology_load_goes_on_after_a_failure(world: World, stack: Stack, short_path: Path) -> None:
    numbers = stack.fresh_nodes(2)
    nodes = [
        {
            "node": {"hostnames": {"manage": [f"node{number}"], "storage": [f"10.0.0.{number}"]}, "zone": 1},
            "devices": ["/dev/sdb", {"name": "/dev/sdc"}],
        }
        for number in numbers
    ]
    nodes.insert(1, {"node": {"hostnames": {"manage": ["nobody"], "storage": ["10.9.9.9"]}, "zone": 1}, "devices": []})
    (short_path / "topology.json").write_text(json.dumps({"clusters": [{"nodes": nodes}]}))
    (short_path / "admin.key").write_text(KEYS["admin"])
    server = ("--server", stack.gateway.addresses[0], "--key-file", "admin.key")
    done = brickyard("topology", "load", *server, "topology.json", cwd=short_path)
    assert done.returncode == 1
    assert "Unable to create node" in done.stdout
    assert done.stdout.count("OK") == 4
    assert "1 of the items" in done.stderr
    broken = short_path / "broken.json"
    broken.write_text('{"clusters": [{"nodes": [{"node": {}}]}]}')
    done = brickyard("topology", "load", *server, str(broken), cwd=short_path)
    assert done.returncode == 1
    assert "clusters[0].nodes[0]" in done.stderr
    assert Role.OPERATOR.value in brickyard("ca", "issue", "--help", cwd=short_path).stdout


def test_a_directory_that_is_too_deep_for_sockets_is_refused_by_name(tmp_path: Path) -> None:
    deep = tmp_path / ("deep" * 20)
    done = brickyard("serve", "--state-dir", str(deep), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"Error: cannot listen on unix:{deep}/topology.sock: a socket's path has at most 107")
    assert done.stderr.endswith("choose a directory with a shorter path\n")
