"""The pool that this node belongs to. Effects: through the runner."""

from dataclasses import dataclass

from services.common.errors import BrickyardError
from services.common.logs import get_logger
from services.common.reasons import Reason
from services.executor.gluster import commands as gluster
from services.executor.gluster import reports
from services.executor.runners.base import CommandFailedError
from services.executor.tools import Tools
from services.executor.volumes import gluster_error, run_read

_log = get_logger()


@dataclass(frozen=True, slots=True)
class Glusterd:
    """State of glusterd on this node; everything is empty when it does not answer."""

    running: bool
    version: str = ""
    uuid: str = ""
    peers: tuple[reports.Peer, ...] = ()


class GlusterdReader:
    """Asks glusterd; its version is asked for once while it runs."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._version = ""

    def read(self) -> Glusterd:
        """Whether glusterd answers, and its peers."""
        try:
            result = run_read(self._tools, gluster.pool_list())
        except BrickyardError as error:
            if error.reason is not Reason.GLUSTERD_NOT_RUNNING:
                raise
            # It may come back as another version.
            self._version = ""
            return Glusterd(running=False)
        uuid, peers = reports.parse_pool(result.stdout)
        if not self._version:
            self._version = reports.parse_version(run_read(self._tools, gluster.version()).stdout)
        return Glusterd(running=True, version=self._version, uuid=uuid, peers=peers)


def probe_peer(tools: Tools, hostname: str) -> None:
    """Takes a host into this node's pool, and waits until it is a full member of it.

    Raises:
        InternalError: GLUSTER_FAILED.
        FailedPreconditionError: GLUSTERD_NOT_RUNNING.
    """
    with tools.locks.gluster:
        answer = _change(tools, gluster.probe_peer(hostname))
        if answer.result != 0:
            raise gluster_error(answer.complaint, hostname=hostname)
        if "not needed" in answer.output:
            return
        for last in tools.attempts(tools.patience.peer_s):
            _own, peers = reports.parse_pool(run_read(tools, gluster.pool_list()).stdout)
            peer = next((peer for peer in peers if peer.hostname == hostname), None)
            # A host known by another name has no entry of this one; gluster said that it is in.
            if peer is None or (peer.connected and peer.state == reports.PEER_IN_CLUSTER):
                return
            if last:
                raise gluster_error(
                    f"peer {hostname} did not become a member of the pool (state {peer.state})", hostname=hostname
                )


def detach_peer(tools: Tools, hostname: str, *, force: bool = False) -> None:
    """Takes a host out of this node's pool; one that is no peer is fine.

    Without `force` gluster refuses while another peer than this one does not answer.

    Raises:
        InternalError: GLUSTER_FAILED, e.g. when it holds bricks.
        FailedPreconditionError: GLUSTERD_NOT_RUNNING.
    """
    with tools.locks.gluster:
        answer = _change(tools, gluster.detach_peer(hostname))
        if force and answer.result != 0 and not reports.says_no_peer(answer.complaint):
            _log.warning("peer.detached_by_force", hostname=hostname, complaint=answer.complaint)
            answer = _change(tools, gluster.detach_peer(hostname, force=True))
        if answer.result != 0 and not reports.says_no_peer(answer.complaint):
            raise gluster_error(answer.complaint, hostname=hostname)


def _change(tools: Tools, argv: list[str]) -> reports.Answer:
    """Runs a command on peers; repeats it while somebody else holds gluster's locks."""
    answer = reports.Answer(-1, "", "")
    for last in tools.attempts(tools.patience.gluster_lock_s):
        try:
            result = tools.runner.run(argv, timeout_s=gluster.TIMEOUT_S)
        except CommandFailedError as error:
            raise gluster_error(error.result.complaint) from error
        answer = reports.parse_answer(result.stdout)
        if answer.result == 0 or last or not reports.says_locked(answer.complaint):
            break
        _log.info("gluster.locked", complaint=answer.complaint)
    return answer
