from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compose.lab import settings
from compose.lab.errors import CannotRunHereError, LabError
from compose.lab.processes import ProcessRef
from compose.lab.settings import GIB, MIB, LabConfig, LabState, NodeState


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("4096", 4096), ("1K", 1024), ("768M", 768 * MIB), ("8G", 8 * GIB), ("8GiB", 8 * GIB), ("2tb", 2 << 40)],
)
def test_sizes_are_read(text: str, size_bytes: int) -> None:
    assert settings.parse_size(text) == size_bytes


@pytest.mark.parametrize("text", ["", "G", "-1G", "1.5G", "8 G", "8X", "0"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a size"):
        settings.parse_size(text)


@given(st.integers(min_value=1, max_value=1 << 45))
def test_a_shown_size_reads_back(size_bytes: int) -> None:
    assert settings.parse_size(settings.format_size(size_bytes)) == size_bytes


def test_memory_follows_what_is_available() -> None:
    assert settings.default_memory_bytes(3, 24 * GIB) == 768 * MIB
    assert settings.default_memory_bytes(3, 2 * GIB) == 512 * MIB
    with pytest.raises(CannotRunHereError, match="fewer nodes"):
        settings.default_memory_bytes(3, 1 * GIB)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "Lab"}, "--name"),
        ({"name": "../x"}, "--name"),
        ({"directory": "/tmp/a b"}, "--dir"),
        ({"directory": "/tmp/a,b"}, "--dir"),
        ({"directory": "relative"}, "--dir"),
        ({"nodes": 0}, "--nodes"),
        ({"nodes": 21}, "--nodes"),
        ({"disks": 16}, "--disks"),
        ({"disk_bytes": GIB + 1}, "--disk-size"),
        ({"memory_bytes": 64 * MIB}, "--memory"),
    ],
)
def test_a_config_out_of_range_names_its_option(changes: dict[str, object], words: str) -> None:
    with pytest.raises(LabError, match=words):
        replace(LabConfig(), **changes)  # type: ignore[arg-type]  # the wrong values are the point


def test_the_directory_follows_the_name() -> None:
    assert LabConfig(name="other").directory == "/tmp/other"
    assert LabConfig(name="other", directory="/srv/x").directory == "/srv/x"


def full_state() -> LabState:
    config = LabConfig(
        nodes=2, disks=2, memory_bytes=768 * MIB, shares=("/opt/x",), boot_scripts=("/b",), env={"A": "b"}
    )
    nodes = (
        NodeState(index=1, process=ProcessRef(pid=7, start_ticks=99), disk_order=(2, 1), partitioned=True),
        NodeState(index=2, disk_order=(1, 2)),
    )
    return LabState(config=config, ready=True, holder=ProcessRef(8, 100), made_netns_mount=True, nodes=nodes)


def test_the_state_file_reads_back() -> None:
    assert settings.load_state(settings.dump_state(full_state())) == full_state()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 1}', '{"version": 0}'])
def test_a_damaged_or_foreign_state_file_points_to_down(text: str) -> None:
    with pytest.raises(LabError, match="lab down"):
        settings.load_state(text)


def test_writing_the_state_replaces_the_file(tmp_path: Path) -> None:
    state = replace(full_state(), config=LabConfig(directory=str(tmp_path)))
    settings.write_state(state)
    settings.write_state(replace(state, ready=False))
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]
    assert not settings.load_state((tmp_path / "state.json").read_text()).ready


def test_a_directory_with_other_files_is_foreign(tmp_path: Path) -> None:
    assert not settings.is_foreign(tmp_path / "absent")
    assert not settings.is_foreign(tmp_path)
    (tmp_path / "state.json.new").touch()
    assert not settings.is_foreign(tmp_path)
    (tmp_path / "letter").touch()
    assert settings.is_foreign(tmp_path)
    (tmp_path / "state.json").touch()
    assert not settings.is_foreign(tmp_path)


def test_nodes_are_found_by_name_and_have_their_addresses() -> None:
    node = full_state().node("node2")
    assert (node.address, node.control_address) == ("10.77.0.12", "10.78.0.12")
    with pytest.raises(LabError, match="node1, node2"):
        full_state().node("node3")


def test_a_changed_node_keeps_its_place() -> None:
    state = full_state().with_node(NodeState(index=1, disk_order=(1,)))
    assert [node.disk_order for node in state.nodes] == [(1,), (1, 2)]


def test_disk_orders() -> None:
    assert settings.parse_disk_order("2,1", 2) == (2, 1)
    assert settings.parse_disk_order("2", 2) == (2,)
    for wrong in ("", "0", "3", "1,1", "a", "1;2", "-1"):
        with pytest.raises(LabError, match="--disks"):
            settings.parse_disk_order(wrong, 2)


def test_the_first_data_disk_comes_after_the_state_disk() -> None:
    assert [settings.device_name(position) for position in (0, 1, 14)] == ["/dev/ubdb", "/dev/ubdc", "/dev/ubdp"]


def make_venv(checkout: Path, home: Path, python: Path) -> None:
    (checkout / ".venv" / "bin").mkdir(parents=True)
    (checkout / ".venv" / "pyvenv.cfg").write_text(f"version = 3.11.2\nhome = {home}\n")
    (checkout / ".venv" / "bin" / "python").symlink_to(python)


def test_a_python_outside_usr_is_shared_by_both_its_paths(tmp_path: Path) -> None:
    real = tmp_path / "python-3.11.9"
    (real / "bin").mkdir(parents=True)
    (real / "bin" / "python3.11").touch()
    link = tmp_path / "python-3.11"
    link.symlink_to(real)
    make_venv(tmp_path / "checkout", link / "bin", link / "bin" / "python3.11")
    assert settings.python_shares(tmp_path / "checkout") == [str(link), str(real)]


def test_the_systems_python_needs_no_share(tmp_path: Path) -> None:
    make_venv(tmp_path, Path("/usr/bin"), Path("/usr/bin/env"))
    assert settings.python_shares(tmp_path) == []


def test_shares_are_the_checkout_and_what_was_asked_for_once(tmp_path: Path) -> None:
    extra = tmp_path / "extra"
    extra.mkdir()
    config = LabConfig(shares=(f"{extra}/", str(extra)))
    assert settings.all_shares(config, tmp_path) == (str(tmp_path), str(extra))


@pytest.mark.parametrize("share", ["/nowhere/at/all", "relative", "/tmp", "/", "/var/"])
def test_a_share_that_cannot_be_is_refused(share: str, tmp_path: Path) -> None:
    with pytest.raises(LabError, match="--share"):
        settings.all_shares(LabConfig(shares=(share,)), tmp_path)
