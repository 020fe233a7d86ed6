"""The simulated tools say what the real ones said; the fleet makes nodes on demand; faults come and go."""

import json
from pathlib import Path

import pytest

from services.common.errors import FailedPreconditionError, InternalError, NotFoundError
from services.common.units import GIB, MIB
from services.executor.gluster.commands import DISTRIBUTED, replicated
from services.executor.lvm import reports
from services.executor.policy import BrickSpec
from services.executor.runners.simulated import Fault, FaultPlan, Fleet, FleetSettings
from services.executor.runners.simulated.faults import read_faults
from services.executor.runners.simulated.lvm import SimulatedLvm
from services.executor.runners.simulated.machine import Disk, Machine
from services.executor.runners.simulated.pools import Pool, Volume
from services.executor.volumes import VolumeSpec
from tests.unit.executor.captures import LVM, UTIL_LINUX, XFS, capture
from tests.unit.executor.fleets import ready

# The recorded session, in its order, on a disk of 4 GiB that held an ext4 file system.
SESSION = [
    "vgs-absent", "lvs-absent", "pvcreate-missing", "pvcreate-signature", "!wipefs", "pvcreate", "vgcreate",
    "vgcreate-taken", "pvcreate-in-group", "lvcreate", "lvcreate-pool-exists", "lvcreate-name-exists",
    "lvcreate-full-by-metadata", "lvcreate-no-group", "vgremove-with-volumes", "pvremove-in-group", "lvremove-absent",
    "lvremove-no-group", "lvremove", "vgremove", "vgremove-absent", "pvremove", "pvremove-absent",
]  # fmt: skip


def test_lvm_says_what_the_real_one_said() -> None:
    tools = SimulatedLvm(Machine("node1", [Disk("/dev/ubdd", 4 * GIB, signature="ext4")]))
    for case in SESSION:
        if case.startswith("!"):
            real = capture(UTIL_LINUX, case[1:])
            assert tools.wipe(real.argv)[0] == real.exit_code
            continue
        real = capture(LVM, case)
        code, _out, err = tools.run(real.argv)
        assert (case, code, err) == (case, real.exit_code, real.stderr)


def test_lvm_reports_the_sizes_that_the_real_one_reported() -> None:
    tools = SimulatedLvm(Machine("node1", [Disk("/dev/ubdd", 4 * GIB)]))
    for case in ("pvcreate", "vgcreate"):
        tools.run(capture(LVM, case).argv)
    real = capture(LVM, "vgs")
    mine = reports.parse_volume_groups(tools.run(real.argv)[1])[0]
    theirs = reports.parse_volume_groups(real.stdout)[0]
    assert (mine.total_bytes, mine.free_bytes, mine.pv_path) == (theirs.total_bytes, theirs.free_bytes, theirs.pv_path)
    for case in ("lvcreate", "lvcreate-name-exists"):
        tools.run(capture(LVM, case).argv)
    full = capture(LVM, "fullreport")
    mine_after, their_after = (
        next(group for group in reports.parse_everything(text)[0] if group.name == mine.name)
        for text in (tools.run(full.argv)[1], full.stdout)
    )
    assert mine_after.free_bytes == their_after.free_bytes


def test_mkfs_says_what_the_real_one_said() -> None:
    tools = SimulatedLvm(Machine("node1", [Disk("/dev/ubdd", 4 * GIB)]))
    for case in ("pvcreate", "vgcreate", "lvcreate"):
        tools.run(capture(LVM, case).argv)
    assert tools.make_xfs(capture(XFS, "mkfs").argv)[0] == 0
    exists = capture(XFS, "mkfs-exists")
    assert tools.make_xfs(exists.argv) == (exists.exit_code, exists.stdout, exists.stderr)
    missing = capture(XFS, "mkfs-missing")
    code, _out, err = tools.make_xfs(missing.argv)
    assert (code, err.splitlines()[0]) == (missing.exit_code, missing.stderr.splitlines()[0])


def test_nodes_are_named_and_addressed() -> None:
    fleet = Fleet(FleetSettings(nodes=2, disks=1))
    assert [(each.name, each.daemon.hostnames) for each in fleet.nodes()] == [
        ("node1", ["10.0.0.1"]),
        ("node2", ["10.0.0.2"]),
    ]
    assert [disk.path for disk in fleet.node("node1").node.storage().unused] == ["/dev/sdb"]
    for name in ("node3", ""):
        with pytest.raises(NotFoundError):
            fleet.lookup(name)
    assert Fleet(FleetSettings(nodes=1)).lookup("").hostname() == "node1"


