"""The port through which the agent touches its node. Pure: values and a protocol.

Commands are argv lists without a shell. The few file operations go through the same port, because a spawned process
costs 20 to 50 ms of CPU on a small node, and because a simulated node has no files.
"""

from collections.abc import Collection, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

# What every spawned tool gets; nothing is inherited from the agent's own environment.
TOOL_ENVIRONMENT = {
    "LC_ALL": "C",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    # The agent's lvm calls inherit sockets and log files; LVM warns of each of them otherwise.
    "LVM_SUPPRESS_FD_WARNINGS": "1",
    # At each start the gluster CLI asks gsyncd, a Python program, whether geo-replication is installed, which takes two
    # thirds of its time. gsyncd looks here for its interpreter; from one that says nothing the CLI concludes that it
    # is not, and hides commands that the agent never uses.
    "PYTHON": "/bin/true",
}
# Kernel devices that are never a disk to hand over.
NO_DISKS = ("loop", "ram", "zram", "dm-", "md", "sr", "fd", "nbd", "mtd")


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What a finished command left behind.

    Attributes:
        argv: The command.
        exit_code: Its exit code; negative for a signal.
        stdout: What it wrote.
        stderr: What it complained of.
        duration_s: Seconds it took.
    """

    argv: tuple[str, ...]
    exit_code: int
    stdout: str
    stderr: str
    duration_s: float

    @property
    def complaint(self) -> str:
        """The tool's own words for a failure: stderr without mere warnings, else stdout, else the exit code."""
        lines = [line.strip() for line in self.stderr.splitlines() if line.strip()]
        telling = [line for line in lines if not line.startswith("WARNING: This metadata update is NOT backed up")]
        return "\n".join(telling) or self.stdout.strip() or f"{self.argv[0]} ended with exit code {self.exit_code}"


@dataclass(frozen=True, slots=True)
class Mount:
    """A line of the mount table or of a mount table file.

    Attributes:
        source: What is mounted, e.g. /dev/mapper/vg_x-brick_y.
        mount_point: Where.
        filesystem: File system type.
        options: Options, comma separated.
    """

    source: str
    mount_point: str
    filesystem: str
    options: str


@dataclass(frozen=True, slots=True)
class BlockDevice:
    """A whole block device as the kernel lists it.

    Attributes:
        path: E.g. /dev/sdb.
        size_bytes: Its size.
        partitions: Names of its partitions.
        holders: Names of the device-mapper or RAID devices on top of it.
        read_only: Whether it cannot be written.
    """

    path: str
    size_bytes: int
    partitions: tuple[str, ...] = ()
    holders: tuple[str, ...] = ()
    read_only: bool = False


class CommandFailedError(Exception):
    """A command ended with an exit code that its caller did not allow."""

    def __init__(self, result: CommandResult) -> None:
        super().__init__(f"{' '.join(result.argv[:2])}: exit code {result.exit_code}: {result.complaint}")
        self.result = result


class NodeLostError(Exception):
    """The node went away in the midst of a command. Verbs leave everything as it is: there is nobody to clean up."""


class CallScope:
    """Lets a read end its running commands when its caller goes away. Writes run outside of any scope."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._closed = False
        self._running: set[Callable[[], None]] = set()

    def enter(self, kill: "Callable[[], None]") -> None:
        """Notes a running command; kills it at once when the caller is gone already."""
        with self._lock:
            self._running.add(kill)
            closed = self._closed
        if closed:
            kill()

    def leave(self, kill: "Callable[[], None]") -> None:
        """Forgets a command that ended."""
        with self._lock:
            self._running.discard(kill)

    def close(self) -> None:
        """Kills what runs; later commands are killed as they start."""
        with self._lock:
            self._closed = True
            running = list(self._running)
        for kill in running:
            kill()


# The scope of the current read; None for writes and for the agent's own work.
CURRENT_SCOPE: ContextVar[CallScope | None] = ContextVar("brickyard_call_scope", default=None)


class Runner(Protocol):
    """One node's commands and files."""

    def hostname(self) -> str:
        """Host name of the node."""

    def run(
        self,
        argv: Sequence[str],
        *,
        input: str | None = None,  # noqa: A002 - the name that subprocess has for it
        timeout_s: float,
        allowed_exit_codes: Collection[int] | None = (0,),
    ) -> CommandResult:
        """Runs one command to its end.

        Args:
            argv: Program and arguments; no shell sees them.
            input: What the command reads on stdin; None closes it.
            timeout_s: Seconds before the command's process group gets TERM, and a while later KILL.
            allowed_exit_codes: Exit codes that are no failure; None allows all.

        Raises:
            CommandFailedError: Another exit code.
            TimeLimitError: COMMAND_TIMED_OUT.
            UnavailableError: The program is missing, or the node cannot be reached.
        """

    def exists(self, path: str) -> bool:
        """Whether there is anything under this path."""

    def glusterd_answers(self, hostname: str) -> bool:
        """Whether the glusterd of another node, or of this one, takes connections at its address."""

    def glusterd_listens(self) -> bool:
        """Whether anybody takes connections where this node's glusterd does."""

    def resolve(self, path: str) -> str:
        """The path without symbolic links."""

    def is_block_device(self, path: str) -> bool:
        """Whether the path, links followed, is a block device."""

    def block_devices(self) -> tuple[BlockDevice, ...]:
        """The node's whole disks, without loop, RAM and device-mapper devices."""

    def device_links(self, path: str) -> tuple[str, ...]:
        """The links below /dev/disk that lead to a device, sorted."""

    def read_text(self, path: str) -> str | None:
        """Content of a small file; None when it does not exist."""

    def write_text_atomically(self, path: str, text: str) -> None:
        """Replaces a file, or makes it; after a crash there is the old or the new one, never half of it."""

    def list_directory(self, path: str) -> tuple[str, ...]:
        """Names of the directories in a directory; none when it is not there."""

    def make_directory(self, path: str) -> None:
        """Makes a directory and those above it; an existing one is fine."""

    def remove_directory(self, path: str) -> None:
        """Removes an empty directory; an absent one is fine.

        Raises:
            OSError: It is not empty, or busy.
        """

    def sync_directory(self, path: str) -> None:
        """Writes a directory, its place, and its attributes to disk; on XFS that is the log up to its last change.

        Raises:
            OSError: It is not there, or cannot be written.
        """

    def set_group(self, path: str, gid: int) -> None:
        """Gives a directory to a group."""

    def set_mode(self, path: str, mode: int) -> None:
        """Sets the permissions of a directory."""

    def mounts(self) -> tuple[Mount, ...]:
        """The mount table, in the order of mounting."""

    def mounted_at(self, mount_point: str) -> Mount | None:
        """What is mounted on a directory, the topmost if several; None when nothing is."""

    def served_bricks(self, paths: Collection[str]) -> frozenset[str]:
        """Those of the brick directories that a running brick process serves."""

    def end_brick_process(self, brick_path: str) -> int:
        """Tells the brick processes that serve this brick, and no other, to end; how many there are."""

    def count_heals(self, brick_path: str) -> int:
        """Files that other bricks of its set have to take over from a brick; -1 when nobody can tell."""

    def mount(self, entry: Mount) -> None:
        """Mounts.

        Raises:
            OSError: The kernel's answer.
        """

    def unmount(self, mount_point: str) -> None:
        """Unmounts the topmost mount of a directory.

        Raises:
            OSError: EBUSY when it is used, EINVAL when nothing is mounted there.
        """
