"""A connection to a node's sshd whose host key is pinned. Effects: network.

A host key is never taken on trust: it stands in a known_hosts file, or somebody who was shown its fingerprint says yes.
"""

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import paramiko

from services.common.errors import FailedPreconditionError, UnavailableError
from services.common.reasons import Reason

CONNECT_TIMEOUT_S = 15.0
# A node without power says nothing; the kernel gives up on it after so long.
_SILENCE_S = 20


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


def connect(target: SshTarget, known_hosts: Sequence[Path], decide: UnknownHostKey) -> paramiko.SSHClient:
    """Opens a connection and logs in.

    Raises:
        UnavailableError: AGENT_UNREACHABLE: no connection, another host key than the pinned one, or no login.
        BrickyardError: What `decide` raised.
    """
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
            timeout=CONNECT_TIMEOUT_S,
            banner_timeout=CONNECT_TIMEOUT_S,
            auth_timeout=CONNECT_TIMEOUT_S,
        )
    except paramiko.BadHostKeyException as error:
        client.close()
        raise unreachable(
            target,
            f"its host key is not the pinned one: expected {error.expected_key.fingerprint}, got "
            f"{error.key.fingerprint}; if the node was set up anew, replace its line in the known_hosts file",
        ) from error
    except (OSError, EOFError, paramiko.SSHException) as error:
        client.close()
        raise unreachable(target, str(error) or type(error).__name__) from error
    except BaseException:
        client.close()
        raise
    transport = client.get_transport()
    assert transport is not None  # noqa: S101 - it is connected
    transport.set_keepalive(_SILENCE_S // 2)
    return client


def _socket(target: SshTarget) -> socket.socket:
    found = socket.create_connection((target.host, target.port), timeout=CONNECT_TIMEOUT_S)
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # Between the keepalives of the kernel, and for what was sent and not acknowledged.
    found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _SILENCE_S // 2)
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _SILENCE_S // 4)
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _SILENCE_S * 1000)
    return found


def unreachable(target: SshTarget, why: str) -> UnavailableError:
    """The error of a node that SSH does not reach; nothing was changed on it."""
    return UnavailableError(
        Reason.AGENT_UNREACHABLE,
        f"cannot reach {target.host} over SSH as {target.user} at port {target.port}: {why}",
        hostname=target.host,
        address=f"{target.host}:{target.port}",
    )
