"""An agent joins by token on a real storage node, and works there with no more than its unit allows it."""

import configparser
import contextlib
import json
import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from compose.lab.waiting import wait_until
from compose.stack import HOST_ADDRESS, PORTS, ROOT
from services.common.authority import issue_certificate
from services.common.identity import Role
from tests.e2e.system import MEMBERS, SPARE_DISK, System

pytestmark = pytest.mark.timeout(120)
# Beside the node's own agent, with a state of its own.
PORT = 7411
TLS = "/var/lib/brickyard-joined/tls"
STATE = "/var/lib/brickyard-joined/state"
UNIT = ROOT / "compose" / "systemd" / "brickyard-agent.service"
DEVICE_ID, BRICK_ID = "9" * 32, "8" * 32
SERVICE = "brickyard.executor.v1.ExecutorService"
MIB = 1 << 20


def brickyard(system: System, *argv: str) -> str:
    """The operator's command line, in the lab's network."""
    environment = ["env", f"PYTHONPATH={ROOT}:{ROOT / 'protos' / 'gen'}"]
    where = ["--topology", f"{HOST_ADDRESS}:{PORTS['topology']}"]
    where += ["--tls-dir", str(system.stack.directory / "tls" / "operator")]
    command = [*environment, sys.executable, "-m", "gateway.cli.brickyard", *argv, *where]
    done = system.stack.running_lab().host_run(command, seconds=60, check=True)
    return str(done.stdout)


def capabilities() -> list[str]:
    """Those that the unit leaves to the agent, for setpriv."""
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(UNIT)
    names = unit["Service"]["CapabilityBoundingSet"].split()
    left = ",".join(["-all", *(f"+{name.removeprefix('CAP_').lower()}" for name in names)])
    return ["setpriv", f"--bounding-set={left}", "--no-new-privs"]


@pytest.fixture
def address(system: System) -> Iterator[str]:
    """A node outside of the cluster, with an agent on it that joined by token."""
    found = system.stack.addresses[MEMBERS]
    node = system.node(found)
    token = json.loads(brickyard(system, "agent", "token", found, "--json"))
    agent = [sys.executable, "-m", "services.executor"]
    pin = ["--ca-pin", token["authority_pin"], "--token-file", "-"]
    join = [*agent, "join", token["join_address"], "--node-name", found, "--tls-dir", TLS, *pin]
    told = node.run(join, stdin=token["token"], check=True, seconds=60).stdout
    assert f"--topology {HOST_ADDRESS}:{PORTS['topology']}" in told
    assert node.run(join, stdin=token["token"], seconds=60).returncode == 1
    flags = ["--listen", f"{found}:{PORT}", "--node-name", found, "--tls-dir", TLS, "--state-dir", STATE]
    flags += ["--fstab", f"{STATE}/fstab", "--identity-poll-seconds", "0.5"]
    flags += ["--topology", f"{HOST_ADDRESS}:{PORTS['topology']}"]
    pid = node.start([*capabilities(), *agent, *flags], log="joined-agent")
    try:
        wait_until(lambda: call(system, found, "GetNodeFacts")["code"] == "OK", seconds=60, what="the joined agent")
        yield found
    finally:
        with contextlib.suppress(Exception):
            call(system, found, "DeleteBrick", request_id="end/brick", brick=brick())
            call(system, found, "DeleteDevice", request_id="end/device", device_id=DEVICE_ID)
        system.shell(found, f"kill {pid}; rm -rf /var/lib/brickyard-joined")


def call(system: System, address: str, method: str, *, role: str = "gateway", **request: Any) -> dict[str, Any]:
    (answer,) = system.rpc(f"{address}:{PORT}", f"{SERVICE}/{method}={json.dumps(request)}", role=role)
    return answer


def brick() -> dict[str, Any]:
    return {
        "id": BRICK_ID,
        "device_id": DEVICE_ID,
        "size_bytes": 512 * MIB,
        "thin_pool_size_bytes": 512 * MIB,
        "pool_metadata_size_bytes": 8 * MIB,
    }


def test_a_joined_agent_works_within_its_unit(system: System, address: str) -> None:
    made = call(system, address, "CreateDevice", request_id="join/device", device_id=DEVICE_ID, path=SPARE_DISK)
    assert made["code"] == "OK", made
    made = call(system, address, "CreateBrick", request_id="join/brick", brick=brick(), gid=2000)
    assert made["code"] == "OK", made
    # Mounted for everybody on the node, glusterd above all.
    mount_point = f"/var/lib/heketi/mounts/vg_{DEVICE_ID}/brick_{BRICK_ID}"
    assert system.shell(address, f"findmnt -no FSTYPE {mount_point}").strip() == "xfs"
    assert system.shell(address, f"stat -c %g {mount_point}/brick").strip() == "2000"
    status = system.shell(address, f"cat /proc/$(pgrep -f -- '--listen {address}:{PORT}' | head -n 1)/status")
    bounding = re.search(r"^CapBnd:\s*(\S+)$", status, re.MULTILINE)
    # CAP_NET_ADMIN is one of many that it has not.
    assert bounding is not None
    assert not int(bounding[1], 16) & 1 << 12
    removed = call(system, address, "DeleteBrick", request_id="join/brick-gone", brick=brick())
    assert removed["code"] == "OK", removed
    removed = call(system, address, "DeleteDevice", request_id="join/device-gone", device_id=DEVICE_ID)
    assert removed["code"] == "OK", removed


def test_a_revoked_gateway_is_refused_on_the_node_within_seconds(system: System, address: str) -> None:
    tls = system.stack.directory / "tls"
    issue_certificate(system.stack.directory / "ca", tls / "thief", role=Role.GATEWAY, name="thief")
    assert call(system, address, "GetGlusterd", role="thief")["code"] == "OK"
    brickyard(system, "ca", "revoke", "--role", "gateway", "--name", "thief")
    wait_until(
        lambda: call(system, address, "GetGlusterd", role="thief")["code"] == "UNAUTHENTICATED",
        seconds=20,
        what="the agent to refuse a revoked gateway",
    )
    assert call(system, address, "GetGlusterd")["code"] == "OK"
    assert f"agent     {address}" in brickyard(system, "ca", "list")
