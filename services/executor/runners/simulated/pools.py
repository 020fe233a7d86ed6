"""Pools of simulated nodes: their volumes and snapshots, and who reaches whom. Memory only."""

import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from services.executor.runners.base import Mount
from services.executor.runners.simulated.machine import Machine

_DEFAULT_OPTIONS = {
    "storage.fips-mode-rchecksum": "on",
    "transport.address-family": "inet",
    "nfs.disable": "on",
}
_GENERAL_ERRNO = 30800


@dataclass(frozen=True, slots=True)
class Piece:
    """A thin LV that glusterd made as a brick of a snapshot or of a copy.

    Attributes:
        member: Whose node it is on.
        vg: Its volume group.
        lv: Its name.
        mount: Where glusterd mounts it.
        inner: The brick's directory below that.
    """

    member: "Glusterd"
    vg: str
    lv: str
    mount: Mount
    inner: str


@dataclass(slots=True)
class Snapshot:
    """A snapshot of one volume; `stem` is what the names of its LVs start with."""

    name: str
    uuid: str
    stem: str
    source: str
    words: tuple[str, ...]
    options: dict[str, str]
    hosts: tuple[str, ...]
    pieces: tuple[Piece, ...]
    active: bool = False


@dataclass(slots=True)
class Removal:
    """Bricks that leave a volume; `answers` is how often it still says that data is being moved."""

    bricks: tuple[str, ...]
    answers: int
    task: str


@dataclass(slots=True)
class Volume:
    """A volume.

    Attributes:
        name: Its name.
        uuid: Gluster's id.
        words: What was said of its redundancy.
        bricks: "host:/path" in order.
        options: What was set.
        status: 0 created, 1 started, 2 stopped.
        heal_entries: What each brick has to heal.
        pieces: The LVs of its bricks if it is a copy.
        removal: Bricks that are about to leave.
        rebalancing: Whether data is being moved; a rebalance that is started here ends at once.
        rebalances: How many were started.
        heals: How many heals of everything were started.
    """

    name: str
    uuid: str
    words: tuple[str, ...]
    bricks: list[str]
    options: dict[str, str] = field(default_factory=lambda: dict(_DEFAULT_OPTIONS))
    status: int = 0
    heal_entries: dict[str, int] = field(default_factory=dict)
    pieces: tuple[Piece, ...] = ()
    removal: Removal | None = None
    rebalancing: bool = False
    rebalances: int = 0
    heals: int = 0

    @property
    def set_size(self) -> int:
        """Bricks that belong together."""
        counts = [int(word) for word in self.words if word.isdigit()]
        if self.words[:1] == ("replica",):
            return counts[0]
        return sum(counts) or 1


@dataclass(slots=True)
class Block:
    """A block volume of gluster-block.

    Attributes:
        name: Its name.
        hosting: Name of its hosting volume.
        gbid: Gluster-block's own id.
        size_gib: Its size.
        hosts: Hosts that export it.
        password: What initiators log in with; empty without auth.
        resize_failed: The size that it still has on hosts that did not follow.
    """

    name: str
    hosting: str
    gbid: str
    size_gib: int
    hosts: list[str]
    password: str = field(default="", repr=False)
    resize_failed: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Pool:
    """A trusted pool: its nodes in the order of joining, their volumes and snapshots.

    Attributes:
        members: Its nodes.
        volumes: By name.
        snapshots: By name.
        locked_by: Who holds gluster's locks, for tests of contention; empty for nobody.
        moving_answers: How often a removal of bricks says that it is not done yet.
        stuck_files: How many files a removal of bricks cannot move.
        healing: Whether a new brick has all files at once; otherwise they stay to be healed.
        blocks: Block volumes, by hosting volume and name.
        block_resize_fails_on: Hosts on which a block volume cannot grow.
        brick_users: The name of the volume that was given a "host:/path" last; it may have lost it since.
    """

    members: list["Glusterd"] = field(default_factory=list)
    volumes: dict[str, Volume] = field(default_factory=dict)
    snapshots: dict[str, Snapshot] = field(default_factory=dict)
    locked_by: str = ""
    moving_answers: int = 1
    stuck_files: int = 0
    healing: bool = True
    blocks: dict[tuple[str, str], Block] = field(default_factory=dict)
    block_resize_fails_on: set[str] = field(default_factory=set)
    brick_users: dict[str, str] = field(default_factory=dict)

    def note_bricks(self, volume: Volume) -> None:
        """Remembers whose the bricks of a volume are; to be called when it has got some."""
        self.brick_users.update(dict.fromkeys(volume.bricks, volume.name))

    def volume_with(self, brick: str) -> Volume | None:
        """The volume that has a "host:/path"; None when no volume has. Its cost does not grow with the volumes."""
        volume = self.volumes.get(self.brick_users.get(brick, ""))
        return volume if volume is not None and brick in volume.bricks else None

    def owner(self, brick: str) -> "Glusterd":
        """The member that has a "host:/path".

        Raises:
            GlusterError: None has.
        """
        for member in self.members:
            if member.owns(brick):
                return member
        raise GlusterError(f"Host {brick.partition(':')[0]} is not in 'Peer in Cluster' state")

    def refuse_if_locked(self, name: str) -> None:
        """Answers as glusterd does when somebody else changes a volume.

        Raises:
            GlusterError: Somebody does.
        """
        if self.locked_by:
            raise GlusterError(
                f"Another transaction is in progress for {name}. Please try again after some time.", number=30802
            )


