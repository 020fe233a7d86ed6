"""Examine and repair on real nodes: what was broken by hand is named exactly, what is safe is mended, data stays."""

import json
import sys
from subprocess import CompletedProcess
from typing import Any

import pytest

from compose.stack import HOST_ADDRESS, PORTS, ROOT
from services.common.ids import new_id
from tests.e2e.system import SPARE_DISK, System

pytestmark = pytest.mark.timeout(400)
TEXT = "How vexingly quick daft zebras jump!\n" * 5_000
FSTAB = "/var/lib/brickyard/fstab"
MOUNTS = "/var/lib/heketi/mounts"


def brickyard(system: System, *words: str) -> "CompletedProcess[str]":
    """The command line, in the lab's network, with an operator's certificate."""
    address = f"{HOST_ADDRESS}:{PORTS['gateway']}"
    argv = [
        *("env", f"PYTHONPATH={ROOT}:{ROOT / 'protos' / 'gen'}", sys.executable, "-m", "gateway.cli.brickyard"),
        *(*words, "--address", address, "--tls-dir", str(system.stack.directory / "tls" / "operator")),
    ]
    done: CompletedProcess[str] = system.stack.running_lab().host_run(argv, seconds=150, check=False)
    return done


def examine(system: System, code: int) -> list[dict[str, Any]]:
    """The findings; the command must end with this code."""
    done = brickyard(system, "examine", "--json")
    assert done.returncode == code, done.stdout + done.stderr
    findings: list[dict[str, Any]] = json.loads(done.stdout)["findings"]
    return findings


def kinds(findings: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return sorted((finding["kind"], finding["node_hostname"]) for finding in findings)


def group_on(system: System, address: str) -> str:
    device = system.ask("GET", f"/nodes/{system.node_ids[address]}").json()["devices"][0]
    return f"vg_{device['id']}"


def make_orphan(system: System, address: str) -> str:
    """A brick that nobody knows: pool, LV, file system, fstab line, mount; returns the LV's name."""
    brick_id, group = new_id(), group_on(system, address)
    lv, point = f"brick_{brick_id}", f"{MOUNTS}/{group}/brick_{brick_id}"
    system.shell(
        address,
        "lvm lvcreate -qq --autobackup=n --poolmetadatasize 8M --poolmetadataspare n --chunksize 256K --size 512M "
        f"--thin {group}/tp_{brick_id} --virtualsize 512M --name {lv} && mkfs.xfs -q -K /dev/mapper/{group}-{lv} && "
        f"mkdir -p {point} && mount -o nouuid /dev/mapper/{group}-{lv} {point} && "
        f"echo '/dev/mapper/{group}-{lv} {point} xfs rw,inode64,noatime,nouuid 1 2' >>{FSTAB}",
    )
    return lv


def test_what_was_broken_by_hand_is_named_and_mended(system: System) -> None:
    living = system.create_volume(name="living")
    halted = system.create_volume(name="halted")
    system.with_mount(living, "cat > kept && sync kept", stdin=TEXT)
    assert examine(system, 0) == []

    first, second, third = system.member_addresses
    places = dict(system.brick_places(living))
    orphan = make_orphan(system, first)
    # A brick process ends, and its file system is unmounted.
    point = places[second].removesuffix("/brick")
    system.shell(
        second,
        "pid=$(cat /var/run/gluster/vols/living/*.pid) && kill -9 $pid && "
        f"while kill -0 $pid 2>/dev/null; do sleep 0.1; done; umount {point}",
    )
    system.shell(third, f"sed -i '\\#{places[third].removesuffix('/brick')}#d' {FSTAB}")
    system.shell(first, "gluster --mode=script volume stop halted")
    system.shell(second, f"lvm pvcreate -qq {SPARE_DISK} && lvm vgcreate -qq somebody {SPARE_DISK}")
    foreign = ("FOREIGN_GROUP", second)

    broken = sorted(
        [
            ("ORPHAN_BRICK", first),
            ("MISSING_MOUNT", second),
            ("MISSING_FSTAB_ENTRY", third),
            ("VOLUME_STOPPED", ""),
            foreign,
        ]
    )
    assert kinds(examine(system, 1)) == broken
    plan = brickyard(system, "repair", "--plan")
    assert plan.returncode == 1
    assert orphan in plan.stdout
    assert kinds(examine(system, 1)) == broken

    applied = brickyard(system, "repair", "--apply")
    assert applied.returncode == 0, applied.stdout + applied.stderr
    print(applied.stdout)
    verbs = [line.split(":")[0] for line in applied.stdout.splitlines() if not line.startswith(" ")]
    assert verbs == ["RESTORE_BRICK", "RESTORE_BRICK", "START_VOLUME", "RESTART_BRICKS", "REMOVE_ORPHAN_BRICK"]
    assert kinds(examine(system, 0)) == [foreign]
    assert brickyard(system, "repair", "--apply").stdout == ""

    system.await_bricks_online(living, second)
    assert system.with_mount(living, "cat kept") == TEXT
    for address, path in places.items():
        assert system.shell(address, f"cat {path}/kept") == TEXT
    assert system.with_mount(halted, "touch new && ls").split() == ["new"]
    system.shell(second, f"lvm vgremove -qq somebody && lvm pvremove -qq {SPARE_DISK}")
    for volume in (living, halted):
        system.delete_volume(volume)


@pytest.mark.long
def test_clones_and_grown_volumes_are_no_difference_and_ghosts_leave_the_records(system: System) -> None:
    volume = system.create_volume(name="origin")
    with system.stack.rest() as client:
        copy = client.change("POST", f"/volumes/{volume['id']}/clone", {"name": "copy"})
        grown = client.change("POST", f"/volumes/{volume['id']}/expand", {"expand_size": 1})
    assert len(grown["bricks"]) == 6
    assert examine(system, 0) == []
    system.delete_volume(grown)
    assert examine(system, 0) == []
    system.delete_volume(copy)

    gone = system.create_volume(name="gone")
    system.shell(
        system.member_addresses[0],
        "gluster --mode=script volume stop gone force && gluster --mode=script volume delete gone",
    )
    (finding,) = examine(system, 1)
    assert (finding["kind"], finding["repair"]) == ("VOLUME_MISSING", "")
    assert brickyard(system, "repair", "--apply").returncode == 1
    for address, path in system.brick_places(gone):
        point, group = path.removesuffix("/brick"), path.split("/")[5]
        lv = point.rpartition("/")[2]
        pool = f"tp_{lv.removeprefix('brick_')}"
        system.shell(
            address,
            f"umount {point}; rmdir {point}; sed -i '\\#{point}#d' {FSTAB}; lvm lvremove -qq -f {group}/{pool}",
        )
    (finding,) = examine(system, 1)
    assert (finding["kind"], finding["repair"]) == ("GHOST_VOLUME", "DROP_GHOSTS")
    applied = brickyard(system, "repair", "--apply")
    assert applied.returncode == 0, applied.stdout + applied.stderr
    assert examine(system, 0) == []
    checked = brickyard_db_check(system)
    assert "VIOLATED" not in checked
    assert "SPACE" in checked


def brickyard_db_check(system: System) -> str:
    argv = [
        *("env", f"PYTHONPATH={ROOT}:{ROOT / 'protos' / 'gen'}", sys.executable, "-m", "gateway.cli.brickyard"),
        *("db", "check", "--verbose", "--topology", f"{HOST_ADDRESS}:{PORTS['topology']}"),
        *("--tls-dir", str(system.stack.directory / "tls" / "operator")),
    ]
    return system.stack.running_lab().host_run(argv, seconds=60).stdout
