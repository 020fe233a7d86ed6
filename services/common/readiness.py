"""Tells whoever started the process that it is ready. Effects: stdout, systemd's socket."""

import os
import socket


def announce_ready(process: str, where: str) -> None:
    """Prints the ready line, `PROCESS ready on WHERE`, and tells systemd where that has started it (Type=notify).

    Args:
        process: Name of the process.
        where: Its addresses, with spaces between them.

    Raises:
        OSError: systemd's socket does not take it.
    """
    print(f"{process} ready on {where}", flush=True)  # noqa: T201 - the ready line is for whoever started it
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address:
        # A name that begins with @ stands for one without a file.
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.sendto(b"READY=1", f"\0{address[1:]}" if address.startswith("@") else address)
