"""The host's end of the exec channel: runs a command in a node with its own stdin, stdout, stderr and exit code."""

from __future__ import annotations

import json
import select
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from compose.lab import wire
from compose.lab.errors import ChannelError, CommandNotStartedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

CONNECT_SECONDS = 10.0
ALIVE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Command:
    """What to run in a node.

    Attributes:
        argv: program and arguments; found on the node's PATH, no shell.
        env: added to the node's environment.
        cwd: working directory in the node.
        detach: name of a log under /var/log/lab; the command then runs on in the background.
    """

    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str = "/"
    detach: str | None = None

    def to_request(self) -> bytes:
        """The REQUEST frame."""
        return wire.frame(
            wire.REQUEST,
            json.dumps(
                {"argv": list(self.argv), "env": dict(self.env), "cwd": self.cwd, "detach": self.detach}
            ).encode(),
        )


def _send_stdin(connection: socket.socket, read: Callable[[], bytes]) -> None:
    try:
        while data := read():
            connection.sendall(wire.frame(wire.STDIN, data))
        connection.sendall(wire.frame(wire.STDIN_END))
    except OSError:
        return  # the command is over or the node is gone: the reading side tells which


def run(
    connection: socket.socket,
    command: Command,
    *,
    read_stdin: Callable[[], bytes],
    on_output: Callable[[bytes, bytes], None],
    is_alive: Callable[[], bool],
    deadline: float | None = None,
) -> int:
    """Run a command to its end; leaving early, for whatever reason, ends it in the node too.

    Args:
        connection: to the node's exec port; closed in any case.
        command: what to run.
        read_stdin: called in a thread until it returns nothing.
        on_output: called with wire.STDOUT or wire.STDERR and the bytes.
        is_alive: whether the node's kernel still runs; a killed node never closes its connections.
        deadline: on the clock of time.monotonic.

    Returns:
        The exit code; 128 plus the signal when one ended the command. For a detached one, its process number.

    Raises:
        CommandNotStartedError: there is no such program or it cannot be executed.
        ChannelError: the node died or the connection broke.
        TimeoutError: the deadline passed.
    """
    reader = wire.FrameReader()
    with connection:
        connection.settimeout(None)
        try:
            connection.sendall(command.to_request())
        except OSError as error:
            raise ChannelError(f"the exec channel broke: {error}") from error
        threading.Thread(target=_send_stdin, args=(connection, read_stdin), daemon=True).start()
        while True:
            for kind, payload in reader.feed(_receive(connection, is_alive, deadline)):
                if kind in {wire.STDOUT, wire.STDERR}:
                    on_output(kind, payload)
                elif kind == wire.EXIT:
                    return int(wire.NUMBER.unpack(payload)[0])
                elif kind == wire.DETACHED:
                    return int(json.loads(payload)["pid"])
                elif kind == wire.FAILED:
                    failed = json.loads(payload)
                    raise CommandNotStartedError(failed["message"], failed["code"])


def _receive(connection: socket.socket, is_alive: Callable[[], bool], deadline: float | None) -> bytes:
    """The next bytes of a connection, never empty.

    Raises:
        ChannelError: the node died or the connection broke.
        TimeoutError: the deadline passed.
    """
    while True:
        left = ALIVE_SECONDS if deadline is None else min(ALIVE_SECONDS, deadline - time.monotonic())
        if left <= 0:
            raise TimeoutError("the command took too long")
        if select.select([connection], [], [], left)[0]:
            try:
                data = connection.recv(wire.CHUNK_BYTES)
            except OSError as error:
                raise ChannelError(f"the exec channel broke: {error}") from error
            if not data:
                raise ChannelError("the node closed the exec channel before the command was over")
            return data
        if not is_alive():
            raise ChannelError("the node died while the command ran")


def ping(connection: socket.socket, seconds: float) -> bool:
    """Whether the node's exec server answers on the connection, which is closed."""
    with connection:
        try:
            connection.settimeout(seconds)
            connection.sendall(wire.frame(wire.PING))
            return [kind for kind, _ in wire.FrameReader().feed(connection.recv(wire.CHUNK_BYTES))] == [wire.PONG]
        except OSError:
            return False
