"""The state of everything as Heketi's examination shows it: its database, and what each node says. Pure.

The keys are the field names of Heketi's structures. What LVM and gluster print beyond what the agents report is empty.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from brickyard.executor.v1 import executor_service_pb2, facts_pb2
from brickyard.topology.v1 import records_pb2, volume_pb2
from gateway.heketi.dump.exporting import exported
from gateway.heketi.dump.rendering import dump_object
from gateway.heketi.pending import counts
from gateway.usecases.state import NodeWords, StateLook
from services.common.errors import BrickyardError

_STARTED, _STOPPED, _NEVER_STARTED = (1, "Started"), (2, "Stopped"), (0, "Created")
# Gluster's numbers and names of the types of a volume with one brick set; five more with several.
_TYPES = {
    volume_pb2.DURABILITY_TYPE_NONE: (0, "Distribute"),
    volume_pb2.DURABILITY_TYPE_REPLICATE: (2, "Replicate"),
    volume_pb2.DURABILITY_TYPE_DISPERSE: (4, "Disperse"),
}
_DISTRIBUTED = 5
_DEFAULT_REPLICA = 2


def examination(look: StateLook, now_s: float) -> dict[str, Any]:
    """The object that `GET /internal/state/examine/gluster` answers."""
    dump, _ = exported(look.records, now_s)
    in_flight = counts(list(look.records.operations), now_s)["in_flight"]
    by_cluster: dict[str, list[NodeWords]] = defaultdict(list)
    for words in look.nodes:
        by_cluster[words.node.cluster_id].append(words)
    names: dict[str, set[str]] = defaultdict(set)
    for recorded in look.records.volumes:
        names[recorded.volume.cluster_id].add(recorded.volume.name)
    return {
        "heketidb": dump_object(dump),
        "report": [
            f"OnDemand Examiner invoked while {in_flight} ops are in flight",
            *(
                line
                for cluster in look.records.clusters
                for line in _report(cluster.id, by_cluster[cluster.id], names[cluster.id])
            ),
        ],
        "clusters": [
            {
                "ClusterHeketiID": cluster.id,
                "NodesData": [_node(words, look.records) for words in by_cluster[cluster.id]] or None,
            }
            for cluster in look.records.clusters
        ]
        or None,
    }


def _report(cluster_id: str, nodes: Iterable[NodeWords], names: set[str]) -> Iterator[str]:
    told = list(nodes)
    for words in told:
        yield from _failures(words)
    if all(isinstance(words.volumes, BrickyardError) for words in told):
        yield f"not able to fetch any data from cluster {cluster_id}"
    alike = True
    for words in told:
        node_id = words.node.id
        if isinstance(words.volumes, BrickyardError):
            alike = False
            yield f"heketi volume list could not be compared with volume list of node {node_id} due to missing info"
        elif {volume.name for volume in words.volumes.volumes} != names:
            alike = False
            yield f"heketi volume list does not match with volume list of node {node_id}"
    # Of a cluster without nodes too (Heketi's rule).
    if alike:
        yield "heketi volume list matches with volume list of all nodes"


def _failures(words: NodeWords) -> Iterator[str]:
    host = words.node.manage_hostnames[0]
    if isinstance(words.volumes, BrickyardError):
        yield f"could not fetch data from node {host}"
    if isinstance(words.facts, BrickyardError):
        why = words.facts.message
        yield from (f"could not fetch LVM {kind} data from node {host} : {why}" for kind in ("pvs", "vgs", "lvs"))
        yield f"could not fetch brick mount status from node {host} : {why}"
    for volume_id, answer in words.block_volumes.items():
        if isinstance(answer, BrickyardError):
            yield f"could not fetch block volume list for block hosting volume {volume_id} : {answer.message}"


def _node(words: NodeWords, records: records_pb2.Records) -> dict[str, Any]:
    hosting = {each.volume.id: each.volume.name for each in records.volumes}
    blocks = [
        f"{hosting[volume_id]}/{name}"
        for volume_id, answer in words.block_volumes.items()
        if not isinstance(answer, BrickyardError)
        for name in answer
    ]
    return {
        "NodeHeketiID": words.node.id,
        "VolumeInfo": _volumes(words.volumes, records),
        **_facts(None if isinstance(words.facts, BrickyardError) else words.facts),
        "BlockVolumeNames": blocks or None,
    }


def _facts(facts: facts_pb2.NodeFacts | None) -> dict[str, Any]:
    """What LVM and the mounts say; null for each when the node did not tell."""
    if facts is None:
        return dict.fromkeys(("LVMPVInfo", "LVMVGInfo", "LVMLVInfo", "BricksMountStatus"))
    return {
        "LVMPVInfo": _lvm("pv", (_pv(group) for group in facts.volume_groups if group.pv_path)),
        "LVMVGInfo": _lvm("vg", (_vg(group) for group in facts.volume_groups)),
        "LVMLVInfo": _lvm("lv", (_lv(volume) for volume in facts.logical_volumes)),
        "BricksMountStatus": {"Statuses": _mounts(facts) or None},
    }


def _xml_name() -> dict[str, str]:
    return {"Space": "", "Local": ""}


def _volumes(
    answer: executor_service_pb2.ListVolumesResponse | BrickyardError, records: records_pb2.Records
) -> dict[str, Any] | None:
    if isinstance(answer, BrickyardError):
        return None
    known = {(each.volume.cluster_id, each.volume.name): each.volume for each in records.volumes}
    durabilities = {name: volume.durability for (_, name), volume in known.items()}
    arbiters = {each.brick.volume_id for each in records.bricks if each.brick.role == volume_pb2.BRICK_ROLE_ARBITER}
    with_arbiter = {volume.name for volume in known.values() if volume.id in arbiters}
    listed = [
        _volume(volume, durabilities.get(volume.name), arbiter=volume.name in with_arbiter) for volume in answer.volumes
    ]
    return {
        "XMLName": _xml_name(),
        "Volumes": {"XMLName": _xml_name(), "Count": len(listed), "VolumeList": listed or None},
    }


def _volume(
    volume: facts_pb2.GlusterVolumeFacts, durability: volume_pb2.Durability | None, *, arbiter: bool
) -> dict[str, Any]:
    status, words = _STARTED if volume.started else _NEVER_STARTED if volume.never_started else _STOPPED
    replica, disperse, redundancy, kind = 1, 0, 0, volume_pb2.DURABILITY_TYPE_NONE
    if durability is not None:
        kind = durability.type
    if durability is not None and kind == volume_pb2.DURABILITY_TYPE_REPLICATE:
        replica = durability.replica_count or _DEFAULT_REPLICA
    if durability is not None and kind == volume_pb2.DURABILITY_TYPE_DISPERSE:
        redundancy = durability.redundancy_count
        disperse = durability.data_count + redundancy
    set_size = disperse or replica
    number, name = _TYPES[kind]
    if number and len(volume.bricks) > set_size:
        number, name = number + _DISTRIBUTED, f"Distributed-{name}"
    return {
        "XMLName": _xml_name(),
        "VolumeName": volume.name,
        "ID": volume.uuid,
        "Status": status,
        "StatusStr": words,
        "BrickCount": len(volume.bricks),
        # Gluster's word for the bricks of a set.
        "DistCount": set_size,
        "StripeCount": 1,
        "ReplicaCount": replica,
        "ArbiterCount": int(arbiter),
        "DisperseCount": disperse,
        "RedundancyCount": redundancy,
        "Type": number,
        "TypeStr": name,
        "Transport": 0,
        "Bricks": {
            "XMLName": _xml_name(),
            "BrickList": [
                {
                    "UUID": "",
                    "Name": brick,
                    "HostUUID": "",
                    "IsArbiter": int(arbiter and index % set_size == set_size - 1),
                }
                for index, brick in enumerate(volume.bricks)
            ]
            or None,
        },
        "OptCount": len(volume.options),
        "Options": {
            "XMLName": _xml_name(),
            "OptionList": [{"Name": key, "Value": value} for key, value in sorted(volume.options.items())] or None,
        },
    }


def _lvm(kind: str, entries: Iterable[Mapping[str, str]]) -> dict[str, Any]:
    """The report of one of LVM's listings; LVM names the kind also when there is nothing of it."""
    return {"report": [{kind: list(entries)}]}


