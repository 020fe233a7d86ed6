"""The node that the agent runs on. Effects: processes, files, mounts."""

import ctypes
import errno
import os
import select
import signal
import socket
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path

from services.common.errors import TimeLimitError, UnavailableError
from services.common.files import sync_directory
from services.common.logs import get_logger
from services.common.reasons import Reason
from services.executor.filesystem.mounts import find_mount, kernel_flags, parse_mountinfo
from services.executor.runners import processes
from services.executor.runners.base import (
    CURRENT_SCOPE,
    NO_DISKS,
    TOOL_ENVIRONMENT,
    BlockDevice,
    CommandFailedError,
    CommandResult,
    Mount,
)
from services.executor.runners.measured import measured

_log = get_logger()
_KILL_AFTER_S = 5.0
_SECTOR_BYTES = 512

# Where the CLI finds glusterd, by version and distribution, and the port for peers.
_GLUSTERD: tuple[tuple[socket.AddressFamily, str | tuple[str, int]], ...] = (
    (socket.AF_UNIX, "/var/run/glusterd.socket"),
    (socket.AF_UNIX, "/var/run/gluster/glusterd.socket"),
    (socket.AF_INET, ("127.0.0.1", 24007)),
)
_GLUSTERD_TIMEOUT_S = 5.0
_GLUSTERD_PORT = 24007
_PEER_TIMEOUT_S = 3.0


