"""The fleet: simulated nodes, their network and their faults, as one thing to hold on to. Memory only."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from services.common.errors import InternalError, NotFoundError
from services.common.reasons import Reason
from services.common.units import GIB
from services.executor.journal import NO_EPOCH, Journal
from services.executor.node import Node
from services.executor.policy import ANY_DEVICE, NodePolicy
from services.executor.runners.base import NodeLostError
from services.executor.runners.simulated.faults import FaultPlan
from services.executor.runners.simulated.keeping import FleetFile, KeptFleet
from services.executor.runners.simulated.machine import PV_OVERHEAD_BYTES, Disk, LogicalVolume, Machine
from services.executor.runners.simulated.pools import Glusterd, Network, Pool, Volume, change_places, hold_bricks
from services.executor.runners.simulated.runner import SimulatedRunner
from services.executor.runners.simulated.snapshots import mount_pieces
from services.executor.settings import NodeSettings, Patience

# Heketi's mock says of every device that it has so much.
DEFAULT_DISK_BYTES = 500 * GIB
_LETTERS = "bcdefghijklmnopqrstuvwxyz"
MOST_DISKS = len(_LETTERS)
_SYSTEM_DISK_BYTES = 32 * GIB
_VERB_LIMIT_S = 600.0
_POLICY = NodePolicy(allow_destroy=True)
_PATIENCE = Patience(
    heal_s=0.1,
    heal_pause_s=0.01,
    gluster_lock_s=5.0,
    unmount_s=0.2,
    glusterd_s=0.1,
    peer_return_s=0.1,
    first_pause_s=0.01,
    longest_pause_s=0.1,
)


@dataclass(frozen=True, slots=True)
class FleetSettings:
    """What a fleet is made of.

    Attributes:
        nodes: Nodes from the start, "node1" with storage address 10.0.0.1 and so on.
        disks: Disks per node, /dev/sdb and on, at most MOST_DISKS.
        disk_bytes: What a volume group on a disk has to give; the raw disk is a little larger.
        accept_any: Whether unknown nodes, storage host names and disks come into being when they are first named,
            as with Heketi's mock.
        policy: The rules of every node.
        patience: How long every node insists.
        always_audited: Whether each change is a line in the log whatever its least severity is, as on real nodes.
    """

    nodes: int = 3
    disks: int = 4
    disk_bytes: int = DEFAULT_DISK_BYTES
    accept_any: bool = False
    policy: NodePolicy = _POLICY
    patience: Patience = _PATIENCE
    always_audited: bool = True


class _KeepingJournal(Journal):
    """Has the fleet kept after each change, before its caller is answered."""

    def __init__(self, before: Callable[[str], None], keep: Callable[[], None]) -> None:
        super().__init__(before=before)
        self._keep_fleet = keep

    def run(
        self,
        request_id: str,
        method: str,
        request: bytes,
        work: Callable[[], bytes],
        *,
        epoch: int = NO_EPOCH,
        wait_s: float | None = None,
        keep: bool = True,
    ) -> bytes:
        try:
            return super().run(request_id, method, request, work, epoch=epoch, wait_s=wait_s, keep=keep)
        finally:
            # A change that failed may have come half of its way.
            self._keep_fleet()


class _AnyDiskRunner(SimulatedRunner):
    """Makes every disk that somebody asks for."""

    disk_bytes = DEFAULT_DISK_BYTES

    def is_block_device(self, path: str) -> bool:
        if not super().is_block_device(path):
            self._machine.disks[path] = Disk(path, self.disk_bytes + PV_OVERHEAD_BYTES)
        return True


@dataclass(slots=True)
class SimulatedNode:
    """A node of a fleet, for tests to look at and to change.

    Attributes:
        name: Host name that it is managed under.
        machine: Its disks, volume groups, mounts and files.
        daemon: Its glusterd; `daemon.running = False` stops it.
        node: Its agent's verbs.
    """

    name: str
    machine: Machine
    daemon: Glusterd
    node: Node

    def volumes(self) -> dict[str, Volume]:
        """The gluster volumes of its pool, by name."""
        return self.daemon.pool.volumes

    def logical_volumes(self) -> list[LogicalVolume]:
        """All thin pools and thin LVs of the node."""
        return [volume for group in self.machine.groups.values() for volume in group.volumes.values()]

    def brick_mounts(self) -> list[str]:
        """Where bricks are mounted."""
        return [entry.mount_point for entry in self.machine.mounts[1:]]

    def put_file(self, path: str, text: str) -> None:
        """Writes a file through the mounts, as a client of the volume would."""
        with self.machine.lock:
            tree, inner = self.machine.place(path)
            tree.files[inner] = text

    def file(self, path: str) -> str | None:
        """A file as seen through the mounts; None when it is not there."""
        with self.machine.lock:
            tree, inner = self.machine.place(path)
            return tree.files.get(inner)

    def put_signature(self, path: str, kind: str) -> None:
        """Lets a disk hold something, e.g. "ext4"."""
        self.machine.disks[path].signature = kind

    def reboot(self) -> list[str]:
        """Loses mounts and activations, then starts the agent again; returns what could not be mounted."""
        self.machine.reboot()
        failures = self.node.mount_bricks()
        mount_pieces(self.daemon)
        for volume in self.volumes().values():
            if volume.status == 1:
                hold_bricks(self.daemon.pool, volume)
        return failures


class Fleet:
    """Simulated nodes that share a network.

    Args:
        settings: What it is made of.
        faults: What goes wrong; may be changed at any time.
        file: Keeps the nodes; what is in it already takes the place of those of the settings.
    """

    def __init__(
        self,
        settings: FleetSettings | None = None,
        faults: FaultPlan | None = None,
        *,
        file: FleetFile | None = None,
    ) -> None:
        self._file = file
        self.settings = settings or FleetSettings()
        self.faults = faults or FaultPlan()
        self._lock = threading.RLock()
        self._nodes: dict[str, SimulatedNode] = {}
        self._by_storage: dict[str, Glusterd] = {}
        unknown = (self._adopt, self._guess) if self.settings.accept_any else ()
        self.network = Network(self._find_daemon, *unknown)
        kept = file.load() if file is not None else None
        if kept is not None:
            self._restore(kept)
            return
        for number in range(1, self.settings.nodes + 1):
            self.add_node(f"node{number}", f"10.0.0.{number}")

    def _restore(self, kept: KeptFleet) -> None:
        """Starts nodes again, as after a power cut."""
        self._by_storage.update(kept.by_storage)
        for name, (machine, daemon) in kept.nodes.items():
            self._take_in(name, machine, daemon, disk_bytes=self.settings.disk_bytes)
        for each in self.nodes():
            each.reboot()

    def _keep(self) -> None:
        if self._file is not None:
            with self._lock:
                nodes = {name: (each.machine, each.daemon) for name, each in self._nodes.items()}
                kept = KeptFleet(nodes, dict(self._by_storage))
            self._file.save(kept)

    def add_node(
        self, name: str, *storage: str, disks: int | None = None, disk_bytes: int | None = None
    ) -> SimulatedNode:
        """Adds a node.

        Args:
            name: Host name that it is managed under.
            storage: Names and addresses of its storage network; its name when there are none.
            disks: Instead of the fleet's.
            disk_bytes: Instead of the fleet's.
        """
        chosen = self.settings
        usable = chosen.disk_bytes if disk_bytes is None else disk_bytes
        count = chosen.disks if disks is None else disks
        usual = [Disk(f"/dev/sd{letter}", usable + PV_OVERHEAD_BYTES) for letter in _LETTERS[:count]]
        if chosen.accept_any:
            # Any disk, /dev/sda too: Heketi's own tests use it. So the system has none.
            machine = Machine(name, usual, root="/dev/root")
        else:
            machine = Machine(name, [Disk("/dev/sda", _SYSTEM_DISK_BYTES, partitions=("sda1",)), *usual])
        return self._take_in(name, machine, Glusterd(machine, storage or (name,)), disk_bytes=usable)

    def _take_in(self, name: str, machine: Machine, daemon: Glusterd, *, disk_bytes: int) -> SimulatedNode:
        chosen = self.settings
        kind = _AnyDiskRunner if chosen.accept_any else SimulatedRunner
        runner = kind(machine, daemon, self.network, self.faults)
        if isinstance(runner, _AnyDiskRunner):
            runner.disk_bytes = disk_bytes
        policy = replace(chosen.policy, device_globs=(ANY_DEVICE,)) if chosen.accept_any else chosen.policy
        settings = NodeSettings(
            names=(name,), policy=policy, patience=chosen.patience, always_audited=chosen.always_audited
        )
        journal = _KeepingJournal(lambda method: self._before_verb(name, method), self._keep)
        simulated = SimulatedNode(name, machine, daemon, Node(runner, journal, settings))
        with self._lock:
            self._nodes[name] = simulated
            self._by_storage.update(dict.fromkeys(daemon.hostnames, daemon))
        return simulated

    def _before_verb(self, name: str, method: str) -> None:
        fault = self.faults.strike(name, f"verb {method}", _VERB_LIMIT_S)
        if fault is not None and fault.action == "fail":
            raise InternalError(Reason.INTERNAL, fault.stderr)
        if fault is not None:
            raise NodeLostError(f"node {name} was lost in {method}")

    def node(self, name: str) -> SimulatedNode:
        """A node by the host name that it is managed under; an unknown one is made if the fleet accepts any.

        Raises:
            NotFoundError: NODE_NOT_FOUND.
        """
        with self._lock:
            found = self._nodes.get(name)
            if found is None and self.settings.accept_any and name:
                found = self.add_node(name)
            if found is None:
                raise NotFoundError(Reason.NODE_NOT_FOUND, f"the simulated fleet has no node {name!r}", node=name)
            return found

    def nodes(self) -> list[SimulatedNode]:
        """All nodes, in the order of their making."""
        with self._lock:
            return list(self._nodes.values())

    def lookup(self, name: str) -> Node:
        """The verbs of a node, for the servicer; without a name those of the only node.

        Raises:
            NotFoundError: NODE_NOT_FOUND.
        """
        with self._lock:
            if not name and len(self._nodes) == 1:
                return next(iter(self._nodes.values())).node
            return self.node(name).node

    def _find_daemon(self, hostname: str) -> Glusterd | None:
        with self._lock:
            found = self._by_storage.get(hostname)
            if found is None and self.settings.accept_any:
                # Nobody tells which node has this storage name; a probe lets guess it, a brick proves it.
                found = Glusterd(Machine(hostname, []), (hostname,))
                self._by_storage[hostname] = found
            return found

    def _guess(self, pool: Pool, hostname: str) -> None:
        """Gives an unknown storage name that a pool probes to the newest node that is of no pool and has none.

        Whoever adds a node asks its agent first, so that it came into being just now.
        """
        with self._lock:
            present = self._by_storage.get(hostname)
            if present is not None and not (_is_stand_in(present) and len(present.pool.members) == 1):
                return
            for each in reversed(self._nodes.values()):
                alone = each.daemon.pool.members == [each.daemon] and not each.daemon.pool.volumes
                if alone and each.daemon.hostnames == [each.name] and each.daemon.pool is not pool:
                    self._rename(each.daemon, hostname)
                    return

    def _adopt(self, hostname: str, path: str) -> Glusterd | None:
        """The glusterd of the node that has a brick's directory; it gets the storage name that it was unknown by."""
        with self._lock:
            owner = next((each for each in self._nodes.values() if each.machine.directory(path) is not None), None)
            if owner is None:
                return None
            holder = self._by_storage.get(hostname)
            if hostname not in owner.daemon.hostnames:
                if holder is not None and _is_stand_in(holder):
                    if holder in holder.pool.members:
                        holder.pool.members.remove(holder)
                elif holder is not None:
                    self._correct(holder, owner, hostname)
                self._rename(owner.daemon, hostname)
            return owner.daemon

    def _correct(self, holder: Glusterd, owner: SimulatedNode, hostname: str) -> None:
        """Undoes a wrong guess: the name is the owner's, and what the owner was taken for, the holder may be."""
        holder.hostnames.remove(hostname)
        for taken in [name for name in owner.daemon.hostnames if name != owner.name]:
            owner.daemon.hostnames.remove(taken)
            self._rename(holder, taken)
        if not any(_has_bricks(each) for each in (holder, owner.daemon)):
            change_places(holder, owner.daemon)

    def _rename(self, daemon: Glusterd, hostname: str) -> None:
        daemon.hostnames.insert(0, hostname)
        self._by_storage[hostname] = daemon

    def close(self) -> None:
        """Forgets the answers of all nodes; lets go whatever a fault stalls."""
        self.faults.clear()
        for each in self.nodes():
            each.node.journal.close()


def _is_stand_in(daemon: Glusterd) -> bool:
    """Whether it is no node's: it stands for a storage name of which nobody knows the node yet."""
    return not daemon.machine.disks


def _has_bricks(daemon: Glusterd) -> bool:
    return any(daemon.owns(brick) for volume in daemon.pool.volumes.values() for brick in volume.bricks)
