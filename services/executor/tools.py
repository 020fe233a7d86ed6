"""What all verbs of a node share: its runner, its policy, its locks, and patience. Effects: through the runner."""

import errno
import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

from services.common.errors import InternalError
from services.common.reasons import Reason
from services.executor.debts import Debts
from services.executor.policy import NodePolicy
from services.executor.runners.base import CommandFailedError, CommandResult, Runner
from services.executor.settings import Patience

# A request that comes late comes within minutes.
_MOST_GONE = 100_000


@dataclass(slots=True)
class Locks:
    """One lock per volume group and per brick, one for gluster, one for the mount table file."""

    gluster: threading.Lock = field(default_factory=threading.Lock)
    fstab: threading.Lock = field(default_factory=threading.Lock)
    _guard: threading.Lock = field(default_factory=threading.Lock)
    _groups: dict[str, threading.Lock] = field(default_factory=lambda: defaultdict(threading.Lock))
    # Gone with whoever holds or awaits them: bricks come and go.
    _bricks: "WeakValueDictionary[str, threading.Lock]" = field(default_factory=WeakValueDictionary)
    _gone: dict[str, None] = field(default_factory=dict)

    def brick(self, device: str) -> threading.Lock:
        """The lock of a brick; to be taken before that of its group."""
        with self._guard:
            return self._bricks.setdefault(device, threading.Lock())

    def mark_gone(self, device: str) -> None:
        """Remembers that a brick was removed. Ids are never used again, so it must not be made any more."""
        with self._guard:
            self._gone[device] = None
            if len(self._gone) > _MOST_GONE:
                del self._gone[next(iter(self._gone))]

    def is_gone(self, device: str) -> bool:
        """Whether a brick was removed since this process started."""
        with self._guard:
            return device in self._gone

    def group(self, vg: str) -> threading.Lock:
        """The lock of a volume group."""
        with self._guard:
            return self._groups[vg]


@dataclass(frozen=True, slots=True)
class Tools:
    """The node as verbs see it.

    Attributes:
        runner: Commands and files.
        policy: What the node allows.
        patience: How long to insist.
        locks: Who may change what now.
        debts: What the node owes after its answers.
        clock: Monotonic seconds.
        pause: Waits so many seconds.
    """

    runner: Runner
    policy: NodePolicy
    patience: Patience = field(default_factory=Patience)
    locks: Locks = field(default_factory=Locks)
    debts: Debts = field(default_factory=Debts)
    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep

    def attempts(
        self, limit_s: float, *, first_pause_s: float | None = None, longest_pause_s: float | None = None
    ) -> Iterator[bool]:
        """Yields once per attempt, with growing, jittered pauses in between; True when it is the last one.

        Args:
            limit_s: No attempt begins later.
            first_pause_s: See `Patience.first_pause_s`, which it replaces; it doubles.
            longest_pause_s: See `Patience.longest_pause_s`, which it replaces.
        """
        end = self.clock() + limit_s
        step_s = self.patience.first_pause_s if first_pause_s is None else first_pause_s
        longest_s = self.patience.longest_pause_s if longest_pause_s is None else longest_pause_s
        while True:
            last = self.clock() + step_s >= end
            yield last
            if last:
                return
            # Two agents that lost against each other must not meet again.
            self.pause(step_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret
            step_s = min(2 * step_s, longest_s)

    def unmount(self, mount_point: str) -> None:
        """Unmounts all that is mounted on a directory, with patience: a brick process needs a moment to end.

        Raises:
            OSError: EBUSY when it is still used at the end of the patience, or the kernel's other answers.
        """
        for last in self.attempts(self.patience.unmount_s):
            try:
                while self.runner.mounted_at(mount_point) is not None:
                    self.runner.unmount(mount_point)
            except OSError as error:
                if error.errno != errno.EBUSY or last:
                    raise
            else:
                return


@contextmanager
def failing_as(reason: Reason, **metadata: object) -> Iterator[None]:
    """Turns a command's failure into the one error of its kind, with the tool's own words as text."""
    try:
        yield
    except CommandFailedError as error:
        raise command_error(reason, error.result, **metadata) from error


def command_error(reason: Reason, result: CommandResult, **metadata: object) -> InternalError:
    """The error of a failed command; its text is the tool's own."""
    return InternalError(
        reason,
        result.complaint,
        command=" ".join(result.argv[:2]),
        exit_code=result.exit_code,
        stderr=result.stderr.strip(),
        **metadata,
    )
