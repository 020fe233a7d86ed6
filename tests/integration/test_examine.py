"""Examine and repair: differences made by hand on simulated nodes and in the database, on real processes."""

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import grpc
import pytest

from brickyard.gateway.v1 import examination_pb2 as pb
from services.common.identity import Role
from services.common.ids import new_id
from services.common.reasons import Reason
from services.common.units import GIB, MIB
from services.executor.filesystem.mounts import fstab_line, parse_fstab
from services.executor.lvm.commands import mapper_path
from services.executor.policy import DEFAULT_FSTAB, DEFAULT_MOUNT_ROOT, MOUNT_OPTIONS
from services.executor.runners.base import Mount
from services.executor.runners.simulated.fleet import SimulatedNode
from services.executor.runners.simulated.machine import Disk, FileSystem, LogicalVolume, VolumeGroup
from tests.integration.clients import refusal
from tests.integration.fleet_stack import FleetStack
from tests.integration.stack import Credentials, environment
from tests.integration.world import Cluster, World

SECONDS = 60
TEXT = "what a client wrote"


@pytest.fixture(scope="module")
def fleet_stack(tmp_path_factory: pytest.TempPathFactory, credentials: Credentials) -> Iterator[FleetStack]:
    directory = tmp_path_factory.mktemp("examine")
    made = FleetStack(directory, credentials, f"sqlite:///{directory}/topology.db")
    try:
        made.start()
        yield made
    finally:
        made.close()


@dataclass(slots=True)
class Field:
    """A cluster of three nodes with a device each, and one volume of three copies with a file in it."""

    stack: FleetStack
    cluster: Cluster
    volume: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.volume["name"])

    @property
    def bricks(self) -> list[dict[str, Any]]:
        return list(self.volume["bricks"])

    def node(self, index: int = 0) -> SimulatedNode:
        return self.stack.agents_server.node(self.cluster.numbers[index])

    def node_of(self, brick: dict[str, Any]) -> SimulatedNode:
        return self.node(self.cluster.nodes.index(brick["node"]))

    def brick_on(self, index: int = 0) -> dict[str, Any]:
        """The volume's brick on a node."""
        return next(each for each in self.bricks if each["node"] == self.cluster.nodes[index])

    def group(self, index: int = 0) -> VolumeGroup:
        return self.node(index).machine.groups[f"vg_{self.brick_on(index)['device']}"]

    def sql(self, statement: str, *values: object) -> None:
        """Changes the database behind the topology's back."""
        with closing(sqlite3.connect(self.stack.directory / "topology.db", timeout=10)) as database, database:
            database.execute(statement, values)

    def examine(self) -> pb.ExamineResponse:
        request = pb.ExamineRequest(cluster_id=self.cluster.id)
        answer: pb.ExamineResponse = self.stack.stubs().operator.Examine(request, timeout=SECONDS)
        return answer

    def kinds(self) -> list[str]:
        return [finding.kind for finding in self.examine().findings]

    def plan(self, *doomed: str) -> pb.PlanRepairResponse:
        request = pb.PlanRepairRequest(cluster_id=self.cluster.id, doomed_volume_ids=doomed)
        answer: pb.PlanRepairResponse = self.stack.stubs().operator.PlanRepair(request, timeout=SECONDS)
        return answer

    def repair(self, *doomed: str) -> list[pb.RepairResponse]:
        request = pb.RepairRequest(cluster_id=self.cluster.id, doomed_volume_ids=doomed)
        return list(self.stack.stubs().operator.Repair(request, timeout=SECONDS))

    def assert_served(self) -> None:
        """The volume is started, and its file is in every brick."""
        assert self.node().volumes()[self.name].status == 1
        for brick in self.bricks:
            assert self.node_of(brick).file(f"{brick['path']}/file") == TEXT


@pytest.fixture
def field(fleet_stack: FleetStack) -> Field:
    cluster = World(fleet_stack).cluster(nodes=3, disks=1)
    volume = fleet_stack.rest().made("/volumes", cluster.volume_body(size=4))
    made = Field(fleet_stack, cluster, volume)
    for brick in made.bricks:
        made.node_of(brick).put_file(f"{brick['path']}/file", TEXT)
    report = made.examine()
    assert list(report.findings) == []
    assert report.compared_count == 3 + 3 + 3 + 1
    return made


