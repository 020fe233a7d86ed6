"""Remembers changes by request id: a repeated one joins the running call, or gets the finished one's answer.

Effects: one SQLite file, or memory. Only successes are kept: what failed may be tried again.
"""

import hashlib
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from pathlib import Path

from services.common.errors import AbortedError, InvalidArgumentError, TimeLimitError
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
"""


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
        self._running: dict[str, tuple[bytes, Future[bytes]]] = {}
        self._written = 0
        self._database = sqlite3.connect(path or ":memory:", check_same_thread=False, isolation_level=None)
        if path is not None:
            self._database.execute("PRAGMA journal_mode = WAL")
            # A lost answer costs one more observation, not more; a lost file would cost all of them.
            self._database.execute("PRAGMA synchronous = NORMAL")
        self._database.executescript(_SCHEMA)

    def run(
        self, request_id: str, method: str, request: bytes, work: Callable[[], bytes], *, wait_s: float | None = None
    ) -> bytes:
        """Does the work unless it was done under this id, or waits for it while it is being done.

        Args:
            request_id: 1 to 128 characters.
            method: Name of the RPC.
            request: The request, serialized; it has to be the same for the same id.
            work: Makes the change and returns the serialized answer.
            wait_s: Longest wait for another caller's run.

        Raises:
            InvalidArgumentError: No request id, or a longer one.
            AbortedError: REQUEST_ID_REUSED, the id came with another request.
            TimeLimitError: The running call did not end in time; it goes on.
        """
        if not 1 <= len(request_id) <= _LONGEST_ID:
            raise InvalidArgumentError(
                Reason.INVALID_ARGUMENT, "request_id: 1 to 128 characters are needed", field="request_id"
            )
        digest = hashlib.sha256(method.encode() + b"\0" + request).digest()
        with self._lock:
            joined = self._running.get(request_id)
            known = (joined[0], b"") if joined else self._find(request_id)
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
                mine: Future[bytes] = Future()
                self._running[request_id] = (digest, mine)
        if joined is not None:
            _log.info("journal.joined", journal_id=request_id, method=method)
            return _result(joined[1], method, wait_s)
        return self._work(request_id, method, digest, mine, work)

    def _work(
        self, request_id: str, method: str, digest: bytes, future: "Future[bytes]", work: Callable[[], bytes]
    ) -> bytes:
        try:
            self._before(method)
            answer = work()
            with self._lock:
                self._remember(request_id, digest, answer)
        except BaseException as error:
            with self._lock:
                del self._running[request_id]
            future.set_exception(error)
            raise
        with self._lock:
            del self._running[request_id]
        future.set_result(answer)
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

    def close(self) -> None:
        """Closes the file; to be called when no change runs."""
        self._database.close()


def _result(future: "Future[bytes]", method: str, wait_s: float | None) -> bytes:
    try:
        return future.result(wait_s)
    except FutureTimeoutError as error:
        if future.done():
            raise
        raise TimeLimitError(Reason.DEADLINE_EXCEEDED, f"{method} still runs on this node", method=method) from error
