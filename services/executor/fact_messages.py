"""What an agent tells of its node, as the messages of the contract. Pure, except for looking at the node."""

from typing import TYPE_CHECKING

from brickyard.executor.v1 import facts_pb2
from brickyard.topology.v1 import device_pb2

if TYPE_CHECKING:
    from services.executor.gluster.reports import GlusterVolume
    from services.executor.lvm.reports import VolumeGroup
    from services.executor.node import Node
    from services.executor.peers import Glusterd
    from services.executor.runners.base import Mount


def device_facts(group: "VolumeGroup", paths: list[str]) -> device_pb2.DeviceFacts:
    """A volume group with the paths that its disk is known by."""
    return device_pb2.DeviceFacts(
        total_bytes=group.total_bytes,
        free_bytes=group.free_bytes,
        extent_size_bytes=group.extent_size_bytes,
        pv_uuid=group.pv_uuid,
        known_paths=paths,
    )


def glusterd(state: "Glusterd", *, gluster_block: bool) -> facts_pb2.GlusterdFacts:
    """What glusterd tells of itself and its peers."""
    return facts_pb2.GlusterdFacts(
        running=state.running,
        version=state.version,
        peer_uuid=state.uuid,
        peers=[
            facts_pb2.PeerFacts(uuid=peer.uuid, hostname=peer.hostname, connected=peer.connected)
            for peer in state.peers
        ],
        gluster_block_installed=gluster_block,
    )


def gluster_volume(volume: "GlusterVolume") -> facts_pb2.GlusterVolumeFacts:
    """A volume as glusterd describes it."""
    return facts_pb2.GlusterVolumeFacts(
        name=volume.name,
        uuid=volume.uuid,
        started=volume.started,
        bricks=volume.bricks,
        options=volume.options,
        never_started=volume.never_started,
    )


def _mount(entry: "Mount") -> facts_pb2.MountFacts:
    return facts_pb2.MountFacts(
        source=entry.source, mount_point=entry.mount_point, filesystem=entry.filesystem, options=entry.options
    )


def node_facts(node: "Node") -> facts_pb2.NodeFacts:
    """Everything that the agent sees on its node."""
    storage = node.storage()
    return facts_pb2.NodeFacts(
        hostname=node.hostname(),
        glusterd=glusterd(node.glusterd(), gluster_block=node.has_gluster_block()),
        volume_groups=[
            facts_pb2.VolumeGroupFacts(
                name=group.name,
                total_bytes=group.total_bytes,
                free_bytes=group.free_bytes,
                extent_size_bytes=group.extent_size_bytes,
                pv_uuid=group.pv_uuid,
                pv_path=group.pv_path,
            )
            for group in storage.groups
        ],
        logical_volumes=[
            facts_pb2.LogicalVolumeFacts(
                name=volume.name,
                vg_name=volume.vg_name,
                size_bytes=volume.size_bytes,
                pool_name=volume.pool_name,
                thin_pool=volume.thin_pool,
                data_percent=volume.data_percent,
                metadata_percent=volume.metadata_percent,
                origin=volume.origin,
                active=volume.active,
                metadata_size_bytes=volume.metadata_bytes,
            )
            for volume in storage.volumes
        ],
        brick_mounts=[_mount(entry) for entry in storage.brick_mounts],
        fstab_entries=[_mount(entry) for entry in storage.fstab],
        heketi_fstab_entries=[_mount(entry) for entry in storage.heketi_fstab],
        unused_disks=[facts_pb2.UnusedDiskFacts(path=disk.path, size_bytes=disk.size_bytes) for disk in storage.unused],
        bricks=[
            facts_pb2.BrickStateFacts(
                path=brick.path,
                mounted=brick.mounted,
                process_running=brick.process_running,
                heal_count=brick.heal_count,
            )
            for brick in storage.bricks
        ],
    )
