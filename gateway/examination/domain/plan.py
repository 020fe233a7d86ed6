"""From findings to actions. Pure.

Only what is safe is done: what brings back something of a living volume, and what removes something that no record and
no gluster volume has. Every action names the findings that it mends; every other finding is left, with its advice.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from gateway.examination.domain.kinds import Kind, Verb
from gateway.examination.domain.model import Finding, Report, Subject

_ORDER = {verb: index for index, verb in enumerate(Verb)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One thing to do.

    Attributes:
        verb: What.
        cluster_id: Where.
        node_id: On which node; empty when it is on none, or on any of the cluster.
        hostname: Of that node's agent.
        object: To what.
        message: As a sentence.
        findings: What it mends.
        subject: For whoever does it.
    """

    verb: Verb
    cluster_id: str
    node_id: str = ""
    hostname: str = ""
    object: str
    message: str
    findings: tuple[Finding, ...] = ()
    subject: Subject = field(default_factory=Subject)

    @property
    def key(self) -> tuple[str, str, str, str]:
        """By which the same action is known again."""
        return (self.verb, self.cluster_id, self.node_id, self.object)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What repair does, in this order, and what it leaves to a person."""

    actions: tuple[Action, ...]
    left: tuple[Finding, ...]


def plan_repair(report: Report, *, doomed_volume_ids: Collection[str] = ()) -> Plan:
    """What is safe to mend.

    Args:
        report: What a look gave.
        doomed_volume_ids: Ids of gluster volumes, unknown to the records, whose removal somebody asked for by name.
    """
    findings = [_with_consent(finding, doomed_volume_ids) for finding in report.findings]
    merged: dict[tuple[str, str, str, str], Action] = {}
    for finding in findings:
        if finding.repair is not None:
            action = _action(finding, finding.repair)
            known = merged.get(action.key)
            merged[action.key] = replace(known, findings=(*known.findings, finding)) if known is not None else action
    actions = [*merged.values(), *_restarts(findings)]
    return Plan(
        actions=tuple(sorted(actions, key=lambda each: (_ORDER[each.verb], each.key))),
        left=tuple(finding for finding in findings if finding.repair is None and not finding.kind.is_information),
    )


def _with_consent(finding: Finding, doomed: Collection[str]) -> Finding:
    wanted = finding.kind is Kind.ORPHAN_VOLUME and finding.subject.volume_id in doomed
    if not wanted or not finding.subject.volume_name:
        return finding
    return replace(
        finding, repair=Verb.REMOVE_ORPHAN_VOLUME, advice="it is removed with its data, as was asked for by its id"
    )


def _action(finding: Finding, verb: Verb) -> Action:
    what, sentence = _WORDS[verb](finding)
    anywhere = verb in {Verb.START_VOLUME, Verb.REMOVE_ORPHAN_VOLUME, Verb.DROP_GHOSTS, Verb.SET_BRICK_ORDER}
    return Action(
        verb=verb,
        cluster_id=finding.cluster_id,
        node_id="" if anywhere else finding.node_id,
        hostname="" if anywhere else finding.hostname,
        object=what,
        message=sentence,
        findings=(finding,),
        subject=finding.subject,
    )


def _restore(finding: Finding) -> tuple[str, str]:
    brick = finding.subject.brick_id
    return brick, f"see to it that brick {brick} on {finding.hostname} is mounted, and in the agent's fstab file"


def _start(finding: Finding) -> tuple[str, str]:
    return finding.subject.volume_id, f"start volume {finding.subject.volume_name}"


def _remove_volume(finding: Finding) -> tuple[str, str]:
    name = finding.subject.volume_name
    return name, f"remove gluster volume {name} ({finding.subject.volume_id}), which is in no record"


def _remove_copies(finding: Finding) -> tuple[str, str]:
    pool = f"vg_{finding.subject.device_id}/{finding.subject.pool_name}"
    return pool, f"remove what gluster made in thin pool {pool} on {finding.hostname} and does not use"


def _remove_brick(finding: Finding) -> tuple[str, str]:
    what = f"vg_{finding.subject.device_id}/brick_{finding.subject.brick_id}"
    return what, (
        f"remove what is left of {what} on {finding.hostname}: mount, fstab entry, LV, and its thin pool if nothing "
        "else uses it"
    )


def _drop(finding: Finding) -> tuple[str, str]:
    subject = finding.subject
    return subject.volume_id, (
        f"take {len(subject.brick_ids)} bricks of volume {subject.volume_name} out of the records"
        + (", and the volume" if finding.kind is Kind.GHOST_VOLUME else "")
    )


def _resync(finding: Finding) -> tuple[str, str]:
    return finding.subject.device_id, f"measure device {finding.subject.device_id} on {finding.hostname} again"


def _order(finding: Finding) -> tuple[str, str]:
    return finding.subject.volume_id, f"record gluster's order of the bricks of volume {finding.subject.volume_name}"


_WORDS = {
    Verb.SET_BRICK_ORDER: _order,
    Verb.RESTORE_BRICK: _restore,
    Verb.START_VOLUME: _start,
    Verb.REMOVE_ORPHAN_VOLUME: _remove_volume,
    Verb.REMOVE_ORPHAN_COPIES: _remove_copies,
    Verb.REMOVE_ORPHAN_BRICK: _remove_brick,
    Verb.DROP_GHOSTS: _drop,
    Verb.RESYNC_DEVICE: _resync,
}


def _restarts(findings: Sequence[Finding]) -> list[Action]:
    """For volumes that get a mount back and are not started anyway: the brick process without a mount has ended.

    Only where every brick is mounted then: gluster would take an empty mount point for a brick.
    """
    missing = {Kind.MISSING_MOUNT, Kind.LV_INACTIVE, Kind.MOUNT_DIFFERS, Kind.BRICK_LOST}
    unmounted = [finding for finding in findings if finding.kind in missing]
    blocked = {finding.subject.volume_id for finding in unmounted if finding.repair is None}
    blocked |= {
        finding.subject.volume_id
        for finding in findings
        if finding.kind in {Kind.VOLUME_STOPPED, Kind.VOLUME_MISSING, Kind.VOLUME_ID_DIFFERS, Kind.GHOST_BRICK}
    }
    volumes = {finding.subject.volume_id: finding for finding in unmounted if finding.subject.volume_id not in blocked}
    return [
        Action(
            verb=Verb.RESTART_BRICKS,
            cluster_id=finding.cluster_id,
            object=volume_id,
            message=f"start the brick processes that volume {volume_id} lacks",
            findings=tuple(each for each in unmounted if each.subject.volume_id == volume_id),
            subject=Subject(volume_id=volume_id),
        )
        for volume_id, finding in sorted(volumes.items())
    ]