def test_anything_comes_into_being_when_it_is_named() -> None:
    fleet = Fleet(FleetSettings(nodes=0, accept_any=True))
    hosts = {"alpha": "192.168.0.1", "beta": "192.168.0.2", "gamma": "192.168.0.3"}
    alpha = fleet.lookup("alpha")
    specs: list[tuple[str, BrickSpec]] = []
    for number, (name, storage) in enumerate(hosts.items()):
        node = fleet.lookup(name)
        if name != "alpha":
            alpha.probe_peer(storage)
        node.create_device(f"{number}" * 32, "/dev/fake/disk", destroy_data=False)
        spec = node.policy.brick(
            brick_id=f"{number}" * 32, device_id=f"{number}" * 32, lv_name="", pool_name="", path="",
            size_bytes=GIB, pool_bytes=GIB, metadata_bytes=8 * MIB,
        )  # fmt: skip
        node.create_brick(spec)
        specs.append((storage, spec))
    bricks = tuple(f"{storage}:{spec.path}" for storage, spec in specs)
    alpha.create_volume(VolumeSpec("f" * 32, "vol", replicated(3, arbiter=False), bricks, ()))
    assert fleet.lookup("gamma").get_volume("vol").bricks == bricks
    fleet.lookup("beta").delete_volume("vol", "f" * 32)
    assert fleet.node("alpha").volumes() == {}


@pytest.mark.parametrize("path", ["/dev/sda", "/dev/sda1", "/dev/vda", "/dev/mapper/a-b"])
def test_any_disk_is_free_where_anything_is_taken(path: str) -> None:
    node = Fleet(FleetSettings(nodes=1, accept_any=True)).lookup("node1")
    node.create_device("a" * 32, path, destroy_data=False)
    node.delete_device("a" * 32)
    node.create_device("b" * 32, path, destroy_data=False)


def test_a_brick_is_known_by_the_volume_that_has_it_now() -> None:
    pool = Pool()
    first = pool.volumes["a"] = Volume("a", "1", (), ["h:/x/brick", "h:/y/brick"])
    pool.note_bricks(first)
    assert pool.volume_with("h:/x/brick") is first
    assert pool.volume_with("h:/z/brick") is None
    first.bricks.remove("h:/x/brick")
    assert pool.volume_with("h:/x/brick") is None
    second = pool.volumes["b"] = Volume("b", "2", (), ["h:/x/brick"])
    pool.note_bricks(second)
    assert pool.volume_with("h:/x/brick") is second
    del pool.volumes["b"]
    assert pool.volume_with("h:/x/brick") is None
    assert pool.volume_with("h:/y/brick") is first


def test_no_two_volumes_have_one_brick() -> None:
    lab = ready()
    lab.make_bricks()
    lab.node(1).create_volume(lab.volume())
    with pytest.raises(InternalError, match="not available"):
        lab.node(2).create_volume(lab.volume(volume_id="e" * 32, name="vol_y"))
    lab.node(3).delete_volume("vol_x", "f" * 32)
    lab.node(2).create_volume(lab.volume(volume_id="e" * 32, name="vol_y"))
    assert set(lab.simulated(1).volumes()) == {"vol_y"}


def test_a_fault_lets_pass_strikes_and_is_spent() -> None:
    plan = FaultPlan([Fault("mkfs", node="node[12]", after=1, times=2, name="f")])
    struck = [plan.strike("node1", "mkfs.xfs /dev/x", 1) is not None for _ in range(5)]
    assert struck == [False, True, True, False, False]
    assert plan.hits("f") == 2
    assert FaultPlan([Fault("mkfs", node="node[12]")]).strike("node3", "mkfs.xfs", 1) is None


def test_whole_verbs_can_fail() -> None:
    lab = ready()
    lab.fail("^verb CreateBrick$", stderr="no", name="f")
    journal = lab.node(1).journal
    with pytest.raises(Exception, match="no"):
        journal.run("r", "CreateBrick", b"", lambda: b"done")
    assert journal.run("r", "CreateBrick", b"", lambda: b"done") == b"done"


def test_faults_of_a_file_are_read_again(tmp_path: Path) -> None:
    file = tmp_path / "faults.toml"
    plan = FaultPlan(file=file)
    assert plan.strike("node1", "mkfs.xfs", 1) is None
    file.write_text('[[fault]]\ncommand = "mkfs"\ntimes = 0\nstderr = "disk on fire"\n')
    found = plan.strike("node1", "mkfs.xfs", 1)
    assert found is not None
    assert found.stderr == "disk on fire"
    file.write_text("")
    assert plan.strike("node1", "mkfs.xfs", 1) is None
    file.unlink()
    assert plan.strike("node1", "mkfs.xfs", 1) is None


@pytest.mark.parametrize(
    "text",
    ["[[fault]]\nunknown = 1\n", '[[fault]]\ncommand = "("\n', '[[fault]]\ncommand = "x"\naction = "explode"\n', "=="],
)
def test_a_wrong_file_is_refused_by_name(tmp_path: Path, text: str) -> None:
    file = tmp_path / "faults.toml"
    file.write_text(text)
    with pytest.raises(FailedPreconditionError, match=r"faults\.toml"):
        read_faults(file)


