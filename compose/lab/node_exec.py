"""The exec server in a node: one thread for each command, which ends when its client goes away.

Runs inside the node with nothing but the standard library, started by `node_init`.
"""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

from compose.lab import wire

if TYPE_CHECKING:
    from typing import Any

LOG_DIRECTORY = "/var/log/lab"
BUFFER_BYTES = 1 << 18
TERM_SECONDS = 3
POLLRDHUP = 0x2000  # the client is gone, even when its last bytes are not read yet


class Session:
    """One connection of a client and the command it asked for."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.reader = wire.FrameReader()
        self.to_client = bytearray()
        self.to_stdin = bytearray()
        self.stdin_ended = False

    def serve(self) -> None:
        """Answer one request and close the connection."""
        with self.connection:
            frames: list[tuple[bytes, bytes]] = []
            while not frames:
                data = self.connection.recv(wire.CHUNK_BYTES)
                if not data:
                    return
                frames = self.reader.feed(data)
            kind, payload = frames[0]
            if kind == wire.PING:
                self.connection.sendall(wire.frame(wire.PONG))
                return
            request = json.loads(payload)
            try:
                process = start(request)
            except OSError as error:
                code = 127 if error.errno == errno.ENOENT else 126
                self._finish(wire.FAILED, json.dumps({"message": str(error), "code": code}).encode())
                return
            if request["detach"] is not None:
                self._finish(wire.DETACHED, json.dumps({"pid": process.pid}).encode())
                process.wait()  # this thread is its reaper
                return
            try:
                self._take(frames[1:])
                self._pump(process)
            finally:
                end(process)

    def _finish(self, kind: bytes, payload: bytes) -> None:
        self.connection.setblocking(True)
        self.connection.sendall(bytes(self.to_client) + wire.frame(kind, payload))

    def _take(self, frames: list[tuple[bytes, bytes]]) -> None:
        for kind, payload in frames:
            if kind == wire.STDIN:
                self.to_stdin += payload
            elif kind == wire.STDIN_END:
                self.stdin_ended = True

    def _pump(self, process: subprocess.Popen[bytes]) -> None:
        """Move bytes between client and command until the command ends or the client leaves."""
        handles = {wire.STDOUT: process.stdout, wire.STDERR: process.stderr}
        outputs = {file.fileno(): kind for kind, file in handles.items() if file is not None}
        stdin = process.stdin.fileno() if process.stdin is not None else -1
        for handle in [*outputs, stdin]:
            os.set_blocking(handle, False)
        self.connection.setblocking(False)
        client, ended = self.connection.fileno(), os.pidfd_open(process.pid)
        try:
            while True:
                if stdin >= 0 and self.stdin_ended and not self.to_stdin and process.stdin is not None:
                    process.stdin.close()
                    stdin = -1
                ready = self._poll(client, ended, stdin, outputs)
                if ready.get(client, 0) & (POLLRDHUP | select.POLLHUP | select.POLLERR):
                    return
                self._move(ready, client, stdin, outputs)
                if ended in ready and not any(handle in ready for handle in outputs):
                    # What it wrote is sent; what a child it left behind may still write is not waited for.
                    code = process.wait()
                    self._finish(wire.EXIT, wire.NUMBER.pack(code if code >= 0 else 128 - code))
                    return
        finally:
            os.close(ended)

    def _poll(self, client: int, ended: int, stdin: int, outputs: dict[int, bytes]) -> dict[int, int]:
        poll = select.poll()
        wanted = POLLRDHUP
        if len(self.to_stdin) < BUFFER_BYTES:
            wanted |= select.POLLIN
        if self.to_client:
            wanted |= select.POLLOUT
        poll.register(client, wanted)
        poll.register(ended, select.POLLIN)
        if stdin >= 0 and self.to_stdin:
            poll.register(stdin, select.POLLOUT)
        if len(self.to_client) < BUFFER_BYTES:
            for handle in outputs:
                poll.register(handle, select.POLLIN)
            return dict(poll.poll())
        # While the client is slow, the end of the command must not be mistaken for the end of its output.
        poll.unregister(ended)
        return dict(poll.poll())

    def _move(self, ready: dict[int, int], client: int, stdin: int, outputs: dict[int, bytes]) -> None:
        if ready.get(client, 0) & select.POLLOUT:
            del self.to_client[: self.connection.send(self.to_client)]
        if ready.get(client, 0) & select.POLLIN:
            self._take(self.reader.feed(self.connection.recv(wire.CHUNK_BYTES)))
        if stdin in ready:
            try:
                del self.to_stdin[: os.write(stdin, self.to_stdin[: wire.CHUNK_BYTES])]
            except BrokenPipeError:  # it closed its stdin: what is still sent to it goes nowhere, as in a shell pipe
                self.to_stdin.clear()
                self.stdin_ended = True
        for handle in [handle for handle in outputs if handle in ready]:
            data = os.read(handle, wire.CHUNK_BYTES)
            if data:
                self.to_client += wire.frame(outputs[handle], data)
            else:
                del outputs[handle]


def start(request: dict[str, Any]) -> subprocess.Popen[bytes]:
    """Start the command of a request as the leader of its own session.

    Raises:
        OSError: there is no such program or directory, or it cannot be executed.
    """
    argv, env, cwd, detach = (request[key] for key in ("argv", "env", "cwd", "detach"))
    full_env = {**os.environ, **env}
    if detach is None:
        pipe = subprocess.PIPE
        return subprocess.Popen(
            argv, stdin=pipe, stdout=pipe, stderr=pipe, env=full_env, cwd=cwd, bufsize=0, start_new_session=True
        )
    with open(f"{LOG_DIRECTORY}/{detach}.log", "ab") as log:  # noqa: PTH123 - pathlib costs 20 ms in a node
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=full_env,
            cwd=cwd,
            start_new_session=True,
        )


def end(process: subprocess.Popen[bytes]) -> None:
    """End a command whose client is gone: its group gets TERM, and KILL when it is over or after three seconds.

    A command that came to its own end has been waited for, and what it left running is left running.
    """
    if process.returncode is None:
        ended = os.pidfd_open(process.pid)
        os.killpg(process.pid, signal.SIGTERM)  # not waited for, so the number is still its own
        poll = select.poll()
        poll.register(ended, select.POLLIN)
        poll.poll(TERM_SECONDS * 1000)
        os.killpg(process.pid, signal.SIGKILL)
        os.close(ended)
        process.wait()
    for file in (process.stdin, process.stdout, process.stderr):
        if file is not None:
            file.close()


def _serve_one(connection: socket.socket) -> None:
    try:
        Session(connection).serve()
    except (OSError, ValueError, wire.FrameError) as error:
        print(f"lab-exec: a session broke: {error!r}", file=sys.stderr, flush=True)


def listen(address: str, port: int) -> socket.socket:
    """The server's listening socket."""
    server = socket.create_server((address, port), backlog=64)
    server.set_inheritable(False)
    return server


def serve_forever(server: socket.socket) -> None:
    """Accept clients until the node goes down."""
    while True:
        connection, _ = server.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_serve_one, args=(connection,), daemon=True).start()
