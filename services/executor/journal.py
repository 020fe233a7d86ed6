"""Remembers changes by request id: a repeated one joins the running call, or gets the finished one's answer.

It also keeps epochs apart. A request id begins with the id of its operation; whoever takes an operation over, or begins
to take it back, does so in a higher epoch. A change of a lower one comes too late, whoever sent it, and is refused.

Effects: one SQLite file, or memory. Only successes are kept: what failed may be tried again.
"""

import hashlib
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field
from pathlib import Path

from services.common.errors import AbortedError, FailedPreconditionError, InvalidArgumentError, TimeLimitError
from services.common.logs import get_logger
from services.common.reasons import Reason

_log = get_logger()
# Longer than any operation is retried.
_KEEP_S = 7 * 24 * 3600.0
_LONGEST_ID = 128
_PRUNE_EVERY = 1000
_SCHEMA = """
CREATE TABLE IF NOT EXISTS answer (
  request_id TEXT PRIMARY KEY, digest BLOB NOT NULL, answer BLOB NOT NULL, finished_at REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS fence (
  operation_id TEXT PRIMARY KEY, epoch INTEGER NOT NULL, set_at REAL NOT NULL
) WITHOUT ROWID;
"""
# The epoch of a caller who does not know of epochs: it is never over.
NO_EPOCH = 0
# No epoch comes before it, so that it needs no record.
FIRST_EPOCH = 1


@dataclass(slots=True)
class _Running:
    """A change that runs.

    Attributes:
        digest: Of its request.
        epoch: The highest epoch in which it was asked for.
        future: Its answer.
    """

    digest: bytes
    epoch: int
    future: "Future[bytes]" = field(default_factory=Future)


