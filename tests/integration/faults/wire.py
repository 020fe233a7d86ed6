"""Simulated nodes outside of their agent: an agent process that is killed takes no node with it.

The nodes live in the worker that runs the cells; agents, topology and allocator reach it by a Unix socket. A command
that runs when its agent is killed runs on to its end, as the child process of a killed agent does.
"""

import pickle
import socket
import socketserver
import struct
import threading
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from services.executor.runners.base import BlockDevice, CommandFailedError, CommandResult, Mount

_LENGTH = struct.Struct("!I")


def send(connection: socket.socket, value: object) -> None:
    """Sends one value."""
    data = pickle.dumps(value)
    connection.sendall(_LENGTH.pack(len(data)) + data)


def receive(connection: socket.socket) -> Any:
    """The next value. Raises EOFError when the other side is gone."""
    return pickle.loads(_exactly(connection, _LENGTH.unpack(_exactly(connection, _LENGTH.size))[0]))


def _exactly(connection: socket.socket, count: int) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        part = connection.recv(count - len(parts))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)


class Switchboard:
    """Serves calls by name on a Unix socket; each connection has a thread.

    Args:
        path: Of the socket.
        call: Gets a method's name and arguments; what it raises is raised at the caller.
    """

    def __init__(self, path: Path, call: Callable[..., Any]) -> None:
        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                try:
                    while True:
                        self._answer(*receive(self.request))
                except (EOFError, OSError):
                    return  # the caller was killed: what it asked for is done, and nobody learns of it

            def _answer(self, method: str, positional: tuple[Any, ...], named: dict[str, Any]) -> None:
                try:
                    answer: tuple[bool, Any] = True, call(method, *positional, **named)
                except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to the caller
                    answer = False, error
                send(self.request, answer)

        class Server(socketserver.ThreadingUnixStreamServer):
            daemon_threads = True
            request_queue_size = 128

        path.unlink(missing_ok=True)
        self._server = Server(str(path), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """Takes no more connections."""
        self._server.shutdown()
        self._server.server_close()


class Caller:
    """Calls a switchboard; each thread has its own connection."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._own = threading.local()

    def __call__(self, method: str, *positional: Any, **named: Any) -> Any:
        connection = getattr(self._own, "connection", None)
        if connection is None:
            connection = self._own.connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.connect(str(self._path))
        send(connection, (method, positional, named))
        done, answer = receive(connection)
        if done:
            return answer
        raise answer


class RemoteRunner:
    """The Runner of a node that lives in another process."""

    def __init__(self, caller: Caller, node: str) -> None:
        self._caller = caller
        self._node = node

    def _ask(self, method: str, *positional: Any, **named: Any) -> Any:
        return self._caller("node", self._node, method, *positional, **named)

    def run(
        self,
        argv: Sequence[str],
        *,
        input: str | None = None,  # noqa: A002 - see Runner.run
        timeout_s: float,
        allowed_exit_codes: Collection[int] | None = (0,),
    ) -> CommandResult:
        found: CommandResult = self._ask("run", argv, input=input, timeout_s=timeout_s, allowed_exit_codes=None)
        if allowed_exit_codes is not None and found.exit_code not in allowed_exit_codes:
            raise CommandFailedError(found)
        return found

    def hostname(self) -> str:
        return str(self._ask("hostname"))

    def exists(self, path: str) -> bool:
        return bool(self._ask("exists", path))

    def glusterd_listens(self) -> bool:
        return bool(self._ask("glusterd_listens"))

    def resolve(self, path: str) -> str:
        return str(self._ask("resolve", path))

    def is_block_device(self, path: str) -> bool:
        return bool(self._ask("is_block_device", path))

    def block_devices(self) -> tuple[BlockDevice, ...]:
        found: tuple[BlockDevice, ...] = self._ask("block_devices")
        return found

    def device_links(self, path: str) -> tuple[str, ...]:
        found: tuple[str, ...] = self._ask("device_links", path)
        return found

    def read_text(self, path: str) -> str | None:
        found: str | None = self._ask("read_text", path)
        return found

    def write_text_atomically(self, path: str, text: str) -> None:
        self._ask("write_text_atomically", path, text)

    def make_directory(self, path: str) -> None:
        self._ask("make_directory", path)

    def remove_directory(self, path: str) -> None:
        self._ask("remove_directory", path)

    def set_group(self, path: str, gid: int) -> None:
        self._ask("set_group", path, gid)

    def set_mode(self, path: str, mode: int) -> None:
        self._ask("set_mode", path, mode)

    def mounts(self) -> tuple[Mount, ...]:
        found: tuple[Mount, ...] = self._ask("mounts")
        return found

    def mount(self, entry: Mount) -> None:
        self._ask("mount", entry)

    def unmount(self, mount_point: str) -> None:
        self._ask("unmount", mount_point)

    def __getattr__(self, method: str) -> Callable[..., Any]:
        """Further methods that the Runner may get: they are passed on as they are."""
        if method.startswith("_"):
            raise AttributeError(method)
        return lambda *positional, **named: self._ask(method, *positional, **named)
