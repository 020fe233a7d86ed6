"""One change of a lab at a time."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

from compose.lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from compose.lab.waiting import Progress

LOCK_SECONDS = 180.0


@contextmanager
def locked(name: str, progress: Progress | None = None) -> Iterator[None]:
    """Hold the lock of a lab; it ends with the process, however that ends, and leaves no file behind.

    The lock is a name in the abstract socket namespace, which the kernel gives to one socket at a time.

    Raises:
        TimeLimitError: another command has been changing the lab for three minutes.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as holder:

        def taken() -> bool:
            try:
                holder.bind(f"\0brickyard-lab/{name}")
            except OSError:
                return False
            return True

        wait_until(taken, seconds=LOCK_SECONDS, what=f"another command that changes lab {name}", progress=progress)
        yield
