"""Brick processes and heal indexes, read from files."""

from pathlib import Path

from services.executor.runners.processes import count_heals, served_bricks

ONE = "/var/lib/heketi/mounts/vg_a/brick_1/brick"
TWO = "/var/lib/heketi/mounts/vg_a/brick_2/brick"


def process(proc: Path, pid: int, *words: str) -> None:
    (proc / str(pid)).mkdir(parents=True)
    (proc / str(pid) / "cmdline").write_bytes("".join(f"{word}\0" for word in words).encode())


def brick_process(proc: Path, pid: int, path: str) -> None:
    process(proc, pid, "/usr/sbin/glusterfsd", "-s", "10.0.0.1", "--volfile-id", "v", "--brick-name", path, "-l", "x")


def test_a_process_names_its_brick(tmp_path: Path) -> None:
    brick_process(tmp_path, 41, ONE)
    process(tmp_path, 42, "/usr/sbin/glusterfs", "--brick-name", TWO)
    process(tmp_path, 43)
    (tmp_path / "sys").mkdir()
    (tmp_path / "44").mkdir()
    assert served_bricks([ONE, TWO], proc=tmp_path, pid_directories=()) == {ONE}
    assert served_bricks([], proc=tmp_path / "absent", pid_directories=()) == frozenset()


def test_one_process_serves_several_bricks(tmp_path: Path) -> None:
    proc, vols = tmp_path / "proc", tmp_path / "vols"
    brick_process(proc, 41, ONE)
    (vols / "vol").mkdir(parents=True)
    for path, pid in ((ONE, "41"), (TWO, "41\n")):
        (vols / "vol" / f"10.0.0.1{path.replace('/', '-')}.pid").write_text(pid)
    assert served_bricks([ONE, TWO], proc=proc, pid_directories=[str(vols)]) == {ONE, TWO}


def test_a_number_that_another_program_has_now_is_no_brick_process(tmp_path: Path) -> None:
    proc, vols = tmp_path / "proc", tmp_path / "vols"
    brick_process(proc, 41, ONE)
    process(proc, 42, "/bin/sh")
    (vols / "vol").mkdir(parents=True)
    file = vols / "vol" / f"10.0.0.1{TWO.replace('/', '-')}.pid"
    for text in ("42", "43", "", "garbage"):
        file.write_text(text)
        assert served_bricks([ONE, TWO], proc=proc, pid_directories=[str(vols)]) == {ONE}


def test_files_to_heal_are_counted_without_glusters_own_entry(tmp_path: Path) -> None:
    index = tmp_path / ".glusterfs" / "indices" / "xattrop"
    assert count_heals(str(tmp_path)) == -1
    index.mkdir(parents=True)
    assert count_heals(str(tmp_path)) == 0
    for name in ("xattrop-0b2f", "5e1d3c2a-0000-4000-8000-000000000001", "00000000-0000-0000-0000-000000000001"):
        (index / name).touch()
    assert count_heals(str(tmp_path)) == 2
