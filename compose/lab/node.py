"""One node of a lab: its commands, its console, and whether it answers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from compose.lab import channel, kernel, network, processes, settings, wire
from compose.lab.errors import ChannelError, LabError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from compose.lab.settings import LabConfig, NodeState

_LOG_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Node:
    """A node of a lab that is up.

    Attributes:
        config: of the lab.
        state: of the node when this object was made.
    """

    def __init__(self, lab: LabConfig, state: NodeState) -> None:
        self.config = lab
        self.state = state

    @property
    def name(self) -> str:
        """node1, ..."""
        return self.state.name

    @property
    def address(self) -> str:
        """Address on the data network."""
        return self.state.address

    @property
    def devices(self) -> list[str]:
        """Names of the data disks in the node: /dev/ubdb, ..."""
        return [settings.device_name(position) for position in range(len(self.state.disk_order))]

    @property
    def log_directory(self) -> Path:
        """On the host, what the node has as /var/log/lab; glusterd's logs are in glusterfs/ below it."""
        return kernel.log_directory(self.config, self.state.index)

    def console(self) -> str:
        """What its kernel and init printed since power-on."""
        return kernel.read_console(self.config, self.state.index)

    def is_alive(self) -> bool:
        """Whether its kernel runs."""
        return processes.is_alive(self.state.process)

    def pings(self) -> bool:
        """Whether its exec server answers."""
        try:
            connection = network.connect(self.config.name, self.state.control_address, settings.EXEC_PORT, 1.0)
        except OSError:
            return False
        return channel.ping(connection, 1.0)

    def is_ready(self) -> bool:
        """Whether a booting node is up: its exec channel answers, and so does glusterd unless the node is cut off.

        Raises:
            LabError: it will never be; `CannotRunHereError` when that is this machine's fault.
        """
        console = self.console()
        failed = kernel.failure(self.name, console, alive=self.is_alive())
        if failed is not None:
            raise failed
        # Asking a network interface that is not there yet would delay the answer by a second.
        if kernel.CHANNEL_OPEN not in console or kernel.GLUSTERD_STARTED not in console or not self.pings():
            return False
        return self.state.partitioned or network.answers(self.config.name, self.address, settings.GLUSTERD_PORT)

    def _execute(
        self,
        command: channel.Command,
        read_stdin: Callable[[], bytes],
        on_output: Callable[[bytes, bytes], None],
        seconds: float | None,
    ) -> int:
        if not self.is_alive():
            raise ChannelError(f"{self.name} is down")
        deadline = None if seconds is None else time.monotonic() + seconds
        try:
            connection = network.connect(
                self.config.name, self.state.control_address, settings.EXEC_PORT, channel.CONNECT_SECONDS
            )
        except OSError as error:
            raise ChannelError(f"{self.name} does not answer on its exec channel: {error}") from error
        try:
            return channel.run(
                connection,
                command,
                read_stdin=read_stdin,
                on_output=on_output,
                is_alive=self.is_alive,
                deadline=deadline,
            )
        except ChannelError as error:
            error.args = (f"{self.name}: {error}",)
            raise

    def run_bytes(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        seconds: float | None = 60.0,
        check: bool = False,
        env: Mapping[str, str] | None = None,
        cwd: str = "/",
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command in the node to its end.

        Args:
            argv: program and arguments, no shell.
            stdin: what it reads.
            seconds: time limit; None for none.
            check: refuse an exit code other than 0.
            env: added to the node's environment.
            cwd: working directory.

        Raises:
            ChannelError: the node is down, died, or could not start the command.
            LabError: it failed and `check` is set; the text has its output.
            subprocess.TimeoutExpired: the time is over; the command is ended in the node.
        """
        unread = [stdin[start : start + wire.CHUNK_BYTES] for start in range(0, len(stdin), wire.CHUNK_BYTES)]
        chunks = iter(unread)
        output = {wire.STDOUT: bytearray(), wire.STDERR: bytearray()}
        command = channel.Command(argv=argv, env=env or {}, cwd=cwd)
        try:
            code = self._execute(
                command, lambda: next(chunks, b""), lambda kind, data: output[kind].extend(data), seconds
            )
        except TimeoutError as error:
            raise subprocess.TimeoutExpired(
                list(argv), seconds or 0.0, bytes(output[wire.STDOUT]), bytes(output[wire.STDERR])
            ) from error
        done = subprocess.CompletedProcess(list(argv), code, bytes(output[wire.STDOUT]), bytes(output[wire.STDERR]))
        if check and code != 0:
            said = (done.stderr or done.stdout).decode(errors="replace").strip()
            raise LabError(f"{self.name}: {' '.join(argv)} failed with {code}: {said}")
        return done

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: str = "",
        seconds: float | None = 60.0,
        check: bool = False,
        env: Mapping[str, str] | None = None,
        cwd: str = "/",
    ) -> subprocess.CompletedProcess[str]:
        """`run_bytes` with text in UTF-8."""
        done = self.run_bytes(argv, stdin=stdin.encode(), seconds=seconds, check=check, env=env, cwd=cwd)
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        )

    def start(
        self, argv: Sequence[str], *, log: str = "detached", env: Mapping[str, str] | None = None, cwd: str = "/"
    ) -> int:
        """Start a command that runs on in the background; returns its process number in the node.

        Args:
            argv: program and arguments, no shell.
            log: its output is appended to /var/log/lab/LOG.log in the node, LOG.log in `log_directory` on the host.
            env: added to the node's environment.
            cwd: working directory.

        Raises:
            ChannelError: the node is down, or could not start the command.
            LabError: the log's name is not a plain file name.
        """
        if not _LOG_NAME.fullmatch(log):
            raise LabError(f"--log {log!r}: use letters, digits, dots, dashes and underscores")
        command = channel.Command(argv=argv, env=env or {}, cwd=cwd, detach=log)
        return self._execute(command, lambda: b"", lambda _kind, _data: None, channel.CONNECT_SECONDS)

    def attach(self, argv: Sequence[str], *, stdin: int | None, env: Mapping[str, str], cwd: str = "/") -> int:
        """Run a command with the caller's own output streams; returns its exit code.

        Args:
            argv: program and arguments, no shell.
            stdin: file descriptor that it reads; None for nothing.
            env: added to the node's environment.
            cwd: working directory.

        Raises:
            ChannelError: the node is down, died, or could not start the command.
        """
        streams = {wire.STDOUT: sys.stdout.buffer, wire.STDERR: sys.stderr.buffer}

        def show(kind: bytes, data: bytes) -> None:
            streams[kind].write(data)
            streams[kind].flush()

        def read() -> bytes:
            # Not through sys.stdin: its lock, held by a thread that still reads, breaks the end of the program.
            return b"" if stdin is None else os.read(stdin, wire.CHUNK_BYTES)

        return self._execute(channel.Command(argv=argv, env=env, cwd=cwd), read, show, None)
