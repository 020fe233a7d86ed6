"""Agents, glusterds and their peers against the records. Pure."""

from collections.abc import Iterator

from gateway.examination.domain.kinds import Kind
from gateway.examination.domain.model import BookedNode, Finding
from gateway.examination.domain.view import View


def check_node(view: View, node: BookedNode) -> Iterator[Finding]:
    """Whether a node answers."""
    seen = view.seen(node.id)
    if seen.silence:
        yield view.on(
            node,
            Kind.NODE_UNREACHABLE,
            node.hostname,
            f"the agent of node {node.hostname} does not answer: {seen.silence}",
            advice="nothing on it was compared; see on that node: systemctl status brickyard-agent",
        )
    elif not seen.peer_uuid or seen.volumes is None:
        yield view.on(
            node,
            Kind.GLUSTERD_DOWN,
            node.hostname,
            f"glusterd on {node.hostname} does not answer: {seen.glusterd_complaint or 'nobody listens'}",
            advice="see on that node: systemctl status glusterd",
        )


def check_peers(view: View, node: BookedNode) -> Iterator[Finding]:
    """Whether a node's glusterd has the other nodes of the cluster as its peers, and no others."""
    seen = view.seen(node.id)
    if not seen.peer_uuid:
        return
    peers = {peer.uuid: peer for peer in seen.peers}
    names = {peer.hostname: peer for peer in seen.peers}
    matched = set()
    for other in view.members(node.cluster_id):
        if other.id == node.id:
            continue
        uuid = view.seen(other.id).peer_uuid
        peer = peers.get(uuid) or next((names[name] for name in other.storage_hostnames if name in names), None)
        if peer is None:
            yield view.on(
                node,
                Kind.PEER_MISSING,
                other.hostname,
                f"glusterd on {node.hostname} does not have node {other.hostname} as a peer",
                advice=f"on {node.hostname}: gluster peer probe {other.storage_hostnames[0]}",
            )
            continue
        matched.add(peer.uuid)
        if not peer.connected and uuid:
            yield view.on(
                node,
                Kind.PEER_DISCONNECTED,
                other.hostname,
                f"glusterd on {node.hostname} is not connected with {other.hostname}, though both answer",
                advice="see whether they reach each other on port 24007, and /var/log/glusterfs on both",
            )
    held = {node.id for node in view.nodes.values() if node.held}
    for peer in seen.peers:
        known = view.node_of_host.get((node.cluster_id, peer.hostname))
        if peer.uuid not in matched and known not in held:
            yield view.on(
                node,
                Kind.FOREIGN_PEER,
                peer.hostname,
                f"glusterd on {node.hostname} has the peer {peer.hostname}, which is no node of the cluster",
                advice="it is never touched",
            )
