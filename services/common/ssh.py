"""SSH to a node: one connection with a pinned host key, and commands and files through it. Effects: network.

A host key is never taken on trust: it stands in a known_hosts file, or somebody who was shown its fingerprint says yes.
"""

import secrets
import shlex
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import paramiko

from services.common.errors import FailedPreconditionError, UnavailableError
from services.common.logs import get_logger
from services.common.reasons import Reason

_log = get_logger()
_CONNECT_TIMEOUT_S = 15.0
# sshd allows ten sessions on a connection (MaxSessions); one is left for ending what runs.
MOST_COMMANDS = 6
MOST_SHELLS = 3
# paramiko counts stdout and stderr as one; nobody reads the second before the first has ended.
_WINDOW_BYTES = 64 * 1024 * 1024
_CHUNK_BYTES = 1 << 16
_KILL_AFTER_S = 5
# Beyond the node's own limit: for the answer to come back.
_ANSWER_S = 15.0
# A node without power says nothing; the kernel gives up on it after so long.
_SILENCE_S = 20
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


@dataclass(frozen=True, slots=True)
class SshTarget:
    """Where and as whom.

    Attributes:
        host: Host name or address.
        port: Port of its sshd.
        user: User to log in as.
        keyfile: Private key; None tries the keys of the user's ssh-agent.
        sudo: Whether commands need sudo, which must not ask for a password.
    """

    host: str
    port: int = 22
    user: str = "root"
    keyfile: Path | None = None
    sudo: bool = False

    @property
    def known_hosts_name(self) -> str:
        """How known_hosts files name it."""
        return self.host if self.port == paramiko.config.SSH_PORT else f"[{self.host}]:{self.port}"


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


class SshLostError(Exception):
    """The connection broke in the midst of a command, whose outcome nobody knows."""


UnknownHostKey = Callable[[str, str], None]
"""Called with host and fingerprint of a key that stands in no file; raises unless it is the right one."""


def refuse_unknown(host: str, fingerprint: str) -> None:
    """Refuses every key that is not pinned.

    Raises:
        FailedPreconditionError: HOST_KEY_UNKNOWN, always.
    """
    raise FailedPreconditionError(
        Reason.HOST_KEY_UNKNOWN,
        f"the host key of {host} is not known (it shows {fingerprint}); compare it on the node with: ssh-keygen -lf "
        "/etc/ssh/ssh_host_ed25519_key.pub, then pin it with ssh-keyscan in the known_hosts file",
        host=host,
        fingerprint=fingerprint,
    )


