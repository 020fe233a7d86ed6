"""Looks at a node that may take longer than who asks can wait. Effects: a thread for each look."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from services.common.errors import TimeLimitError
from services.common.reasons import Reason

_Seen = TypeVar("_Seen")


@dataclass(frozen=True, slots=True)
class _Look(Generic[_Seen]):
    """One look.

    Attributes:
        began: When, in seconds of the clock.
        seen: What is seen, once it is.
    """

    began: float
    seen: "Future[_Seen]" = field(default_factory=Future)


class Looks(Generic[_Seen]):
    """The looks at one node, one at a time; one that nobody waits for any more goes on, for whoever asks next.

    Args:
        look: Looks at the node.
        clock: Monotonic seconds.
    """

    def __init__(self, look: Callable[[], _Seen], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._look = look
        self._clock = clock
        self._lock = threading.Lock()
        self._running: _Look[_Seen] | None = None
        self._latest: _Look[_Seen] | None = None

    def newest(self, *, wait_s: float | None, max_age_s: float) -> tuple[_Seen, float]:
        """What is seen now, or was seen last when that takes too long.

        Args:
            wait_s: How long to wait for a look to end; None = as long as it takes.
            max_age_s: How old what was seen last may be.

        Returns:
            What was seen, and how many seconds ago that look began.

        Raises:
            TimeLimitError: The look goes on, and nothing was seen lately.
            BrickyardError: What the look has raised.
        """
        running = self._join()
        try:
            return running.seen.result(wait_s), self._clock() - running.began
        except TimeoutError:
            # A look that failed with such an error has ended.
            if running.seen.done():
                raise
        latest = self._latest
        if latest is not None and (age := self._clock() - latest.began) <= max_age_s:
            return latest.seen.result(), age
        raise TimeLimitError(
            Reason.COMMAND_TIMED_OUT, f"looking at the node takes more than {wait_s:g} s, and goes on", limit_s=wait_s
        )

    def _join(self) -> _Look[_Seen]:
        """The look that runs; begins one if there is none."""
        with self._lock:
            if self._running is None:
                self._running = _Look(self._clock())
                context = copy_context()
                threading.Thread(target=context.run, args=(self._run, self._running), name="look", daemon=True).start()
            return self._running

    def _run(self, look: _Look[_Seen]) -> None:
        try:
            seen = self._look()
        except BaseException as error:  # noqa: BLE001 - it is for those who wait
            self._end(latest=self._latest)
            look.seen.set_exception(error)
        else:
            self._end(latest=look)
            look.seen.set_result(seen)

    def _end(self, *, latest: _Look[_Seen] | None) -> None:
        with self._lock:
            self._running = None
            self._latest = latest
