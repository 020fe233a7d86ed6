"""Serves nodes that have no agent yet, over SSH: for an old installation that moves node by node.

Each node has a journal, debts and locks of its own here, as an agent would have. A node that has an agent is refused:
two who change the same node would not know of each other. Effects: SSH, files of the state directory.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from services.common.errors import BrickyardError, FailedPreconditionError, UnavailableError
from services.common.logs import get_logger
from services.common.reasons import Reason
from services.common.ssh import SshSession
from services.common.ssh_connection import SshTarget
from services.executor.debts import Debts, in_background
from services.executor.journal import Journal
from services.executor.node import Node
from services.executor.policy import NodePolicy, check_hostname
from services.executor.runners.base import NodeLostError
from services.executor.runners.ssh import SshRunner
from services.executor.settings import NodeSettings

_log = get_logger()
AGENT_MARK = "/etc/brickyard/agent"
"""What a node has from the moment that it gets an agent: the directory with the agent's certificate."""
# So often a node that is only read is asked whether it got an agent; before each change it always is.
_LOOK_AGAIN_S = 5.0


@dataclass(frozen=True, slots=True)
class BridgeSettings:
    """How nodes are reached.

    Attributes:
        port: Port of their sshd.
        user: User to log in as.
        keyfile: Private key of that user.
        sudo: Whether that user needs sudo.
        known_hosts: Files with the host keys of the nodes; a node that stands in none is not served.
        policy: What is allowed on each node.
        agent_mark: A node that has this path has an agent.
    """

    keyfile: Path
    port: int = 22
    user: str = "heketi"
    sudo: bool = False
    known_hosts: Sequence[Path] = ()
    policy: NodePolicy = field(default_factory=NodePolicy)
    agent_mark: str = AGENT_MARK

    def target(self, host: str) -> SshTarget:
        """Where a node is."""
        return SshTarget(host=host, port=self.port, user=self.user, keyfile=self.keyfile, sudo=self.sudo)


@dataclass(slots=True)
class _Bridged:
    """A node without an agent.

    Attributes:
        node: Its verbs.
        runner: Its commands.
        session: The connection to it.
        looked_at: When it was last seen without an agent.
    """

    node: Node
    runner: SshRunner
    session: SshSession
    looked_at: float


class Bridge:
    """Nodes by the host name that they are managed under; each comes into being when it is first asked for.

    Args:
        settings: How nodes are reached.
        state_directory: Journals and debts lie in a directory for each node.
        clock: Monotonic seconds.
    """

    def __init__(
        self, settings: BridgeSettings, state_directory: Path, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._state = state_directory
        self._clock = clock
        self._lock = threading.Lock()
        self._nodes: dict[str, _Bridged] = {}
        state_directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def lookup(self, name: str) -> Node:
        """The verbs of a node.

        Raises:
            FailedPreconditionError: NODE_HAS_AGENT, or HOST_KEY_UNKNOWN: the node is not served here.
            UnavailableError: AGENT_UNREACHABLE, no connection.
        """
        check_hostname(name)
        with self._lock:
            bridged = self._nodes.get(name)
        if bridged is None:
            bridged = self._make(name)
        elif self._clock() - bridged.looked_at > _LOOK_AGAIN_S:
            self._refuse_with_agent(name, bridged.runner)
            bridged.looked_at = self._clock()
        return bridged.node

    def _make(self, name: str) -> _Bridged:
        """Connects first: nothing is kept of names that nobody pinned a key for."""
        session = SshSession(self._settings.target(name), self._settings.known_hosts)
        runner = SshRunner(session)
        try:
            self._refuse_with_agent(name, runner)
        except BaseException:
            session.close()
            raise
        with self._lock:
            if name in self._nodes:
                session.close()
                return self._nodes[name]
            directory = self._state / name
            directory.mkdir(mode=0o700, exist_ok=True)
            journal = Journal(
                directory / "journal.sqlite3", before=lambda _method: self._refuse_with_agent(name, runner)
            )
            debts = Debts(directory / "debts.json", _in_background)
            node = Node(runner, journal, NodeSettings(names=(name,), policy=self._settings.policy), debts)
            bridged = self._nodes[name] = _Bridged(node, runner, session, self._clock())
        return bridged

    def _refuse_with_agent(self, name: str, runner: SshRunner) -> None:
        try:
            has_agent = runner.exists(self._settings.agent_mark)
        except NodeLostError as error:
            raise UnavailableError(Reason.AGENT_UNREACHABLE, str(error), hostname=name) from error
        if has_agent:
            raise FailedPreconditionError(
                Reason.NODE_HAS_AGENT,
                f"node {name} has an agent ({self._settings.agent_mark} is there) and is not changed over SSH any more",
                hostname=name,
            )

    def pay_debts(self) -> None:
        """Does what was owed to nodes when the bridge ended; a node that got an agent since owes nothing here."""
        for directory in sorted(self._state.iterdir()):
            if (directory / "debts.json").exists():
                in_background(partial(self._pay, directory.name))

    def _pay(self, name: str) -> None:
        try:
            self.lookup(name).pay_debts()
        except BrickyardError as error:
            _log.warning("debts.not_paid", host=name, error=error.message)

    def close(self) -> None:
        """Ends all connections; to be called after the last RPC."""
        with self._lock:
            for bridged in self._nodes.values():
                bridged.node.journal.close()
                bridged.session.close()
            self._nodes.clear()


def _in_background(work: Callable[[], None]) -> None:
    """A payment whose connection breaks stays owed."""

    def attempt() -> None:
        try:
            work()
        except NodeLostError as error:
            _log.warning("debt.not_paid", error=str(error))

    in_background(attempt)