class _Policy(paramiko.MissingHostKeyPolicy):
    """Asks whoever opened the connection."""

    def __init__(self, decide: UnknownHostKey) -> None:
        self._decide = decide

    def missing_host_key(self, _client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        """See paramiko."""
        self._decide(hostname, key.fingerprint)


def _connect(target: SshTarget, known_hosts: Sequence[Path], decide: UnknownHostKey) -> paramiko.SSHClient:
    client = paramiko.SSHClient()
    try:
        for path in known_hosts:
            client.load_system_host_keys(str(path))
        client.set_missing_host_key_policy(_Policy(decide))
        client.connect(
            target.host,
            port=target.port,
            username=target.user,
            key_filename=str(target.keyfile) if target.keyfile is not None else None,
            allow_agent=target.keyfile is None,
            look_for_keys=False,
            sock=_socket(target),
            timeout=_CONNECT_TIMEOUT_S,
            banner_timeout=_CONNECT_TIMEOUT_S,
            auth_timeout=_CONNECT_TIMEOUT_S,
        )
    except paramiko.BadHostKeyException as error:
        client.close()
        raise _unreachable(
            target,
            f"its host key is not the pinned one: expected {error.expected_key.fingerprint}, got "
            f"{error.key.fingerprint}; if the node was set up anew, replace its line in the known_hosts file",
        ) from error
    except (OSError, EOFError, paramiko.SSHException) as error:
        client.close()
        raise _unreachable(target, str(error) or type(error).__name__) from error
    except BaseException:
        client.close()
        raise
    transport = client.get_transport()
    assert transport is not None  # noqa: S101 - it is connected
    transport.set_keepalive(_SILENCE_S // 2)
    return client


def _socket(target: SshTarget) -> socket.socket:
    found = socket.create_connection((target.host, target.port), timeout=_CONNECT_TIMEOUT_S)
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # Between the keepalives of the kernel, and for what was sent and not acknowledged.
    found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _SILENCE_S // 2)
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _SILENCE_S // 4)
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _SILENCE_S * 1000)
    return found


def _unreachable(target: SshTarget, why: str) -> UnavailableError:
    return UnavailableError(
        Reason.AGENT_UNREACHABLE,
        f"cannot reach {target.host} over SSH as {target.user} at port {target.port}: {why}",
        hostname=target.host,
        address=f"{target.host}:{target.port}",
    )


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
        self._idle_shells: list[_Shell] = []
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
                self._client = _connect(self.target, self._known_hosts, self._unknown)
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
                while data := channel.recv(_CHUNK_BYTES):
                    stdout += data
                stderr = b""
                while data := channel.recv_stderr(_CHUNK_BYTES):
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
            raise _unreachable(self.target, words or f"its login shell ended with exit code {code}")
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

    def _take_shell(self, environment: Mapping[str, str]) -> "_Shell":
        with suppress(IndexError):
            while True:
                shell = self._idle_shells.pop()
                if shell.works():
                    return shell
                shell.channel.close()
        channel = self._channel()
        words = ["sudo", "-n", "--"] if self.target.sudo else []
        channel.settimeout(_CONNECT_TIMEOUT_S)
        variables = [f"{name}={value}" for name, value in environment.items()]
        shell = _Shell(channel)
        try:
            channel.exec_command(shlex.join([*words, "env", "-i", *variables, "sh"]))
            # Nothing was asked of the node before it says that it listens.
            shell.ask(":", (), _CONNECT_TIMEOUT_S)
        except (OSError, EOFError, paramiko.SSHException) as error:
            channel.close()
            raise _unreachable(self.target, str(error) or "its login shell does not answer") from error
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
                    raise _unreachable(self.target, str(error) or type(error).__name__) from error
        raise AssertionError

    @staticmethod
    def _command_line(argv: Sequence[str], environment: Mapping[str, str], timeout_s: float, *, sudo: bool) -> str:
        words = ["sudo", "-n", "--"] if sudo else []
        variables = [f"{name}={value}" for name, value in environment.items()]
        limit = ["timeout", "-k", str(_KILL_AFTER_S), f"{timeout_s:g}"]
        return shlex.join([*words, "sh", "-c", _WRAPPER, "sh", *variables, *limit, *argv])

    def _end(self, pid: int) -> None:
        line = self._command_line(
            ["sh", "-c", 'kill -TERM "$1"', "sh", str(pid)], {}, _CONNECT_TIMEOUT_S, sudo=self.target.sudo
        )
        # Not through a slot: all of them may be taken by what is to be ended.
        with suppress(UnavailableError, SshLostError):
            self._run("sh", line, b"", _CONNECT_TIMEOUT_S)

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


class _Shell:
    """A shell that runs one script after the other; each answer ends with a mark that nobody can guess."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self.channel = channel

    def works(self) -> bool:
        """Whether it can be asked; a connection that broke tells so by closing it."""
        return not (self.channel.closed or self.channel.eof_received)

    def ask(self, script: str, arguments: Sequence[str], timeout_s: float) -> SshResult:
        """See SshSession.ask."""
        began = time.monotonic()
        mark = secrets.token_hex(16)
        self.channel.settimeout(timeout_s)
        words = shlex.join(["set", "--", *arguments])
        line = f"( {words}\n{script}\n) </dev/null; printf '%s%s\\n' {mark} \"$?\"; printf '%s' {mark} >&2\n"
        self.channel.sendall(line.encode())
        stdout, code = self._until(mark.encode(), self.channel.recv, end=b"\n")
        stderr, _ = self._until(mark.encode(), self.channel.recv_stderr, end=b"")
        return SshResult(int(code), stdout, stderr, timed_out=False, missing=False, duration_s=time.monotonic() - began)

    @staticmethod
    def _until(mark: bytes, receive: Callable[[int], bytes], *, end: bytes) -> tuple[bytes, bytes]:
        """What comes before the mark, and what stands between it and `end`."""
        data = b""
        while True:
            before, found, rest = data.rpartition(mark)
            if found and rest.endswith(end):
                return before, rest.removesuffix(end)
            more = receive(_CHUNK_BYTES)
            if not more:
                words = data.decode(errors="replace").strip()
                raise EOFError(words or "the shell ended")
            data += more


def _open_channel(client: paramiko.SSHClient) -> paramiko.Channel:
    transport = client.get_transport()
    if transport is None:
        raise paramiko.SSHException("another thread closed the connection")
    return transport.open_session(window_size=_WINDOW_BYTES, timeout=_CONNECT_TIMEOUT_S)


def _first_line(channel: paramiko.Channel) -> tuple[bytes, bytes]:
    """The first line of stdout, and what came with it."""
    data = b""
    while b"\n" not in data:
        more = channel.recv(_CHUNK_BYTES)
        if not more:
            break
        data += more
    line, _, rest = data.partition(b"\n")
    return line, rest
