"""grpc's health service, for servers that many clients watch. Effects: threads."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from grpc_health.v1 import health

# Whoever has several servers watches the health of each, for as long as it lives; these calls must not take the threads
# of others. Without threads grpc's servicer can lock itself up, when a watcher leaves while the health changes.
_WATCHERS = ThreadPoolExecutor(max_workers=256, thread_name_prefix="health-watch")


class WatchedHealth(health.HealthServicer):
    """The health of a server; watching it holds up neither other calls nor the end of the server."""

    def __init__(self) -> None:
        super().__init__(experimental_non_blocking=False, experimental_thread_pool=_WATCHERS)
        self._watches: set[Any] = set()
        self._ending = False

    def Watch(self, request: Any, context: Any, send_response_callback: Any = None) -> Iterator[Any]:  # type: ignore[override] # noqa: ARG002, N802 - of its two forms the stub knows one
        """The health now and after each change, until the caller leaves or the server stops."""
        watch: Any = super().Watch(request, context)
        self._watches.add(watch)
        try:
            if self._ending:
                watch.close()
            yield from watch
        finally:
            self._watches.discard(watch)

    def stop(self) -> None:
        """Says for good that nothing is served any more, and ends all watches."""
        self.enter_graceful_shutdown()
        self._ending = True
        for watch in tuple(self._watches):
            watch.close()
