"""compose.yaml with simulated nodes: containers are killed, and volumes go on being made."""

import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.compose.engine import EngineError, Project

pytestmark = pytest.mark.timeout(900)
SERVERS = ("postgres", "topology", "allocator", "gateway1", "gateway2", "nodes")
NODES = ("agent1", "agent2", "agent3")
FIRST, SECOND = 8080, 8081
PATIENCE_S = 180.0


def wait_until(condition: Callable[[], Any], what: str, *, seconds: float = PATIENCE_S) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        time.sleep(0.5)
    return found


def cli(project: Project, *arguments: str, port: int = FIRST) -> Any:
    """heketi-cli, as anybody on this host would call it; what it writes, read if it is JSON."""
    argv = [sys.executable, "-m", "gateway.cli.heketi_cli", *arguments]
    env = {
        "HEKETI_CLI_SERVER": f"http://127.0.0.1:{port}",
        "HEKETI_CLI_USER": "admin",
        "HEKETI_CLI_KEY": project.environment["BRICKYARD_ADMIN_KEY"],
        "PYTHONPATH": ":".join(path for path in sys.path if path),
    }
    text = project.engine.in_network(argv, env=env, timeout_s=180)
    return json.loads(text) if text.lstrip().startswith(("{", "[")) else text


def create(project: Project, name: str, *, port: int = FIRST) -> dict[str, Any]:
    made: dict[str, Any] = cli(
        project, "--json", "volume", "create", "--size=10", "--replica=3", f"--name={name}", port=port
    )
    return made


def volumes(project: Project, *, port: int = SECOND) -> dict[str, str]:
    """Ids of all volumes by name."""
    lines = cli(project, "volume", "list", port=port).splitlines()
    words = [dict(word.split(":", 1) for word in line.split() if ":" in word) for line in lines]
    return {each["Name"]: each["Id"] for each in words if "Name" in each}


def all_healthy(project: Project) -> bool:
    return all(project.is_healthy(service) for service in SERVERS)


@pytest.fixture(scope="session")
def loaded(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The stack with a cluster of three nodes."""
    wait_until(lambda: all_healthy(project), "all health checks")
    nodes = [
        {
            "node": {"hostnames": {"manage": [name], "storage": [name]}, "zone": zone},
            "devices": ["/dev/sdb", "/dev/sdc"],
        }
        for zone, name in enumerate(NODES, start=1)
    ]
    file: Path = tmp_path_factory.mktemp("topology") / "topology.json"
    file.write_text(json.dumps({"clusters": [{"nodes": nodes}]}))
    cli(project, "topology", "load", f"--json={file}")
    return project


def test_a_volume_is_made_and_removed(loaded: Project) -> None:
    volume = create(loaded, "plain")
    assert sorted(brick["path"].split("/")[-1] for brick in volume["bricks"]) == ["brick"] * 3
    assert volumes(loaded) == {"plain": volume["id"]}
    cli(loaded, "volume", "delete", volume["id"])
    assert volumes(loaded) == {}


def test_nobody_is_root(loaded: Project) -> None:
    for service in ("topology", "allocator", "gateway1", "gateway2", "nodes"):
        assert loaded.inspect(service, "{{.Config.User}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}}") == (
            "10001:10001 true [ALL]"
        )


def test_agents_join_by_token_and_keep_their_keys(loaded: Project) -> None:
    listed = loaded.compose("run", "--rm", "brickyard", "ca", "list", "--topology", "topology:7401")
    (agent,) = [line for line in listed.splitlines() if "agent1" in line.split()]
    assert "revoked" not in agent
    for service in ("identities", "tokens", "topology", "gateway1"):
        mounted = loaded.inspect(service, "{{range .Mounts}}{{.Name}} {{end}}").split()
        assert not [name for name in mounted if "tls-agent" in name], service
    # Nobody signs who faces users.
    assert "brickyard_authority" not in loaded.inspect("gateway1", "{{range .Mounts}}{{.Name}} {{end}}").split()


@pytest.mark.parametrize("victim", ["gateway1", "topology", "allocator", "nodes", "postgres"])
def test_volumes_go_on_when_a_container_is_killed(loaded: Project, victim: str) -> None:
    before = loaded.restarts(victim)
    wanted = {f"{victim}-{number}" for number in range(4)}
    with ThreadPoolExecutor(len(wanted)) as pool:
        # Half of them are on their way when it dies.
        calls = [pool.submit(attempt, loaded, name) for name in sorted(wanted)]
        loaded.crash(victim)
        outcomes = [call.result() for call in calls]
    wait_until(lambda: loaded.restarts(victim) == before + 1, f"docker to start {victim} anew")
    wait_until(lambda: all_healthy(loaded), "all health checks")
    # What was cut off is finished or taken back by a gateway, whoever began it.
    wait_until(lambda: no_operation_runs(loaded), "the end of all operations")
    there = volumes(loaded).keys()
    assert {name for name, made in zip(sorted(wanted), outcomes, strict=True) if made} <= there
    for name in sorted(wanted - there):
        create(loaded, name)
    made = volumes(loaded)
    assert made.keys() == wanted
    with ThreadPoolExecutor(len(wanted)) as pool:
        list(pool.map(lambda each: cli(loaded, "volume", "delete", each, port=SECOND), made.values()))
    assert volumes(loaded) == {}
    assert "no violation" in loaded.compose("run", "--rm", "brickyard", "db", "check", "--topology", "topology:7401")


def attempt(project: Project, name: str) -> bool:
    """Whether a volume was made, as far as its client knows."""
    try:
        create(project, name)
    except EngineError:
        return False
    return True


def no_operation_runs(project: Project) -> bool:
    return "Total: 0" in cli(project, "server", "operations", "info", port=SECOND)


def test_a_volume_waits_for_nodes_that_do_not_answer(loaded: Project) -> None:
    agent = loaded.container("nodes")
    with ThreadPoolExecutor(1) as pool:
        loaded.engine.docker("pause", agent)
        call = pool.submit(create, loaded, "patient")
        time.sleep(2)
        assert not call.done()
        loaded.engine.docker("unpause", agent)
        volume = call.result()
    cli(loaded, "volume", "delete", volume["id"])
