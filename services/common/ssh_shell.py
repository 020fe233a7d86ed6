"""A shell on a node that runs one short script after the other, over one channel of a connection. Effects: network."""

import secrets
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import paramiko

CHUNK_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class SshResult:
    """What a finished command left behind.

    Attributes:
        exit_code: Its exit code; negative for a signal.
        stdout: What it wrote.
        stderr: What it complained of.
        timed_out: Whether it was ended at its time limit.
        missing: Whether the program could not be started.
        duration_s: Seconds it took, the way there and back included.
    """

    exit_code: int
    stdout: bytes
    stderr: bytes
    timed_out: bool
    missing: bool
    duration_s: float


class SshShell:
    """A shell that runs one script after the other; each answer ends with a mark that nobody can guess."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self.channel = channel

    def works(self) -> bool:
        """Whether it can be asked; a connection that broke tells so by closing it."""
        return not (self.channel.closed or self.channel.eof_received)

    def ask(self, script: str, arguments: Sequence[str], timeout_s: float) -> SshResult:
        """Runs a script; see SshSession.ask.

        Raises:
            OSError: There is no answer in time.
            EOFError: The shell ended; with its last words.
        """
        began = time.monotonic()
        mark = secrets.token_hex(16)
        self.channel.settimeout(timeout_s)
        words = shlex.join(["set", "--", *arguments])
        line = f"( {words}\n{script}\n) </dev/null; printf '%s%s\\n' {mark} \"$?\"; printf '%s' {mark} >&2\n"
        self.channel.sendall(line.encode())
        stdout, code = self._until(mark.encode(), self.channel.recv, end=b"\n")
        stderr, _ = self._until(mark.encode(), self.channel.recv_stderr, end=b"")
        return SshResult(int(code), stdout, stderr, timed_out=False, missing=False, duration_s=time.monotonic() - began)

    def _until(self, mark: bytes, receive: Callable[[int], bytes], *, end: bytes) -> tuple[bytes, bytes]:
        """What comes before the mark, and what stands between it and `end`."""
        data = b""
        while True:
            before, found, rest = data.rpartition(mark)
            if found and rest.endswith(end):
                return before, rest.removesuffix(end)
            more = receive(CHUNK_BYTES)
            if not more:
                raise EOFError(self._last_words())
            data += more

    def _last_words(self) -> str:
        """Why there is no shell, e.g. sudo's refusal."""
        data = b""
        while more := self.channel.recv_stderr(CHUNK_BYTES):
            data += more
        return data.decode(errors="replace").strip() or "the shell ended"
