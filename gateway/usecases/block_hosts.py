"""Which nodes export a block volume. Pure."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from brickyard.topology.v1 import node_pb2
from gateway.clients import storage_hostname
from services.common.errors import BrickyardError, FailedPreconditionError
from services.common.reasons import Reason

NOT_INSTALLED = "gluster-block is not installed"
# Heketi's text.
_TOO_FEW = "insufficient block hosts online"


@dataclass(frozen=True, slots=True)
class BlockHost:
    """A node of the cluster, and why it can not export a block volume now; empty when it can."""

    node: node_pb2.Node
    problem: str = ""


def choose_hosts(cluster_id: str, hosts: Sequence[BlockHost], ha_count: int, *, seed: str) -> list[str]:
    """Storage host names of the nodes that export a block volume.

    All of the cluster when `ha_count` is 0 or more than there are; otherwise so many of those that can, by chance, so
    that block volumes spread (Heketi's rules).

    Args:
        cluster_id: The cluster, for errors.
        hosts: Its nodes.
        ha_count: How many are wanted, 0 or more.
        seed: The same seed gives the same choice.

    Raises:
        FailedPreconditionError: GLUSTER_BLOCK_NOT_INSTALLED when that is what all unfit nodes lack;
            INSUFFICIENT_BLOCK_HOSTS; both tell the problem of each node.
    """
    wanted = ha_count if 0 < ha_count <= len(hosts) else len(hosts)
    able = [host.node for host in hosts if not host.problem]
    if len(able) < max(1, wanted):
        raise _too_few(cluster_id, hosts, wanted)
    if wanted == len(hosts):
        return [storage_hostname(node) for node in able]
    chosen = random.Random(seed).sample(able, wanted)  # noqa: S311 - a spread, no secret
    return [storage_hostname(node) for node in chosen]


def _too_few(cluster_id: str, hosts: Sequence[BlockHost], wanted: int) -> BrickyardError:
    unfit = [host for host in hosts if host.problem]
    reasons = {host.problem for host in unfit}
    lines = "; ".join(f"{host.node.manage_hostnames[0]}: {host.problem}" for host in unfit) or "it has no nodes"
    reason = Reason.GLUSTER_BLOCK_NOT_INSTALLED if reasons == {NOT_INSTALLED} else Reason.INSUFFICIENT_BLOCK_HOSTS
    return FailedPreconditionError(
        reason,
        f"{_TOO_FEW}: {wanted} needed, {len(hosts) - len(unfit)} of cluster {cluster_id} can export block volumes "
        f"({lines})",
        cluster_id=cluster_id,
        wanted=wanted,
        able=len(hosts) - len(unfit),
    )