def entry(group: str, lv: str) -> Mount:
    return Mount(mapper_path(group, lv), f"{DEFAULT_MOUNT_ROOT}/{group}/{lv}", "xfs", MOUNT_OPTIONS)


def write_fstab(node: SimulatedNode, change: Callable[[list[Mount]], list[Mount]]) -> None:
    entries = change(list(parse_fstab(node.machine.root.files.get(DEFAULT_FSTAB))))
    node.machine.root.files[DEFAULT_FSTAB] = "".join(f"{fstab_line(each)}\n" for each in entries)


def unmount(field: Field, index: int = 0) -> None:
    node, path = field.node(index), field.brick_on(index)["path"].removesuffix("/brick")
    node.machine.busy.discard(path)
    node.machine.mounts[:] = [each for each in node.machine.mounts if each.mount_point != path]


def unlist(field: Field, index: int = 0) -> None:
    path = field.brick_on(index)["path"].removesuffix("/brick")
    write_fstab(field.node(index), lambda entries: [each for each in entries if each.mount_point != path])


def deactivate(field: Field) -> None:
    unmount(field)
    field.group().volumes[f"brick_{field.brick_on()['id']}"].active = False


def orphan(field: Field, index: int = 0) -> str:
    """A brick made by hand: pool, LV, file system, mount, entry; its id."""
    brick_id, group, node = new_id(), field.group(index), field.node(index)
    group.volumes[f"tp_{brick_id}"] = LogicalVolume(f"tp_{brick_id}", GIB, metadata_extents=2)
    lv = LogicalVolume(f"brick_{brick_id}", GIB, pool=f"tp_{brick_id}", filesystem=FileSystem())
    group.volumes[lv.name] = lv
    mount = entry(group.name, lv.name)
    node.node._tools.runner.make_directory(mount.mount_point)
    node.machine.mounts.append(mount)
    write_fstab(node, lambda entries: [*entries, mount])
    return brick_id


def orphan_pool(field: Field) -> None:
    name = f"tp_{new_id()}"
    field.group().volumes[name] = LogicalVolume(name, GIB, metadata_extents=2)


def orphan_entry(field: Field) -> None:
    lost = entry(field.group().name, f"brick_{new_id()}")
    write_fstab(field.node(), lambda entries: [*entries, lost])


def orphan_copy(field: Field) -> None:
    name = f"{new_id()}_0"
    pool = f"tp_{field.brick_on()['id']}"
    field.group().volumes[name] = LogicalVolume(name, 4 * GIB, pool=pool, filesystem=FileSystem())


def orphan_volume(field: Field) -> None:
    """As a create leaves it that was interrupted before the start, with its record lost."""
    bricks = []
    for index in range(3):
        brick_id = orphan(field, index)
        path = f"{entry(field.group(index).name, f'brick_{brick_id}').mount_point}/brick"
        bricks.append(f"10.0.0.{field.cluster.numbers[index]}:{path}")
    pool = field.node().daemon.pool
    made = type(pool.volumes[field.name])(
        "vol_lost", "1" * 8 + "-0000-4000-8000-000000000000", ("replica", "3"), bricks
    )
    made.options["user.heketi.id"] = new_id()
    pool.volumes["vol_lost"] = made


def stop_volume(field: Field) -> None:
    field.node().volumes()[field.name].status = 2


def shift_device(field: Field, columns: str) -> None:
    device = field.brick_on()["device"]
    change = ", ".join(f"{column} = {column} + {8 * MIB}" for column in columns.split())
    field.sql(f"UPDATE device SET {change} WHERE id = ?", device)


def foreign(field: Field) -> None:
    machine = field.node().machine
    machine.groups["system"] = VolumeGroup("system", Disk("/dev/sdz", 10 * GIB, vg="system"))
    field.group().volumes["scratch"] = LogicalVolume("scratch", 4 * MIB, pool=f"tp_{field.brick_on()['id']}")
    pool = field.node().daemon.pool
    own = type(pool.volumes[field.name])(
        "own", "2" * 8 + "-0000-4000-8000-000000000000", (), ["10.9.9.9:/srv/own"], status=1
    )
    pool.volumes["own"] = own


