"""Which nodes that are silent for long are emptied without being asked to, and what holds it back. Pure.

It is off unless a time is set. The safety valve is for the case that not the nodes are lost but the way to them: then
many are silent at once, and moving bricks would only do harm.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.topology.domain.model import NodeState
from services.topology.domain.observed import NodeView, Problem, Severity

_MINUTE_US = 60 * 1_000_000
_NEWLINE, _MOST_OF_ERROR = "\n", 500
# A node with this tag and value is left alone.
TAG, TAG_OFF = "auto-evict", "off"
# What could not be moved is tried again, and what a gateway left in the middle goes on.
TRY_AGAIN_AFTER_US = 15 * _MINUTE_US


@dataclass(frozen=True, slots=True)
class EvictionRules:
    """When a silent node is emptied.

    Attributes:
        after_us: How long it must have been silent; 0 = never, the default.
        max_down_percent: At most so many of the nodes of its cluster may be down at once, in percent, whatever their
            states (34 as in LINSTOR: one of three).
    """

    after_us: int = 0
    max_down_percent: float = 34.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A silent node that the rules are about.

    Attributes:
        node: The node.
        wait_us: How long it has to stay silent yet, or until the next attempt; 0 = its time has come.
        held: Why it is not emptied although its time has come; empty when it may be.
    """

    node: NodeView
    wait_us: int = 0
    held: str = ""

    @property
    def due(self) -> bool:
        """Whether it is to be emptied now."""
        return not (self.wait_us or self.held or self.node.operation_id)


def candidates(rules: EvictionRules, nodes: Sequence[NodeView], now_us: int, *, fresh_us: int) -> list[Candidate]:
    """The nodes that are to be emptied, now, later or not yet for a reason; of each cluster one at most is due.

    Args:
        rules: When.
        nodes: All nodes of the clusters that are asked about.
        now_us: The time.
        fresh_us: The oldest look that still counts.
    """
    if not rules.after_us:
        return []
    clusters: Mapping[str, list[NodeView]] = defaultdict(list)
    for node in nodes:
        clusters[node.cluster_id].append(node)
    return [each for members in clusters.values() for each in _of_cluster(rules, members, now_us, fresh_us)]


def _of_cluster(rules: EvictionRules, members: Sequence[NodeView], now_us: int, fresh_us: int) -> Iterator[Candidate]:
    taken = any(node.operation_id or _tried_us(node, now_us) for node in members if _is_ours(node))
    silent = [node for node in members if _may_be_ours(node) and node.unreachable_since_us is not None]
    for node in sorted(silent, key=lambda each: (each.unreachable_since_us or 0, each.id)):
        wait_us = max(0, (node.unreachable_since_us or 0) + rules.after_us - now_us, _tried_us(node, now_us))
        held = _held(rules, node, members, fresh_us)
        if not held and not wait_us and taken and not node.operation_id:
            held = "another node of its cluster is being emptied"
        found = Candidate(node, wait_us, held)
        taken = taken or found.due
        yield found


def _is_ours(node: NodeView) -> bool:
    """Whether its emptying has begun, and has not come to its end."""
    return node.eviction_us is not None and node.state != NodeState.FAILED


def _may_be_ours(node: NodeView) -> bool:
    """Whether the rules are about it: a node that somebody has set offline is left alone."""
    return node.state == NodeState.ONLINE or (node.state == NodeState.OFFLINE and node.eviction_us is not None)


def _tried_us(node: NodeView, now_us: int) -> int:
    """How long to wait until it is tried again; 0 when it was not tried, or long ago."""
    return 0 if node.eviction_us is None else max(0, node.eviction_us + TRY_AGAIN_AFTER_US - now_us)


def _held(rules: EvictionRules, node: NodeView, members: Sequence[NodeView], fresh_us: int) -> str:
    if node.opted_out:
        return f"its tag {TAG} is {TAG_OFF}"
    if (node.turn_us or 0) < fresh_us:
        return "nobody has looked at it for long"
    down = sum(_is_down(each) for each in members)
    if 100 * down > rules.max_down_percent * len(members):
        return (
            f"{down} of {len(members)} nodes of its cluster are down, which is more than {rules.max_down_percent:g} %"
        )
    if _glusterd_lives(node, members):
        return "its glusterd is connected to other nodes, only its agent is silent"
    return ""


