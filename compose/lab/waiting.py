"""Conditions with time limits, interrupts at safe points only, and progress lines with seconds."""

from __future__ import annotations

import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Self

from compose.lab.errors import Interrupted, TimeLimitError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
POLL_SECONDS = 0.03
LONGEST_POLL_SECONDS = 1.0
# A look that starts processes must not take the machine from what it waits for.
_PAUSE_PER_LOOK = 2.0
TALK_AFTER_SECONDS = 2.0


class Interrupts:
    """Holds signals back until `check`, so that nothing is ever half made when they are acted on.

    Outside the main thread, where Python delivers no signals, it does nothing.
    """

    def __init__(self) -> None:
        self._signum: int | None = None
        self._previous: dict[int, object] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for signum in SIGNALS:
                self._previous[signum] = signal.signal(signum, self._remember)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)  # type: ignore[arg-type]  # it is what signal.signal returned

    def _remember(self, signum: int, _frame: FrameType | None) -> None:
        self._signum = signum

    def check(self) -> None:
        """Act on a signal that came since the start.

        Raises:
            Interrupted: a signal came.
        """
        if self._signum is not None:
            raise Interrupted(self._signum)


class Progress:
    """Says on standard error what is going on, with the seconds since the beginning.

    Attributes:
        quiet: say nothing.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self._start = time.monotonic()

    def say(self, text: str) -> None:
        """Print one line, with the seconds since this object was made."""
        if not self.quiet:
            print(f"lab: {time.monotonic() - self._start:5.1f} s  {text}", file=sys.stderr, flush=True)


def wait_until(
    condition: Callable[[], bool],
    *,
    seconds: float,
    what: Callable[[], str] | str,
    interrupts: Interrupts | None = None,
    progress: Progress | None = None,
) -> None:
    """Poll a condition until it holds, with pauses twice as long as a look takes.

    Args:
        condition: may raise to give up early.
        seconds: the time limit.
        what: what is waited for; a callable is asked anew for each line.
        interrupts: checked at every poll.
        progress: told every two seconds what is waited for.

    Raises:
        TimeLimitError: the time is over.
        Interrupted: a signal came.
    """
    start = time.monotonic()
    next_line = start + TALK_AFTER_SECONDS
    while True:
        looked = time.monotonic()
        if condition():
            return
        if interrupts is not None:
            interrupts.check()
        now = time.monotonic()
        text = what if isinstance(what, str) else what()
        if now - start > seconds:
            raise TimeLimitError(f"gave up after {seconds:.0f} s waiting for {text}")
        if progress is not None and now >= next_line:
            progress.say(f"waiting for {text}")
            next_line = now + TALK_AFTER_SECONDS
        time.sleep(min(max(POLL_SECONDS, _PAUSE_PER_LOOK * (now - looked)), LONGEST_POLL_SECONDS))
