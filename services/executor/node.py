"""One node: the verbs of the contract, its journal, and its start. Effects: through the runner."""

from collections.abc import Callable, Collection

from services.common.errors import NotFoundError
from services.common.reasons import Reason
from services.executor import (
    afterwards,
    block_volumes,
    bricks,
    clones,
    copies,
    devices,
    facts,
    growth,
    heals,
    peers,
    repairs,
    replacement,
    volumes,
)
from services.executor.block.reports import Access, BlockVolume
from services.executor.debts import Debts
from services.executor.gluster.reports import BrickHeal, GlusterVolume
from services.executor.gluster.snapshots import Snapshot
from services.executor.journal import Journal
from services.executor.lvm.reports import VolumeGroup
from services.executor.policy import (
    BrickSpec,
    NodePolicy,
    check_device_id,
    check_hostname,
    check_pool_name,
    check_volume_id,
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
        debts: What it owed when it ended the last time.
    """

    def __init__(
        self, runner: Runner, journal: Journal, settings: NodeSettings | None = None, debts: Debts | None = None
    ) -> None:
        chosen = settings or NodeSettings()
        self.names = chosen.names
        self.always_audited = chosen.always_audited
        self.journal = journal
        self._tools = Tools(
            runner=runner, policy=chosen.policy, patience=chosen.patience, debts=debts if debts is not None else Debts()
        )
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

    def pay_debts(self) -> None:
        """Does what this node owed when it ended; see afterwards.pay."""
        afterwards.pay(self._tools)

    def glusterd(self) -> peers.Glusterd:
        """State of glusterd."""
        return self._glusterd.read()

    def storage(self) -> facts.StorageFacts:
        """LVM, mounts and disks."""
        return facts.read_storage(self._tools)

    def probe_peer(self, hostname: str) -> None:
        """Takes a host into the pool."""
        peers.probe_peer(self._tools, check_hostname(hostname))

    def detach_peer(self, hostname: str, *, force: bool = False) -> None:
        """Takes a host out of the pool; see peers.detach_peer."""
        peers.detach_peer(self._tools, check_hostname(hostname), force=force)

    def create_device(self, device_id: str, path: str, *, destroy_data: bool) -> tuple[VolumeGroup, list[str]]:
        """Makes a disk a volume group; see devices.create_device."""
        return devices.create_device(self._tools, check_device_id(device_id), path, destroy_data=destroy_data)

    def get_device(self, device_id: str) -> tuple[VolumeGroup, list[str]]:
        """Measures a device, and tells its paths."""
        group = devices.get_device(self._tools, check_device_id(device_id))
        return group, devices.known_paths(self._tools, group.pv_path)

    def grow_device(self, device_id: str) -> tuple[VolumeGroup, list[str]]:
        """Takes up what its disk has grown by, measures a device, and tells its paths; see devices.grow_device."""
        group = devices.grow_device(self._tools, check_device_id(device_id))
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

    def sync_bricks(self, specs: Collection[BrickSpec]) -> None:
        """Writes what bricks hold to their disks; see bricks.sync_bricks."""
        bricks.sync_bricks(self._tools, specs)

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

    def list_volumes(self) -> tuple[tuple[GlusterVolume, ...], tuple[Snapshot, ...]]:
        """All volumes and snapshots that glusterd has."""
        return repairs.list_volumes(self._tools)

    def restore_brick(self, spec: BrickSpec) -> repairs.Restored:
        """Brings back mount and fstab entry of a brick; see repairs.restore_brick."""
        return repairs.restore_brick(self._tools, spec)

    def remove_orphan_brick(self, device_id: str, brick_id: str) -> bool:
        """Removes a brick that nobody knows; see repairs.remove_orphan_brick."""
        spec = self.policy.brick(brick_id=brick_id, device_id=device_id, lv_name="", pool_name="", path="")
        return repairs.remove_orphan_brick(self._tools, spec)

    def start_volume(self, name: str, volume_id: str, *, force: bool) -> None:
        """Starts a volume, or what it lacks; see repairs.start_volume."""
        repairs.start_volume(self._tools, check_volume_name(name), check_volume_id(volume_id), force=force)

    def replace_brick(self, spec: replacement.ReplacementSpec, old: str) -> None:
        """Puts a brick of this node in the place of another; see replacement.replace_brick."""
        replacement.replace_brick(self._tools, spec, old)

    def settle_replacement(self, spec: replacement.ReplacementSpec) -> bool:
        """Whether a brick has its place; see replacement.settle."""
        return replacement.settle(self._tools, spec)

    def heal_status(self, name: str) -> tuple[BrickHeal, ...]:
        """What the bricks of a volume have to heal."""
        return heals.heal_status(self._tools, check_volume_name(name))

    def has_gluster_block(self) -> bool:
        """Whether gluster-block is installed."""
        return block_volumes.is_installed(self._tools.runner)

    def create_block_volume(self, spec: block_volumes.BlockSpec) -> Access:
        """Makes a block volume; see block_volumes.create."""
        return block_volumes.create(self._tools, spec)

    def delete_block_volume(self, hosting: str, name: str, block_volume_id: str) -> None:
        """Removes a block volume; see block_volumes.delete."""
        block_volumes.delete(self._tools, hosting, name, block_volume_id)

    def expand_block_volume(self, hosting: str, name: str, size_bytes: int) -> BlockVolume:
        """Makes a block volume larger; see block_volumes.expand."""
        return block_volumes.expand(self._tools, hosting, name, size_bytes)

    def get_block_volume(self, hosting: str, name: str) -> BlockVolume:
        """A block volume as gluster-block describes it."""
        return block_volumes.get(self._tools, hosting, name)

    def list_block_volumes(self, hosting: str) -> tuple[str, ...]:
        """Names of the block volumes in a hosting volume."""
        return block_volumes.list_names(self._tools, hosting)

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