class Journal:
    """The changes of one node.

    Args:
        path: SQLite file, made if need be; None keeps answers in memory only.
        clock: Seconds since the epoch.
        before: Called with the RPC's name before work is done, for simulated nodes; what it raises is the failure.
    """

    def __init__(
        self,
        path: Path | None = None,
        *,
        clock: Callable[[], float] = time.time,
        before: Callable[[str], None] = lambda _method: None,
    ) -> None:
        self._clock = clock
        self._before = before
        self._lock = threading.Lock()
        self._running: dict[str, _Running] = {}
        self._written = 0
        self._database = sqlite3.connect(path or ":memory:", check_same_thread=False, isolation_level=None)
        if path is not None:
            self._database.execute("PRAGMA journal_mode = WAL")
            # A lost answer costs one more observation, not more; a lost file would cost all of them.
            self._database.execute("PRAGMA synchronous = NORMAL")
        self._database.executescript(_SCHEMA)

    def run(
        self,
        request_id: str,
        method: str,
        request: bytes,
        work: Callable[[], bytes],
        *,
        epoch: int = NO_EPOCH,
        wait_s: float | None = None,
        keep: bool = True,
    ) -> bytes:
        """Does the work unless it was done under this id, or waits for it while it is being done.

        Args:
            request_id: 1 to 128 characters.
            method: Name of the RPC.
            request: The request, serialized; it has to be the same for the same id.
            work: Makes the change and returns the serialized answer.
            epoch: In which epoch of its operation it is asked for; the highest one that was seen ends those before.
            wait_s: Longest wait for another caller's run.
            keep: Whether the answer is remembered; one with a secret is not, so that its work must find itself done.

        Raises:
            InvalidArgumentError: No request id, or a longer one.
            FailedPreconditionError: LEASE_LOST, its epoch is over.
            AbortedError: REQUEST_ID_REUSED, the id came with another request.
            TimeLimitError: The running call did not end in time; it goes on.
        """
        if not 1 <= len(request_id) <= _LONGEST_ID:
            raise InvalidArgumentError(
                Reason.INVALID_ARGUMENT, "request_id: 1 to 128 characters are needed", field="request_id"
            )
        digest = hashlib.sha256(method.encode() + b"\0" + request).digest()
        with self._lock:
            self._enter(operation_of(request_id), epoch)
            joined = self._running.get(request_id)
            known = (joined.digest, b"") if joined else self._find(request_id)
            if known is not None and known[0] != digest:
                raise AbortedError(
                    Reason.REQUEST_ID_REUSED,
                    f"request id {request_id!r} was used for another request",
                    request_id=request_id,
                )
            if known is not None and joined is None:
                _log.info("journal.answered", journal_id=request_id, method=method)
                return known[1]
            if joined is None:
                mine = self._running[request_id] = _Running(digest, epoch)
            else:
                joined.epoch = max(joined.epoch, epoch)
        if joined is not None:
            _log.info("journal.joined", journal_id=request_id, method=method)
            return _result(joined.future, method, wait_s)
        return self._work(request_id, method, mine, work, keep=keep)

    def _enter(self, operation_id: str, epoch: int) -> None:
        """Refuses an epoch that is over, and ends those before it. To be called under the lock."""
        if epoch == NO_EPOCH:
            return
        row = self._database.execute("SELECT epoch FROM fence WHERE operation_id = ?", (operation_id,)).fetchone()
        current: int = row[0] if row is not None else FIRST_EPOCH
        if epoch < current:
            raise FailedPreconditionError(
                Reason.LEASE_LOST,
                f"operation {operation_id} is in epoch {current}; a request of epoch {epoch} comes too late",
                operation_id=operation_id,
                epoch=epoch,
                current_epoch=current,
            )
        if epoch > current:
            self._database.execute(
                "INSERT OR REPLACE INTO fence VALUES (?, ?, ?)", (operation_id, epoch, self._clock())
            )

    def fence(self, operation_id: str, epoch: int, *, wait_s: float | None = None) -> None:
        """Ends all epochs of an operation before `epoch`: what they still do is awaited, what comes later is refused.

        Args:
            operation_id: The operation.
            epoch: The first one that may go on, 1 or more.
            wait_s: Longest wait for what runs.

        Raises:
            FailedPreconditionError: LEASE_LOST, this epoch is over itself.
            TimeLimitError: A change of an earlier epoch still runs; it goes on, and nothing new is let in.
        """
        self._before("FenceOperation")
        with self._lock:
            self._enter(operation_id, epoch)
            earlier = {
                request_id: running.future
                for request_id, running in self._running.items()
                if operation_of(request_id) == operation_id and running.epoch < epoch
            }
        if earlier:
            _log.info("journal.fenced", operation_id=operation_id, epoch=epoch, awaited=sorted(earlier))
        if wait(earlier.values(), wait_s).not_done:
            raise TimeLimitError(
                Reason.DEADLINE_EXCEEDED,
                f"changes of operation {operation_id} still run on this node",
                operation_id=operation_id,
            )

    def _work(self, request_id: str, method: str, running: _Running, work: Callable[[], bytes], *, keep: bool) -> bytes:
        try:
            self._before(method)
            answer = work()
            if keep:
                with self._lock:
                    self._remember(request_id, running.digest, answer)
        except BaseException as error:
            with self._lock:
                del self._running[request_id]
            running.future.set_exception(error)
            raise
        with self._lock:
            del self._running[request_id]
        running.future.set_result(answer)
        return answer

    def _find(self, request_id: str) -> tuple[bytes, bytes] | None:
        row: tuple[bytes, bytes] | None = self._database.execute(
            "SELECT digest, answer FROM answer WHERE request_id = ?", (request_id,)
        ).fetchone()
        return row

    def _remember(self, request_id: str, digest: bytes, answer: bytes) -> None:
        now = self._clock()
        self._database.execute("INSERT OR REPLACE INTO answer VALUES (?, ?, ?, ?)", (request_id, digest, answer, now))
        self._written += 1
        if self._written % _PRUNE_EVERY == 1:
            self._database.execute("DELETE FROM answer WHERE finished_at < ?", (now - _KEEP_S,))
            self._database.execute("DELETE FROM fence WHERE set_at < ?", (now - _KEEP_S,))

    def close(self) -> None:
        """Closes the file; to be called when no change runs."""
        self._database.close()


def operation_of(request_id: str) -> str:
    """The id of the operation that a request is of; the request id itself when it names none."""
    return request_id.partition("/")[0]


def _result(future: "Future[bytes]", method: str, wait_s: float | None) -> bytes:
    try:
        return future.result(wait_s)
    except FutureTimeoutError as error:
        if future.done():
            raise
        raise TimeLimitError(Reason.DEADLINE_EXCEEDED, f"{method} still runs on this node", method=method) from error
