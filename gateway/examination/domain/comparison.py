"""The comparison as a whole. Pure.

`compare(scene)` takes the records, what every agent sees, and what is in flight, and gives a `Report`. It reads nothing
and decides nothing but what differs; `plan` decides what repair does.
"""

from collections.abc import Iterable
from dataclasses import replace

from gateway.examination.domain.kinds import Kind, Verb
from gateway.examination.domain.model import Finding, Report, Scene
from gateway.examination.domain.mounts import check_mounts
from gateway.examination.domain.peers import check_node, check_peers
from gateway.examination.domain.storage import check_storage
from gateway.examination.domain.view import View
from gateway.examination.domain.volumes import check_volumes

_PARTLY_GHOST = "the volume exists, and its other bricks too, so nothing is mended; see what is told of the volume"


def compare(scene: Scene) -> Report:
    """Every difference, sorted by cluster, node, kind and object."""
    view = View(scene)
    findings: list[Finding] = []
    for node in view.nodes.values():
        if node.held:
            view.left_out.add(node.id)
            continue
        view.compared.add(node.id)
        findings += check_node(view, node)
        if view.answers(node.id):
            findings += check_peers(view, node)
            findings += check_storage(view, node)
            findings += check_mounts(view, node)
    for cluster_id in sorted({node.cluster_id for node in view.nodes.values()}):
        findings += check_volumes(view, cluster_id)
    found = _without_repetitions(findings)
    return Report(
        findings=tuple(sorted(found, key=lambda each: (each.cluster_id, each.node_id, each.kind, each.object))),
        operations_in_flight=scene.in_flight.count,
        left_out_count=len(view.left_out),
        compared_count=len(view.compared),
        silent_hostnames=tuple(
            sorted(node.hostname for node in view.nodes.values() if not node.held and view.seen(node.id).silence)
        ),
    )


def _without_repetitions(findings: Iterable[Finding]) -> list[Finding]:
    """A brick that its volume's finding speaks of already is not told once more; the others get their advice."""
    findings = list(findings)
    told = {
        brick_id for finding in findings if finding.repair is Verb.DROP_GHOSTS for brick_id in finding.subject.brick_ids
    }
    kept = []
    for finding in findings:
        if finding.kind is Kind.GHOST_BRICK and finding.repair is None:
            if finding.subject.brick_id in told:
                continue
            kept.append(replace(finding, advice=_PARTLY_GHOST))
        else:
            kept.append(finding)
    return kept