BROKEN: dict[str, tuple[Callable[[Field], object], list[str], list[str]]] = {
    "a brick is not mounted": (unmount, ["MISSING_MOUNT"], ["RESTORE_BRICK", "RESTART_BRICKS"]),
    "a brick is not listed": (unlist, ["MISSING_FSTAB_ENTRY"], ["RESTORE_BRICK"]),
    "an LV is not active": (deactivate, ["LV_INACTIVE"], ["RESTORE_BRICK", "RESTART_BRICKS"]),
    "a brick that nobody knows": (orphan, ["ORPHAN_BRICK"], ["REMOVE_ORPHAN_BRICK"]),
    "a pool that nobody knows": (orphan_pool, ["ORPHAN_POOL"], ["REMOVE_ORPHAN_BRICK"]),
    "an entry of nothing": (orphan_entry, ["ORPHAN_FSTAB_ENTRY"], ["REMOVE_ORPHAN_BRICK"]),
    "a copy that gluster forgot": (orphan_copy, ["ORPHAN_COPY"], ["REMOVE_ORPHAN_COPIES"]),
    "a volume without record, never started": (
        orphan_volume,
        ["ORPHAN_VOLUME"],
        ["REMOVE_ORPHAN_VOLUME", *["REMOVE_ORPHAN_BRICK"] * 3],
    ),
    "a stopped volume": (stop_volume, ["VOLUME_STOPPED"], ["START_VOLUME"]),
    "a device of another size": (
        lambda field: shift_device(field, "total_bytes"),
        ["DEVICE_SIZE_DIFFERS"],
        ["RESYNC_DEVICE"],
    ),
    "space that nobody takes": (
        lambda field: shift_device(field, "used_bytes unattributed_bytes"),
        ["FREE_SPACE_DIFFERS"],
        ["RESYNC_DEVICE"],
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_difference_is_named_planned_and_mended(field: Field, what: str) -> None:
    damage, kinds, verbs = BROKEN[what]
    damage(field)
    found = field.examine()
    assert [finding.kind for finding in found.findings] == kinds
    assert all(finding.severity == pb.FINDING_SEVERITY_DIFFERENCE and finding.repair for finding in found.findings)
    plan = field.plan()
    assert [action.verb for action in plan.actions] == [
        verb for verb in verbs if verb in {v.verb for v in plan.actions}
    ]
    assert field.examine() == found, "planning has changed something"

    events = field.repair()
    assert [event.action.verb for event in events if event.stage == pb.REPAIR_STAGE_BEGUN] == verbs
    assert [event.stage for event in events] == [pb.REPAIR_STAGE_BEGUN, pb.REPAIR_STAGE_DONE] * len(verbs), events
    assert list(field.examine().findings) == []
    assert field.repair() == []
    assert field.stack.stubs().violations() == []
    field.assert_served()


def test_what_is_not_ours_is_named_and_never_touched(field: Field) -> None:
    foreign(field)
    report = field.examine()
    assert sorted(finding.kind for finding in report.findings) == ["FOREIGN_GROUP", "FOREIGN_LV", "FOREIGN_VOLUME"]
    assert {finding.severity for finding in report.findings} == {pb.FINDING_SEVERITY_INFORMATION}
    assert field.repair() == []
    assert "system" in field.node().machine.groups
    assert "scratch" in field.group().volumes
    assert "own" in field.node().volumes()


def forget_volume(field: Field) -> None:
    """The records lose a living volume, as after the restore of an old backup."""
    volume_id = field.volume["id"]
    taken = "SELECT thin_pool_size_bytes + pool_metadata_size_bytes FROM brick WHERE brick.device_id = device.id"
    where = "id IN (SELECT device_id FROM brick WHERE volume_id = ?)"
    field.sql(
        f"UPDATE device SET used_bytes = used_bytes - ({taken} AND volume_id = ?) WHERE {where}", volume_id, volume_id
    )
    field.sql("DELETE FROM brick WHERE volume_id = ?", volume_id)
    field.sql("DELETE FROM volume WHERE id = ?", volume_id)
    field.sql("UPDATE cluster SET volume_count = volume_count - 1 WHERE id = ?", field.cluster.id)


def test_a_living_volume_without_record_keeps_its_data_until_it_is_named(field: Field) -> None:
    forget_volume(field)
    assert field.stack.stubs().violations() == []
    (finding,) = field.examine().findings
    assert finding.kind == "ORPHAN_VOLUME"
    assert not finding.repair
    assert field.repair() == []
    assert field.repair(new_id()) == []
    field.assert_served()

    events = field.repair(field.volume["id"])
    assert {event.stage for event in events} == {pb.REPAIR_STAGE_BEGUN, pb.REPAIR_STAGE_DONE}
    assert list(field.examine().findings) == []
    field.cluster.assert_untouched(field.name)


def forget_nodes(field: Field) -> None:
    """The nodes lose a volume whole, and the records keep it."""
    for index in range(3):
        brick = field.brick_on(index)
        unmount(field, index)
        unlist(field, index)
        for name in (f"brick_{brick['id']}", f"tp_{brick['id']}"):
            del field.group(index).volumes[name]
    del field.node().volumes()[field.name]


def test_a_volume_that_exists_nowhere_leaves_the_records(field: Field) -> None:
    forget_nodes(field)
    (finding,) = field.examine().findings
    assert (finding.kind, finding.repair) == ("GHOST_VOLUME", "DROP_GHOSTS")
    events = field.repair()
    assert [event.stage for event in events] == [pb.REPAIR_STAGE_BEGUN, pb.REPAIR_STAGE_DONE]
    assert list(field.examine().findings) == []
    field.cluster.assert_untouched(field.name)
    assert field.stack.rest().send("GET", f"/volumes/{field.volume['id']}").status_code == 404


def test_a_silent_node_keeps_a_ghost_in_the_records(field: Field) -> None:
    forget_nodes(field)
    with field.stack.fault_on(field.cluster.hostnames[2]):
        report = field.examine()
        assert {finding.kind for finding in report.findings} == {"NODE_UNREACHABLE", "VOLUME_MISSING", "GHOST_BRICK"}
        assert list(report.silent_hostnames) == [field.cluster.hostnames[2]]
        assert field.repair() == []
    assert field.kinds() == ["GHOST_VOLUME"]


def test_brick_sets_that_exist_nowhere_leave_the_records(field: Field) -> None:
    stack = field.stack
    grown = stack.rest().made(f"/volumes/{field.volume['id']}/expand", {"expand_size": 4})
    old = {brick["id"] for brick in field.bricks}
    new = [brick for brick in grown["bricks"] if brick["id"] not in old]
    for brick in new:
        node = field.node_of(brick)
        path = brick["path"].removesuffix("/brick")
        node.machine.busy.discard(path)
        node.machine.mounts[:] = [each for each in node.machine.mounts if each.mount_point != path]
        write_fstab(node, lambda entries, path=path: [each for each in entries if each.mount_point != path])  # type: ignore[misc]
        for name in (f"brick_{brick['id']}", f"tp_{brick['id']}"):
            del node.machine.groups[f"vg_{brick['device']}"].volumes[name]
    volume = field.node().volumes()[field.name]
    volume.bricks[:] = volume.bricks[: len(old)]

    assert field.kinds() == ["GHOST_BRICK"]
    events = field.repair()
    assert [event.stage for event in events] == [pb.REPAIR_STAGE_BEGUN, pb.REPAIR_STAGE_DONE], events
    assert list(field.examine().findings) == []
    shown = stack.rest().json(f"/volumes/{field.volume['id']}")
    assert {brick["id"] for brick in shown["bricks"]} == old
    assert shown["size"] == 4
    assert stack.stubs().violations() == []
    field.assert_served()


def test_the_state_is_looked_at_again_right_before_a_removal(field: Field) -> None:
    """Between the plan and the act somebody takes the brick into use; it stays."""
    brick_id = orphan(field)
    path = entry(field.group().name, f"brick_{brick_id}").mount_point
    request = pb.RepairRequest(cluster_id=field.cluster.id)
    calls = field.stack.stubs().operator.Repair(request, timeout=SECONDS)
    pool = field.node().daemon.pool
    with field.stack.held_at_start(field.cluster.hostnames[0]) as removal_reached:
        begun = next(calls)
        assert (begun.action.verb, begun.stage) == ("REMOVE_ORPHAN_BRICK", pb.REPAIR_STAGE_BEGUN)
        removal_reached()
        taken = type(pool.volumes[field.name])(
            "taken", "3" * 8 + "-0000-4000-8000-000000000000", (), [f"10.0.0.{field.cluster.numbers[0]}:{path}/brick"]
        )
        pool.volumes["taken"] = taken
    ended = next(calls)
    assert ended.stage == pb.REPAIR_STAGE_FAILED
    assert "is a brick of gluster volume taken" in ended.message
    calls.cancel()
    assert f"brick_{brick_id}" in field.group().volumes
    assert path in field.node().brick_mounts()
    del pool.volumes["taken"]


def test_operations_in_flight_are_left_out_and_counted(field: Field) -> None:
    world = World(field.stack)
    with field.stack.held_at_start(field.cluster.hostnames[0], verb="CreateVolume", nodes="*") as reached:
        begun = world.begun(field.cluster, size=4)
        reached()
        report = field.examine()
        assert list(report.findings) == []
        assert report.operations_in_flight == 1
        assert report.left_out_count >= 4
        assert field.plan().operations_in_flight == 1
    field.stack.stubs().ended(begun)
    assert field.kinds() == []


def brickyard(field: Field, *words: str, cluster_id: str = "") -> "subprocess.CompletedProcess[str]":
    stack = field.stack
    operator = stack.credentials.directory / Role.OPERATOR.value
    return subprocess.run(
        [
            *(sys.executable, "-m", "gateway.cli.brickyard", *words, "--address", stack.gateway.addresses[1]),
            *("--tls-dir", str(operator), "--cluster", cluster_id or field.cluster.id),
        ],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        env=environment(),
    )


def test_the_command_line(field: Field) -> None:
    clean = brickyard(field, "examine")
    assert (clean.returncode, clean.stdout) == (0, "")
    assert "0 differences in 10 objects" in clean.stderr
    assert brickyard(field, "repair", "--plan").returncode == 0

    brick_id = orphan(field)
    foreign(field)
    unlist(field, 1)
    told = brickyard(field, "examine")
    assert told.returncode == 1
    lines = [line.split("\t") for line in told.stdout.splitlines()]
    assert sorted((line[0], line[1]) for line in lines) == [
        ("difference", "MISSING_FSTAB_ENTRY"),
        ("difference", "ORPHAN_BRICK"),
        ("information", "FOREIGN_GROUP"),
        ("information", "FOREIGN_LV"),
        ("information", "FOREIGN_VOLUME"),
    ]
    found = json.loads(brickyard(field, "examine", "--json").stdout)
    assert {each["kind"] for each in found["findings"]} == {line[1] for line in lines}

    plan = brickyard(field, "repair", "--plan")
    assert plan.returncode == 1
    assert f"brick_{brick_id}" in plan.stdout
    assert "2 actions; 0 findings are left to you" in plan.stderr

    applied = brickyard(field, "repair", "--apply")
    assert applied.returncode == 0, applied.stdout + applied.stderr
    printed = applied.stdout.splitlines()
    assert [line.split(":")[0] for line in printed] == ["RESTORE_BRICK", "  done", "REMOVE_ORPHAN_BRICK", "  done"]
    assert brickyard(field, "examine").returncode == 0

    assert brickyard(field, "repair").returncode == 2
    assert brickyard(field, "repair", "--plan", cluster_id=new_id()).returncode == 3


def test_a_cluster_that_does_not_exist(field: Field) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        field.stack.stubs().operator.Examine(pb.ExamineRequest(cluster_id=new_id()), timeout=SECONDS)
    assert refusal(raised.value).reason is Reason.CLUSTER_NOT_FOUND
