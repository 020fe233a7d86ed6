"""SSH to a node: one connection that is kept, and commands and files through it. Effects: network."""

import shlex
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import paramiko

from services.common.errors import UnavailableError
from services.common.logs import get_logger
from services.common.ssh_connection import (
    CONNECT_TIMEOUT_S,
    SshTarget,
    UnknownHostKey,
    connect,
    refuse_unknown,
    unreachable,
)
from services.common.ssh_shell import CHUNK_BYTES, SshResult, SshShell

_log = get_logger()
# sshd allows ten sessions on a connection (MaxSessions); one is left for ending what runs.
MOST_COMMANDS = 6
MOST_SHELLS = 3
# paramiko counts stdout and stderr as one; nobody reads the second before the first has ended.
_WINDOW_BYTES = 64 * 1024 * 1024
_KILL_AFTER_S = 5
# Beyond the node's own limit: for the answer to come back.
_ANSWER_S = 15.0
_TIMED_OUT, _CANNOT_START, _SIGNALLED = 124, (126, 127), 128
# The shell tells its number first, so that it can be ended, and passes that on. It stays, because SSH does not tell a
# command that a signal ended from a connection that broke. Only the node knows whether it has udev, so that variable
# comes from its own settings.
_WRAPPER = """
pid= ended=
trap 'ended=1; [ -z "$pid" ] || kill -TERM "$pid"' TERM
echo "$$"
exec 3<&0
env -i ${DM_DISABLE_UDEV:+DM_DISABLE_UDEV="$DM_DISABLE_UDEV"} "$@" <&3 3<&- &
pid=$!
exec 3<&-
[ -z "$ended" ] || kill -TERM "$pid"
while :; do
  wait "$pid"; code=$?
  kill -0 "$pid" 2>/dev/null || exit "$code"
done
"""


class SshLostError(Exception):
    """The connection broke in the midst of a command, whose outcome nobody knows."""