class LocalRunner:
    """Runs commands and touches files of this machine.

    Args:
        parallel: Most commands at the same time; others wait for their turn.
        environment: Replaces the tools' whole environment.
    """

    def __init__(self, *, parallel: int = 8, environment: dict[str, str] | None = None) -> None:
        self._slots = threading.BoundedSemaphore(parallel)
        self._environment = dict(environment if environment is not None else TOOL_ENVIRONMENT)
        # Without udev libdm must be told so, and only the agent's starter knows.
        if "DM_DISABLE_UDEV" in os.environ:
            self._environment["DM_DISABLE_UDEV"] = os.environ["DM_DISABLE_UDEV"]
        self._libc = ctypes.CDLL(None, use_errno=True)

    def hostname(self) -> str:
        """Host name of this machine."""
        return os.uname().nodename

    def run(
        self,
        argv: Sequence[str],
        *,
        input: str | None = None,  # noqa: A002 - the name that subprocess has for it
        timeout_s: float,
        allowed_exit_codes: Collection[int] | None = (0,),
    ) -> CommandResult:
        """See Runner.run."""
        with self._slots, measured(argv, input) as outcome:
            result = outcome.of(self._run(argv, input, timeout_s))
        _log.info(
            "command.run", argv=list(result.argv), exit_code=result.exit_code, duration_s=round(result.duration_s, 4)
        )
        if allowed_exit_codes is not None and result.exit_code not in allowed_exit_codes:
            raise CommandFailedError(result)
        return result

    def _run(self, argv: Sequence[str], text: str | None, timeout_s: float) -> CommandResult:
        started = time.monotonic()
        try:
            process = subprocess.Popen(
                list(argv),
                stdin=subprocess.DEVNULL if text is None else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=self._environment,
                cwd="/",
                text=True,
                errors="replace",
                # Its own process group, so that a stuck tool's children end with it.
                process_group=0,
            )
        except FileNotFoundError as error:
            raise UnavailableError(
                Reason.UNAVAILABLE, f"{argv[0]} is not installed on {self.hostname()}", program=argv[0]
            ) from error
        scope = CURRENT_SCOPE.get()
        kill = _killer(process)
        if scope is not None:
            scope.enter(kill)
        try:
            stdout, stderr = process.communicate(text, timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            kill()
            stdout, stderr = process.communicate()
            _log.warning("command.timed_out", argv=list(argv), limit_s=timeout_s)
            raise TimeLimitError(
                Reason.COMMAND_TIMED_OUT,
                f"{' '.join(argv[:2])} did not end within {timeout_s:g} s: {stderr.strip()}",
                program=argv[0],
                limit_s=timeout_s,
            ) from error
        finally:
            if scope is not None:
                scope.leave(kill)
        return CommandResult(tuple(argv), process.returncode, stdout, stderr, time.monotonic() - started)

    def exists(self, path: str) -> bool:
        """See Runner.exists."""
        return os.path.lexists(path)

    def glusterd_answers(self, hostname: str) -> bool:
        """See Runner.glusterd_answers."""
        try:
            with socket.create_connection((hostname, _GLUSTERD_PORT), timeout=_PEER_TIMEOUT_S):
                return True
        except OSError:
            return False

    def glusterd_listens(self) -> bool:
        """See Runner.glusterd_listens."""
        for family, address in _GLUSTERD:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.settimeout(_GLUSTERD_TIMEOUT_S)
                try:
                    probe.connect(address)
                except OSError:
                    continue
                return True
        return False

    def resolve(self, path: str) -> str:
        """See Runner.resolve."""
        return os.path.realpath(path)

    def is_block_device(self, path: str) -> bool:
        """See Runner.is_block_device."""
        try:
            return stat.S_ISBLK(Path(path).stat().st_mode)
        except FileNotFoundError:
            return False

    def block_devices(self) -> tuple[BlockDevice, ...]:
        """See Runner.block_devices; read from /sys/block."""
        names = sorted(entry.name for entry in os.scandir("/sys/block") if not entry.name.startswith(NO_DISKS))
        return tuple(_block_device(Path("/sys/block") / name) for name in names)

    def device_links(self, path: str) -> tuple[str, ...]:
        """See Runner.device_links."""
        device = self.resolve(path)
        links = Path("/dev/disk").glob("by-*/*")
        return tuple(sorted(str(link) for link in links if os.path.realpath(link) == device))

    def read_text(self, path: str) -> str | None:
        """See Runner.read_text."""
        try:
            # Files of others may hold anything; it must come out again as it was.
            return Path(path).read_text(encoding="utf-8", errors="surrogateescape")
        except FileNotFoundError:
            return None

    def write_text_atomically(self, path: str, text: str) -> None:
        """See Runner.write_text_atomically."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.new")
        with temporary.open("w", encoding="utf-8", errors="surrogateescape") as file:
            with suppress(FileNotFoundError):
                before = target.stat()
                os.fchmod(file.fileno(), stat.S_IMODE(before.st_mode))
                os.fchown(file.fileno(), before.st_uid, before.st_gid)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
        sync_directory(target.parent)

    def list_directory(self, path: str) -> tuple[str, ...]:
        """See Runner.list_directory."""
        try:
            with os.scandir(path) as entries:
                return tuple(sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False)))
        except FileNotFoundError:
            return ()

    def make_directory(self, path: str) -> None:
        """See Runner.make_directory."""
        Path(path).mkdir(parents=True, exist_ok=True)

    def remove_directory(self, path: str) -> None:
        """See Runner.remove_directory."""
        try:
            Path(path).rmdir()
        except FileNotFoundError:
            return

    def sync_directory(self, path: str) -> None:
        """See Runner.sync_directory; the system call, not the program."""
        started = time.monotonic()
        sync_directory(path)
        duration_s = round(time.monotonic() - started, 4)
        _log.info("command.run", argv=["fsync", path], exit_code=0, duration_s=duration_s, system_call=True)

    def set_group(self, path: str, gid: int) -> None:
        """See Runner.set_group."""
        os.chown(path, -1, gid)

    def set_mode(self, path: str, mode: int) -> None:
        """See Runner.set_mode."""
        Path(path).chmod(mode)

    def mounts(self) -> tuple[Mount, ...]:
        """See Runner.mounts."""
        return parse_mountinfo(Path("/proc/self/mountinfo").read_text(encoding="utf-8"))

    def mounted_at(self, mount_point: str) -> Mount | None:
        """See Runner.mounted_at."""
        return find_mount(Path("/proc/self/mountinfo").read_text(encoding="utf-8"), mount_point)

    def served_bricks(self, paths: Collection[str]) -> frozenset[str]:
        """See Runner.served_bricks."""
        return processes.served_bricks(paths)

    def end_brick_process(self, brick_path: str) -> int:
        """See Runner.end_brick_process."""
        return processes.end_brick_process(brick_path)

    def count_heals(self, brick_path: str) -> int:
        """See Runner.count_heals."""
        return processes.count_heals(brick_path)

    def mount(self, entry: Mount) -> None:
        """See Runner.mount; the system call, not the program."""
        flags, data = kernel_flags(entry.options)
        started = time.monotonic()
        result = self._libc.mount(
            os.fsencode(entry.source),
            os.fsencode(entry.mount_point),
            entry.filesystem.encode(),
            ctypes.c_ulong(flags),
            data.encode(),
        )
        self._finish_call(
            ["mount", "-t", entry.filesystem, "-o", entry.options, entry.source, entry.mount_point], result, started
        )

    def unmount(self, mount_point: str) -> None:
        """See Runner.unmount; the system call, not the program."""
        started = time.monotonic()
        self._finish_call(["umount", mount_point], self._libc.umount2(os.fsencode(mount_point), 0), started)

    @staticmethod
    def _finish_call(argv: list[str], result: int, started: float) -> None:
        number = ctypes.get_errno() if result != 0 else 0
        duration_s = round(time.monotonic() - started, 4)
        _log.info("command.run", argv=argv, exit_code=number, duration_s=duration_s, system_call=True)
        if number != 0:
            raise OSError(number, os.strerror(number), argv[-1])


def _killer(process: "subprocess.Popen[str]") -> Callable[[], None]:
    """Ends a command's process group: TERM first, KILL when it does not listen."""

    def signal_group(number: signal.Signals) -> bool:
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return False
        return True

    def kill() -> None:
        # A process that was waited for may have lent its number to another one.
        if process.returncode is None and signal_group(signal.SIGTERM) and not _has_ended(process.pid, _KILL_AFTER_S):
            signal_group(signal.SIGKILL)

    return kill


def _has_ended(pid: int, limit_s: float) -> bool:
    """Waits for a process to end without taking its exit code away from whoever waits for it."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], limit_s)[0])
    finally:
        os.close(descriptor)


def _read_number(path: Path) -> int:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno != errno.ENOENT:
            raise
        return 0


def _names(directory: Path) -> list[str]:
    return sorted(entry.name for entry in directory.iterdir()) if directory.is_dir() else []


def _block_device(entry: Path) -> BlockDevice:
    partitions = tuple(name for name in _names(entry) if (entry / name / "partition").exists())
    return BlockDevice(
        path=f"/dev/{entry.name.replace('!', '/')}",
        size_bytes=_read_number(entry / "size") * _SECTOR_BYTES,
        partitions=partitions,
        holders=tuple(_names(entry / "holders")),
        read_only=_read_number(entry / "ro") == 1,
    )