def test_json_is_as_good(tmp_path: Path) -> None:
    file = tmp_path / "faults.json"
    file.write_text(json.dumps({"fault": [{"command": "x", "action": "stall", "stall_s": 0.5}]}))
    assert read_faults(file) == [Fault("x", action="stall", stall_s=0.5)]
    file.write_text("[]")
    with pytest.raises(FailedPreconditionError, match=r'no table with a list "fault", but list'):
        read_faults(file)


def any_fleet(*names: str) -> Fleet:
    """A fleet that takes any name, whose agents of these names were asked in this order."""
    fleet = Fleet(FleetSettings(nodes=0, accept_any=True))
    for name in names:
        fleet.lookup(name)
    return fleet


def make_any_brick(fleet: Fleet, name: str, digit: str) -> str:
    """Makes a brick; returns its path."""
    node = fleet.lookup(name)
    node.create_device(digit * 32, "/dev/vdb", destroy_data=False)
    spec = node.policy.brick(
        brick_id=digit * 32, device_id=digit * 32, lv_name="", pool_name="", path="",
        size_bytes=GIB, pool_bytes=GIB, metadata_bytes=8 * MIB,
    )  # fmt: skip
    node.create_brick(spec)
    return spec.path


def test_the_storage_name_that_is_probed_is_of_the_node_that_was_asked_last() -> None:
    fleet = any_fleet("a1")
    for name, storage in (("a2", "10.0.0.2"), ("a3", "10.0.0.3")):
        fleet.lookup(name)
        fleet.lookup("a1").probe_peer(storage)
    # A second cluster, whose first node nobody probes.
    fleet.lookup("b1")
    fleet.lookup("b2")
    fleet.lookup("b1").probe_peer("10.0.1.2")
    pools = [[each.machine.name for each in fleet.node(name).daemon.pool.members] for name in ("a3", "b2")]
    assert pools == [["a1", "a2", "a3"], ["b1", "b2"]]
    assert {name: fleet.node(name).daemon.hostnames[0] for name in ("a2", "a3", "b2")} == {
        "a2": "10.0.0.2",
        "a3": "10.0.0.3",
        "b2": "10.0.1.2",
    }
    # So that a node without a brick of a volume knows the volume too.
    path = make_any_brick(fleet, "a2", "2")
    fleet.lookup("a1").create_volume(VolumeSpec("f" * 32, "vol", DISTRIBUTED, (f"10.0.0.2:{path}",), ()))
    assert fleet.lookup("a3").get_volume("vol").name == "vol"
    assert "vol" not in fleet.node("b2").volumes()


def test_a_brick_corrects_a_wrong_guess() -> None:
    fleet = any_fleet("a1", "b1", "a2", "b2")
    # Two clusters take in a node at the same time: both were asked before the first is probed, which is taken for b2.
    fleet.lookup("a1").probe_peer("10.0.0.2")
    fleet.lookup("b1").probe_peer("10.0.1.2")
    assert fleet.node("b2").daemon.hostnames[0] == "10.0.0.2"
    for name, prober, storage, digit in (("a2", "a1", "10.0.0.2", "2"), ("b2", "b1", "10.0.1.2", "3")):
        path = make_any_brick(fleet, name, digit)
        fleet.lookup(prober).create_volume(VolumeSpec(digit * 32, name, DISTRIBUTED, (f"{storage}:{path}",), ()))
    assert {name: list(fleet.node(name).volumes()) for name in ("a1", "b1", "a2", "b2")} == {
        "a1": ["a2"],
        "a2": ["a2"],
        "b1": ["b2"],
        "b2": ["b2"],
    }
    assert {name: fleet.node(name).daemon.hostnames for name in ("a2", "b2")} == {
        "a2": ["10.0.0.2", "a2"],
        "b2": ["10.0.1.2", "b2"],
    }


def test_nodes_of_one_cluster_that_were_mixed_up_stay_in_it() -> None:
    fleet = any_fleet("a1", "a2", "a3")
    for storage in ("10.0.0.2", "10.0.0.3"):
        fleet.lookup("a1").probe_peer(storage)
    path = make_any_brick(fleet, "a2", "2")
    fleet.lookup("a1").create_volume(VolumeSpec("2" * 32, "vol", DISTRIBUTED, (f"10.0.0.2:{path}",), ()))
    assert [fleet.node(name).daemon.hostnames for name in ("a2", "a3")] == [["10.0.0.2", "a2"], ["10.0.0.3", "a3"]]
    assert len(fleet.node("a1").daemon.pool.members) == 3
