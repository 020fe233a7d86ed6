"""Tells watchers in this process that an operation has changed. Effects: threads."""

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager


class ChangeFeed:
    """Wakes whoever waits for a change of an operation; changes by other processes are found by looking."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, set[threading.Event]] = defaultdict(set)
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether watching has ended because the process stops."""
        return self._closed

    @contextmanager
    def subscription(self, operation_id: str) -> Iterator[threading.Event]:
        """An event that is set after each change of the operation, from now until the block ends."""
        wake = threading.Event()
        with self._lock:
            self._waiting[operation_id].add(wake)
        try:
            yield wake
        finally:
            with self._lock:
                self._waiting[operation_id].discard(wake)
                if not self._waiting[operation_id]:
                    del self._waiting[operation_id]

    def publish(self, *operation_ids: str) -> None:
        """Wakes the watchers of changed operations; call it after the transaction."""
        with self._lock:
            for operation_id in operation_ids:
                for wake in self._waiting.get(operation_id, ()):
                    wake.set()

    def close(self) -> None:
        """Ends all watching."""
        with self._lock:
            self._closed = True
            for waiting in self._waiting.values():
                for wake in waiting:
                    wake.set()