def _is_down(node: NodeView) -> bool:
    if node.current is not None:
        return not node.current.glusterd_running
    return node.unreachable_since_us is not None


def _glusterd_lives(node: NodeView, members: Iterable[NodeView]) -> bool:
    """Whether another node's glusterd is connected to this node's.

    glusterd may know it by a name that is not in the books; then all peers being connected tells it too.
    """
    for other in members:
        if other.id == node.id or other.current is None or not other.current.peers:
            continue
        peers = other.current.peers
        known = [connected for name, connected in peers.items() if name in node.hostnames]
        if any(known) or (not known and all(peers.values())):
            return True
    return False


def reason(node: NodeView, rules: EvictionRules) -> str:
    """Why the node is emptied, for the record."""
    return (
        f"auto-evict: node {node.hostname} has not answered for {_duration(rules.after_us)} "
        f"(--auto-evict-after-minutes): {node.error.partition(_NEWLINE)[0][:_MOST_OF_ERROR]}"
    )


def problems(rules: EvictionRules, nodes: Sequence[NodeView], now_us: int, *, fresh_us: int) -> Iterator[Problem]:
    """What is worth knowing of all that."""
    for each in candidates(rules, nodes, now_us, fresh_us=fresh_us):
        if not each.node.operation_id:
            yield _waiting(each)
    for node in nodes:
        if node.eviction_us is None:
            continue
        if node.operation_id and node.state != NodeState.FAILED:
            yield _about(
                node,
                Severity.WARNING,
                "AUTO_EVICT_RUNNING",
                f"node {node.hostname} does not answer, and its bricks are being moved to other nodes",
                advice=f"see brickyard operations show {node.operation_id}",
            )
        elif node.state == NodeState.FAILED:
            yield _about(
                node,
                Severity.NOTICE,
                "AUTO_EVICT_DONE",
                f"node {node.hostname} did not answer for long; all its bricks were moved to other nodes",
                advice=f'forget it: DELETE its devices with {{"forceforget": true}}, then DELETE /nodes/{node.id}',
            )


def _waiting(candidate: Candidate) -> Problem:
    node = candidate.node
    if candidate.held:
        return _about(
            node,
            Severity.NOTICE if node.opted_out else Severity.WARNING,
            "AUTO_EVICT_HELD",
            f"node {node.hostname} does not answer and is not emptied by itself: {candidate.held}",
            advice="bring it back, or set it offline and then failed, which moves its bricks",
        )
    if node.eviction_us is not None:
        return _about(
            node,
            Severity.WARNING,
            "AUTO_EVICT_FAILED",
            f"node {node.hostname} could not be emptied; it is tried again in {_duration(candidate.wait_us)}",
            advice="see why: brickyard operations list",
        )
    return _about(
        node,
        Severity.NOTICE,
        "AUTO_EVICT_PENDING",
        f"the bricks of node {node.hostname} are moved to other nodes in {_duration(candidate.wait_us)}, unless it "
        "answers again",
        advice=f"bring it back; or give it the tag {TAG}={TAG_OFF}, which prevents this (POST /nodes/{node.id}/tags)",
    )


def _about(node: NodeView, severity: Severity, kind: str, message: str, *, advice: str) -> Problem:
    about: dict[str, Any] = {"cluster_id": node.cluster_id, "node_id": node.id}
    if kind == "AUTO_EVICT_RUNNING":
        about["operation_id"] = node.operation_id
    return Problem(
        severity=severity, kind=kind, message=message, advice=advice, since_us=node.unreachable_since_us, **about
    )


def _duration(time_us: int) -> str:
    """A time in words, e.g. "12 min" or "3 s"."""
    if time_us < _MINUTE_US:
        return f"{-(-time_us // 1_000_000)} s"
    return f"{-(-time_us // _MINUTE_US)} min"
