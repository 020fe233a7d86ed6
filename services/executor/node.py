"""One node: the verbs of the contract, its journal, and its start. Effects: through the runner."""

from collections.abc import Callable, Collection

from services.common.errors import NotFoundError
from services.common.reasons import Reason
from services.executor import bricks, clones, copies, devices, facts, growth, peers, volumes
from services.executor.gluster.reports import GlusterVolume
from services.executor.journal import Journal
from services.executor.lvm.reports import VolumeGroup
from services.executor.policy import (
    BrickSpec,
    NodePolicy,
    check_device_id,
    check_hostname,
    check_pool_name,
    check_volume_name,
)
from services.executor.runners.base import Runner
from services.executor.settings import NodeSettings
from services.executor.tools import Tools


class Node:
    """A storage node, real or simulated.

    Args:
        runner: Its commands and files.
        journal: Its memory of changes.
        settings: Its rules.
    """

    def __init__(self, runner: Runner, journal: Journal, settings: NodeSettings | None = None) -> None:
        chosen = settings or NodeSettings()
        self.names = chosen.names
        self.journal = journal
        self._tools = Tools(runner=runner, policy=chosen.policy, patience=chosen.patience)
        self._glusterd = peers.GlusterdReader(self._tools)

    @property
    def policy(self) -> NodePolicy:
        """What the node allows."""
        return self._tools.policy

    def hostname(self) -> str:
        """Host name of the node."""
        return self._tools.runner.hostname()

    def mount_bricks(self) -> list[str]:
        """Mounts the bricks that the mount table file lists; see facts.mount_bricks."""
        return facts.mount_bricks(self._tools)

    def glusterd(self) -> peers.Glusterd:
        """State of glusterd."""
        return self._glusterd.read()

    def storage(self) -> facts.StorageFacts:
        """LVM, mounts and disks."""
        return facts.read_storage(self._tools)

    def probe_peer(self, hostname: str) -> None:
        """Takes a host into the pool."""
        peers.probe_peer(self._tools, check_hostname(hostname))

    def detach_peer(self, hostname: str) -> None:
        """Takes a host out of the pool."""
        peers.detach_peer(self._tools, check_hostname(hostname))

    def create_device(self, device_id: str, path: str, *, destroy_data: bool) -> tuple[VolumeGroup, list[str]]:
        """Makes a disk a volume group; see devices.create_device."""
        return devices.create_device(self._tools, check_device_id(device_id), path, destroy_data=destroy_data)

    def get_device(self, device_id: str) -> tuple[VolumeGroup, list[str]]:
        """Measures a device, and tells its paths."""
        group = devices.get_device(self._tools, check_device_id(device_id))
        return group, devices.known_paths(self._tools, group.pv_path)

    def delete_device(self, device_id: str) -> None:
        """Removes a device's volume group and physical volume."""
        devices.delete_device(self._tools, check_device_id(device_id))

    def create_brick(self, spec: BrickSpec) -> None:
        """Makes a brick; see bricks.create_brick."""
        bricks.create_brick(self._tools, spec)

    def delete_brick(self, spec: BrickSpec) -> bool:
        """Removes a brick; tells whether its thin pool is gone."""
        return bricks.delete_brick(self._tools, spec)

    def create_volume(self, spec: volumes.VolumeSpec) -> None:
        """Creates, sets up and starts a volume; see volumes.create_volume."""
        volumes.create_volume(self._tools, spec)

    def delete_volume(self, name: str, volume_id: str, bricks: Collection[str] = ()) -> None:
        """Stops and deletes a volume; see volumes.delete_volume."""
        removed = volumes.delete_volume(self._tools, check_volume_name(name), volume_id, bricks)
        clones.remove_remains(self._tools, name, volume_id, removed)

    def add_bricks(self, spec: growth.GrowthSpec, *, rebalance: bool) -> None:
        """Adds brick sets to a volume; see growth.add_bricks."""
        growth.add_bricks(self._tools, spec, rebalance=rebalance)

    def remove_bricks(self, spec: growth.GrowthSpec) -> None:
        """Takes brick sets out of a volume; see growth.remove_bricks."""
        growth.remove_bricks(self._tools, spec)

    def clone_volume(self, spec: clones.CloneSpec) -> clones.Copy:
        """Copies a volume; see clones.clone_volume."""
        return clones.clone_volume(self._tools, spec)

    def remove_orphan_copies(self, device_id: str, pool: str) -> tuple[str, ...]:
        """Removes LVs that gluster made and forgot; see copies.remove_orphans."""
        return copies.remove_orphans(self._tools, check_device_id(device_id), check_pool_name(pool))

    def get_volume(self, name: str) -> GlusterVolume:
        """A volume as glusterd describes it."""
        return volumes.get_volume(self._tools, check_volume_name(name))


NodeLookup = Callable[[str], Node]
"""The node of a name that a caller gave; "" when it gave none. Raises NotFoundError."""


def only(node: Node) -> NodeLookup:
    """The lookup of an agent that has one node, and insists on its names if it knows any."""

    def lookup(name: str) -> Node:
        if name and node.names and name not in node.names:
            raise NotFoundError(
                Reason.NODE_NOT_FOUND, f"this agent is of node {', '.join(node.names)}, not of {name!r}", node=name
            )
        return node

    return lookup
