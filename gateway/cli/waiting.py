"""A sign of life on a terminal for what takes longer than a moment. Effects: stderr."""

import contextlib
import threading
from collections.abc import Iterator
from contextvars import ContextVar

from rich.console import Console

_AFTER_S = 2.0
_shown = ContextVar("_shown", default=False)


@contextlib.contextmanager
def sign_of_life(text: str, *, after_s: float = _AFTER_S) -> Iterator[None]:
    """Shows a spinner with `text` on stderr when the block takes longer than `after_s`; nothing in a pipe.

    The block must print nothing. Within another sign of life that one stays.
    """
    console = Console(stderr=True)
    if not console.is_terminal or _shown.get():
        yield
        return
    shown = _shown.set(True)
    status = console.status(text)
    timer = threading.Timer(after_s, status.start)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        # A timer that has fired may be about to start it.
        timer.join()
        status.stop()
        _shown.reset(shown)
