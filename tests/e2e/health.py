"""What `brickyard status` tells of the stack, and what LVM does."""

import json
import sys
from dataclasses import dataclass
from typing import Any

from compose.lab.waiting import wait_until
from compose.stack import HOST_ADDRESS, PORTS, ROOT
from services.common.units import KIB
from tests.e2e.system import System


@dataclass(frozen=True, slots=True)
class Status:
    """One run of `brickyard status --refresh --json`."""

    exit_code: int
    report: dict[str, Any]

    def kinds(self, severity: str = "") -> list[str]:
        """The kinds of its problems, notices left out."""
        wanted = {f"SEVERITY_{severity}"} if severity else {"SEVERITY_WARNING", "SEVERITY_CRITICAL"}
        return [each["kind"] for each in self.report["problems"] if each["severity"] in wanted]

    def volume(self, name: str) -> dict[str, Any]:
        (found,) = [each for each in self.report["volumes"] if each["name"] == name]
        assert isinstance(found, dict)
        return found


def cli(system: System, *words: str) -> Any:
    """Runs `brickyard` in the lab's network; the finished process."""
    tls = str(system.stack.directory / "tls" / "operator")
    where = ("--address", f"{HOST_ADDRESS}:{PORTS['gateway']}", "--tls-dir", tls)
    environment = ["env", f"PYTHONPATH={ROOT}:{ROOT / 'protos' / 'gen'}"]
    argv = [*environment, sys.executable, "-m", "gateway.cli.brickyard", *words, *where]
    return system.stack.running_lab().host_run(argv, seconds=90, check=False)


def status(system: System) -> Status:
    """Looks at all nodes and tells."""
    done = cli(system, "status", "--refresh", "--json")
    assert done.stdout, done.stderr
    return Status(done.returncode, json.loads(done.stdout))


def await_status(system: System, what: str, *, well: bool = True, seconds: float = 90.0) -> Status:
    """Waits until nothing is wrong, or anything is; `what` is for the message."""
    found: list[Status] = []

    def arrived() -> bool:
        found.append(status(system))
        return (found[-1].exit_code == 0) is well

    wait_until(arrived, seconds=seconds, what=lambda: f"{what}: {found[-1].report['problems'][:5] if found else ''}")
    return found[-1]


def book_bytes(system: System, address: str) -> tuple[str, tuple[int, int]]:
    """Id of a node's only device, and its size and free bytes as the books tell."""
    (device,) = system.ask("GET", f"/nodes/{system.node_ids[address]}").json()["devices"]
    return device["id"], (device["storage"]["total"] * KIB, device["storage"]["free"] * KIB)


def group_bytes(system: System, address: str, device_id: str) -> tuple[int, int]:
    """Size and free bytes of a device's volume group, as `vgs` tells."""
    ask = f"lvm vgs --noheadings --nosuffix --units b -o vg_size,vg_free vg_{device_id}"
    total, free = system.shell(address, ask).split()
    return int(total), int(free)