class SshSession:
    """A connection that is opened when it is needed, and again when it broke.

    Args:
        target: Where and as whom.
        known_hosts: Files with pinned host keys, read at each connecting.
        unknown: Decides on a host key that is in none of them.
    """

    def __init__(
        self, target: SshTarget, known_hosts: Sequence[Path] = (), unknown: UnknownHostKey = refuse_unknown
    ) -> None:
        self.target = target
        self._known_hosts = tuple(known_hosts)
        self._unknown = unknown
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(MOST_COMMANDS)
        self._shell_slots = threading.BoundedSemaphore(MOST_SHELLS)
        self._idle_shells: list[SshShell] = []
        self._client: paramiko.SSHClient | None = None

    def connect(self) -> paramiko.SSHClient:
        """The open connection.

        Raises:
            UnavailableError: AGENT_UNREACHABLE: no connection, another host key than the pinned one, or no login.
            BrickyardError: What `unknown` raised.
        """
        with self._lock:
            transport = self._client.get_transport() if self._client is not None else None
            if self._client is None or transport is None or not transport.is_active():
                self._forget()
                self._client = connect(self.target, self._known_hosts, self._unknown)
                _log.info("ssh.connected", host=self.target.host, port=self.target.port, user=self.target.user)
            return self._client

    def _forget(self) -> None:
        self._idle_shells.clear()
        if self._client is not None:
            self._client.close()
            self._client = None

    def close(self) -> None:
        """Closes the connection; the next command opens another one."""
        with self._lock:
            self._forget()

    def run(
        self,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str],
        stdin: bytes = b"",
        timeout_s: float,
        started: Callable[[Callable[[], None]], None] | None = None,
        as_user: bool = False,
    ) -> SshResult:
        """Runs a command to its end; the node itself ends it at its time limit, TERM first, then KILL.

        Args:
            argv: Program and arguments; quoted for the login shell, which sees nothing else of them.
            environment: Its whole environment.
            stdin: What it reads.
            timeout_s: Its limit.
            started: Gets what ends the command, from another thread.
            as_user: Leave out sudo, also when the target has it.

        Raises:
            UnavailableError: AGENT_UNREACHABLE, it was not begun.
            SshLostError: The connection broke before its end.
        """
        line = self._command_line(argv, environment, timeout_s, sudo=self.target.sudo and not as_user)
        with self._slots:
            return self._run(argv[0], line, stdin, timeout_s, started)

    def _run(
        self,
        program: str,
        line: str,
        stdin: bytes,
        timeout_s: float,
        started: Callable[[Callable[[], None]], None] | None = None,
    ) -> SshResult:
        began = time.monotonic()
        channel = self._channel()
        with channel:
            try:
                channel.settimeout(timeout_s + _KILL_AFTER_S + _ANSWER_S)
                channel.exec_command(line)
                number, stdout = _first_line(channel)
                if number.isdigit() and started is not None:
                    started(lambda: self._end(int(number)))
                channel.sendall(stdin)
                channel.shutdown_write()
                while data := channel.recv(CHUNK_BYTES):
                    stdout += data
                stderr = b""
                while data := channel.recv_stderr(CHUNK_BYTES):
                    stderr += data
                code = channel.recv_exit_status()
            except (OSError, EOFError, paramiko.SSHException) as error:
                raise SshLostError(f"the connection to {self.target.host} broke: {error or 'no answer'}") from error
        duration_s = time.monotonic() - began
        if not number.isdigit():
            # sudo's refusal, or that of the login shell.
            words = (stderr.decode(errors="replace") or number.decode(errors="replace")).strip()
            if code == -1:
                raise SshLostError(f"the connection to {self.target.host} broke")
            raise unreachable(self.target, words or f"its login shell ended with exit code {code}")
        if code == -1:
            raise SshLostError(f"the connection to {self.target.host} broke before {program} ended")
        killed = code == _SIGNALLED + 9 and duration_s >= timeout_s
        return SshResult(
            exit_code=_SIGNALLED - code if _SIGNALLED < code <= _SIGNALLED + 64 else code,
            stdout=stdout,
            stderr=stderr,
            timed_out=code == _TIMED_OUT or killed,
            missing=code in _CANNOT_START and stderr.startswith(b"timeout: failed to run command"),
            duration_s=duration_s,
        )

    def ask(
        self, script: str, arguments: Sequence[str], *, environment: Mapping[str, str], timeout_s: float
    ) -> SshResult:
        """Runs a short script in a shell that stays, which saves most of a command's processes.

        Args:
            script: Of the POSIX shell, and ours: only its positional arguments are a caller's.
            arguments: See above.
            environment: The whole environment of the shell.
            timeout_s: Longest wait for its answer.

        Raises:
            UnavailableError: AGENT_UNREACHABLE, it was not begun.
            SshLostError: The connection broke before its end, or the answer did not come in time.
        """
        with self._shell_slots:
            shell = self._take_shell(environment)
            try:
                result = shell.ask(script, arguments, timeout_s)
            except (OSError, EOFError, paramiko.SSHException) as error:
                shell.channel.close()
                raise SshLostError(f"the connection to {self.target.host} broke: {error or 'no answer'}") from error
            self._idle_shells.append(shell)
            return result

    def _take_shell(self, environment: Mapping[str, str]) -> SshShell:
        with suppress(IndexError):
            while True:
                shell = self._idle_shells.pop()
                if shell.works():
                    return shell
                shell.channel.close()
        channel = self._channel()
        words = ["sudo", "-n", "--"] if self.target.sudo else []
        channel.settimeout(CONNECT_TIMEOUT_S)
        variables = [f"{name}={value}" for name, value in environment.items()]
        shell = SshShell(channel)
        try:
            channel.exec_command(shlex.join([*words, "env", "-i", *variables, "sh"]))
            # Nothing was asked of the node before it says that it listens.
            shell.ask(":", (), CONNECT_TIMEOUT_S)
        except (OSError, EOFError, paramiko.SSHException) as error:
            channel.close()
            raise unreachable(self.target, str(error) or "its login shell does not answer") from error
        return shell

    def _channel(self) -> paramiko.Channel:
        for last in (False, True):
            client = self.connect()
            try:
                return _open_channel(client)
            except (OSError, EOFError, paramiko.SSHException) as error:
                # It may have broken while nobody used it; nothing was asked of the node yet.
                self.close()
                if last:
                    raise unreachable(self.target, str(error) or type(error).__name__) from error
        raise AssertionError

    @staticmethod
    def _command_line(argv: Sequence[str], environment: Mapping[str, str], timeout_s: float, *, sudo: bool) -> str:
        words = ["sudo", "-n", "--"] if sudo else []
        variables = [f"{name}={value}" for name, value in environment.items()]
        limit = ["timeout", "-k", str(_KILL_AFTER_S), f"{timeout_s:g}"]
        return shlex.join([*words, "sh", "-c", _WRAPPER, "sh", *variables, *limit, *argv])

    def _end(self, pid: int) -> None:
        line = self._command_line(
            ["sh", "-c", 'kill -TERM "$1"', "sh", str(pid)], {}, CONNECT_TIMEOUT_S, sudo=self.target.sudo
        )
        # Not through a slot: all of them may be taken by what is to be ended.
        with suppress(UnavailableError, SshLostError):
            self._run("sh", line, b"", CONNECT_TIMEOUT_S)

    def put(self, source: Path, target: str, *, progress: Callable[[int, int], None] | None = None) -> None:
        """Copies a file by SFTP, as the user logged in.

        Raises:
            UnavailableError: AGENT_UNREACHABLE.
            SshLostError: The connection broke, or there is no room.
        """
        client = self.connect()
        try:
            with client.open_sftp() as sftp:
                sftp.put(str(source), target, callback=progress)
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise SshLostError(f"cannot copy {source.name} to {self.target.host}:{target}: {error}") from error


def _open_channel(client: paramiko.SSHClient) -> paramiko.Channel:
    transport = client.get_transport()
    if transport is None:
        raise paramiko.SSHException("another thread closed the connection")
    return transport.open_session(window_size=_WINDOW_BYTES, timeout=CONNECT_TIMEOUT_S)


def _first_line(channel: paramiko.Channel) -> tuple[bytes, bytes]:
    """The first line of stdout, and what came with it."""
    data = b""
    while b"\n" not in data:
        more = channel.recv(CHUNK_BYTES)
        if not more:
            break
        data += more
    line, _, rest = data.partition(b"\n")
    return line, rest