class Glusterd:
    """glusterd of one machine.

    Args:
        machine: Where it runs.
        hostnames: Names and addresses of its storage network.
    """

    def __init__(self, machine: Machine, hostnames: Sequence[str]) -> None:
        self.machine = machine
        self.hostnames = list(hostnames)
        self.uuid = str(uuid.uuid4())
        self.running = True
        self.reachable = True
        self.pool = Pool([self])

    def owns(self, brick: str) -> bool:
        """Whether a "host:/path" is on this machine."""
        return brick.partition(":")[0] in self.hostnames


class GlusterError(Exception):
    """What gluster answers instead of success."""

    def __init__(self, text: str, *, result: int = -1, number: int = _GENERAL_ERRNO) -> None:
        super().__init__(text)
        self.text = text
        self.result = result
        self.number = number


class Network:
    """All glusterds that can reach each other.

    Args:
        find: The glusterd of a storage host name; None when nobody answers there.
        adopt: Finds the glusterd of a brick when the host name is unknown; None when it cannot.
        name: Gives an unknown host name that a pool probes to the glusterd that it most likely is of.
    """

    def __init__(
        self,
        find: Callable[[str], Glusterd | None],
        adopt: Callable[[str, str], Glusterd | None] = lambda _host, _path: None,
        name: Callable[[Pool, str], None] = lambda _pool, _host: None,
    ) -> None:
        self.lock = threading.RLock()
        self._find = find
        self._adopt = adopt
        self._name = name

    def reachable(self, hostname: str) -> Glusterd | None:
        """The running glusterd of a host name."""
        found = self._find(hostname)
        return found if found is not None and found.running and found.reachable else None

    def newcomer(self, pool: Pool, hostname: str) -> Glusterd | None:
        """The running glusterd of a host name that a pool is to take in."""
        self._name(pool, hostname)
        return self.reachable(hostname)

    def of_brick(self, pool: Pool, brick: str) -> Glusterd:
        """The pool's member that holds a brick.

        Raises:
            GlusterError: The host is no peer.
        """
        host, _, path = brick.partition(":")
        adopted = self._adopt(host, path)
        if adopted is not None and adopted.pool is not pool:
            join(pool, adopted)
        member = next((each for each in pool.members if host in each.hostnames), None)
        if member is None:
            raise GlusterError(f"Host {host} is not in 'Peer in Cluster' state")
        if not (member.running and member.reachable):
            raise GlusterError(f"Host {host} not connected")
        return member


def change_places(one: Glusterd, other: Glusterd) -> None:
    """Each becomes a member of the other's pool instead of its own; nothing when they are of one pool."""
    if one.pool is other.pool:
        return
    one.pool.members[one.pool.members.index(one)] = other
    other.pool.members[other.pool.members.index(other)] = one
    one.pool, other.pool = other.pool, one.pool


def join(pool: Pool, newcomer: Glusterd) -> None:
    """Takes a glusterd and those with it into a pool."""
    old = newcomer.pool
    for member in old.members:
        member.pool = pool
    pool.members += old.members
    pool.volumes.update(old.volumes)
    pool.brick_users.update(old.brick_users)
    pool.snapshots.update(old.snapshots)


def find_volume(pool: Pool, name: str) -> Volume:
    """A volume of a pool.

    Raises:
        GlusterError: There is none.
    """
    volume = pool.volumes.get(name)
    if volume is None:
        raise GlusterError(f"Volume {name} does not exist")
    return volume


def start(pool: Pool, volume: Volume, *, force: bool = False) -> None:
    """Starts a volume; with `force` also what a started one lacks.

    Raises:
        GlusterError: It is started.
    """
    if volume.status == 1 and not force:
        raise GlusterError(f"Volume {volume.name} already started")
    volume.status = 1
    hold_bricks(pool, volume)


def stop(pool: Pool, volume: Volume) -> None:
    """Stops a volume.

    Raises:
        GlusterError: It is not started.
    """
    if volume.status != 1:
        raise GlusterError(f"Volume {volume.name} is not in the started state")
    volume.status = 2
    for member, mount_point in brick_mounts(pool, volume):
        member.machine.busy.discard(mount_point)


def hold_bricks(pool: Pool, volume: Volume) -> None:
    """Lets the brick processes of a volume keep their file systems busy."""
    for member, mount_point in brick_mounts(pool, volume):
        member.machine.busy.add(mount_point)


def brick_mounts(pool: Pool, volume: Volume) -> list[tuple[Glusterd, str]]:
    """Where the bricks of a volume are mounted."""
    return [
        (member, brick.partition(":")[2].rpartition("/")[0])
        for brick in volume.bricks
        for member in pool.members
        if member.owns(brick)
    ]