def _bytes(size: int) -> str:
    """A size as LVM prints it with --units b."""
    return f"{size}B"


def _percent(fill: float, *, told: bool) -> str:
    return f"{fill:.2f}" if told else ""


def _pv(group: facts_pb2.VolumeGroupFacts) -> dict[str, str]:
    return {
        "pv_name": group.pv_path,
        "vg_name": group.name,
        "pv_fmt": "lvm2",
        "pv_attr": "",
        "pv_size": _bytes(group.total_bytes),
        "pv_free": _bytes(group.free_bytes),
        "pv_uuid": group.pv_uuid,
    }


def _vg(group: facts_pb2.VolumeGroupFacts) -> dict[str, str]:
    return {
        "vg_name": group.name,
        "pv_count": "1" if group.pv_path else "0",
        "lv_count": "",
        "snap_count": "",
        "vg_attr": "",
        "vg_size": _bytes(group.total_bytes),
        "vg_free": _bytes(group.free_bytes),
    }


def _lv(volume: facts_pb2.LogicalVolumeFacts) -> dict[str, str]:
    return {
        "lv_name": volume.name,
        "vg_name": volume.vg_name,
        "lv_attr": "",
        "lv_size": _bytes(volume.size_bytes),
        "pool_lv": volume.pool_name,
        "origin": volume.origin,
        "data_percent": _percent(volume.data_percent, told=volume.thin_pool or bool(volume.pool_name)),
        "metadata_percent": _percent(volume.metadata_percent, told=volume.thin_pool),
        "move_pv": "",
        "mirror_log": "",
        "copy_percent": "",
        "convert_lv": "",
    }


def _mounts(facts: facts_pb2.NodeFacts) -> list[dict[str, Any]]:
    mounted = {each.mount_point for each in facts.brick_mounts}
    return [
        {
            "Device": entry.source,
            "MountPoint": entry.mount_point,
            "Type": entry.filesystem,
            "MountOptions": entry.options,
            "Mounted": entry.mount_point in mounted,
        }
        for entry in facts.fstab_entries
    ]
