"""The runner of this machine: processes with limits, and small files."""

import os
import sys
import time
from pathlib import Path

import pytest

from services.common.errors import TimeLimitError, UnavailableError
from services.common.reasons import Reason
from services.executor.runners import local
from services.executor.runners.base import CURRENT_SCOPE, CallScope, CommandFailedError
from services.executor.runners.local import LocalRunner

LIMIT_S = 20.0
spawns = pytest.mark.allow_spawn("what is tested is the starting of processes")
SHOW = "import os, sys; print(sorted(os.environ), sys.stdin.read(), os.getpgid(0) == os.getpid())"


@spawns
def test_a_command_gets_a_plain_environment_no_stdin_and_its_own_group() -> None:
    result = LocalRunner().run([sys.executable, "-IS", "-c", SHOW], timeout_s=LIMIT_S)
    assert result.exit_code == 0
    assert result.stdout.endswith(" True\n")
    shown = result.stdout.split("]")[0]
    assert "LC_ALL" in shown
    assert "PWD" not in shown
    assert result.duration_s > 0


@spawns
def test_input_reaches_stdin() -> None:
    assert LocalRunner().run(["cat"], input="a\nb\n", timeout_s=LIMIT_S).stdout == "a\nb\n"


@spawns
def test_exit_codes_are_failures_unless_allowed() -> None:
    with pytest.raises(CommandFailedError) as caught:
        LocalRunner().run(["false"], timeout_s=LIMIT_S)
    assert caught.value.result.exit_code == 1
    assert LocalRunner().run(["false"], timeout_s=LIMIT_S, allowed_exit_codes=(0, 1)).exit_code == 1
    assert LocalRunner().run(["false"], timeout_s=LIMIT_S, allowed_exit_codes=None).exit_code == 1


@spawns
def test_a_missing_program_is_named() -> None:
    with pytest.raises(UnavailableError, match="no-such-program is not installed"):
        LocalRunner().run(["no-such-program"], timeout_s=LIMIT_S)


@spawns
def test_a_deaf_command_is_killed_with_its_children(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_KILL_AFTER_S", 0.2)
    deaf = "import signal, subprocess; signal.signal(15, signal.SIG_IGN); subprocess.run(['sleep', '60'])"
    started = time.monotonic()
    with pytest.raises(TimeLimitError) as caught:
        LocalRunner().run([sys.executable, "-IS", "-c", deaf], timeout_s=0.5)
    assert caught.value.reason is Reason.COMMAND_TIMED_OUT
    # The sleeping child holds the pipe: had it been left alive, this would take a minute.
    assert time.monotonic() - started < LIMIT_S


@spawns
def test_a_read_ends_with_its_caller() -> None:
    scope = CallScope()
    token = CURRENT_SCOPE.set(scope)
    try:
        scope.close()
        with pytest.raises(CommandFailedError) as caught:
            LocalRunner().run(["sleep", "60"], timeout_s=LIMIT_S)
    finally:
        CURRENT_SCOPE.reset(token)
    assert caught.value.result.exit_code == -15


def test_files_are_replaced_whole(tmp_path: Path) -> None:
    runner, file = LocalRunner(), tmp_path / "new" / "fstab"
    assert runner.read_text(str(file)) is None
    runner.write_text_atomically(str(file), "one\n")
    runner.write_text_atomically(str(file), "two\n")
    assert runner.read_text(str(file)) == "two\n"
    assert [path.name for path in file.parent.iterdir()] == ["fstab"]


def test_a_file_of_somebody_else_keeps_its_mode_and_its_bytes(tmp_path: Path) -> None:
    file = tmp_path / "fstab"
    file.write_bytes(b"# sch\xf6n\n")
    file.chmod(0o640)
    runner = LocalRunner()
    runner.write_text_atomically(str(file), f"{runner.read_text(str(file))}more\n")
    assert file.read_bytes() == b"# sch\xf6n\nmore\n"
    assert file.stat().st_mode & 0o777 == 0o640


def test_directories(tmp_path: Path) -> None:
    runner, path = LocalRunner(), tmp_path / "a" / "b"
    runner.make_directory(str(path))
    runner.make_directory(str(path))
    runner.sync_directory(str(path))
    with pytest.raises(FileNotFoundError):
        runner.sync_directory(str(path / "absent"))
    runner.set_group(str(path), os.getgid())
    runner.set_mode(str(path), 0o2775)
    assert path.stat().st_mode & 0o7777 == 0o2775
    with pytest.raises(OSError, match="not empty"):
        runner.remove_directory(str(path.parent))
    runner.remove_directory(str(path))
    runner.remove_directory(str(path))
    assert not runner.exists(str(path))


def test_what_is_no_block_device(tmp_path: Path) -> None:
    runner = LocalRunner()
    assert not runner.is_block_device(str(tmp_path))
    assert not runner.is_block_device("/dev/no-such-device")
    assert not runner.is_block_device("/dev/null")


def test_disks_are_read_from_a_tree_like_the_kernels(tmp_path: Path) -> None:
    disk = tmp_path / "cciss!c0d0"
    for name, text in {"size": "2048\n", "ro": "0\n", "cciss!c0d0p1/partition": "1\n", "holders/dm-0/x": ""}.items():
        (disk / name).parent.mkdir(parents=True, exist_ok=True)
        (disk / name).write_text(text)
    found = local._block_device(disk)
    assert (found.path, found.size_bytes, found.read_only) == ("/dev/cciss/c0d0", 1 << 20, False)
    assert (found.partitions, found.holders) == (("cciss!c0d0p1",), ("dm-0",))


def test_the_mount_table_of_this_machine_has_a_root() -> None:
    assert any(entry.mount_point == "/" for entry in LocalRunner().mounts())


def test_a_mount_that_the_kernel_refuses(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=str(tmp_path)):
        LocalRunner().unmount(str(tmp_path))
