"""The administrative mode of this process: whether changes are taken, and from whom. Effects: its own memory.

As in Heketi, a restart and SIGUSR2 end a mode; with several gateways each has its own.
"""

from enum import StrEnum

from gateway.heketi.texts import refusals

_LOCAL = frozenset({"127.0.0.1", "::1"})
_READS = frozenset({"GET", "HEAD"})


class Mode(StrEnum):
    """Who may change something; the values are Heketi's."""

    NORMAL = "normal"
    READ_ONLY = "read-only"
    LOCAL_CLIENT = "local-client"


class AdminMode:
    """The mode that holds now."""

    def __init__(self, start: Mode = Mode.NORMAL) -> None:
        self.mode = start

    def reset(self) -> None:
        """Back to normal, whatever mode the process began with (Heketi's rule for SIGUSR2)."""
        self.mode = Mode.NORMAL

    def check(self, method: str, client_host: str) -> None:
        """Raises Refused when the mode does not allow the request.

        Args:
            method: Of the request.
            client_host: Address of the other end of the connection; headers of proxies do not count.
        """
        if method in _READS or self.mode is Mode.NORMAL:
            return
        if self.mode is Mode.READ_ONLY or client_host not in _LOCAL:
            raise refusals.under_maintenance()
