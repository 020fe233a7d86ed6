"""What is compared: the records on one side, what the agents see on the other; and what comes out. Pure.

Sizes are bytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.examination.domain.kinds import Kind, Verb

COPY_ROOT = "/run/gluster/snaps/"
# The first is a link to the second; gluster writes the one, the kernel's mount table the other.
_LINKED_ROOT = "/var/run/"


def plain_path(path: str) -> str:
    """A path as the kernel's mount table has it."""
    return path.removeprefix("/var") if path.startswith(_LINKED_ROOT) else path


def group_name(device_id: str) -> str:
    """The volume group of a device."""
    return f"vg_{device_id}"


def mapper_path(group: str, name: str) -> str:
    """Device node of an LV; the device mapper doubles dashes inside of names."""
    return f"/dev/mapper/{group.replace('-', '--')}-{name.replace('-', '--')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BookedNode:
    """A node of the records.

    Attributes:
        id: Its id.
        cluster_id: Its cluster.
        hostname: Where its agent is.
        storage_hostnames: Its names in gluster volumes.
        held: Whether an operation adds or removes it.
    """

    id: str
    cluster_id: str
    hostname: str
    storage_hostnames: tuple[str, ...]
    held: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BookedDevice:
    """A device of the records; `unattributed_bytes` is the part of what is used that no brick accounts for."""

    id: str
    node_id: str
    path: str
    total_bytes: int
    unattributed_bytes: int
    pv_uuid: str = ""
    held: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BookedBrick:
    """A brick of the records; `path` is the directory that gluster exports."""

    id: str
    volume_id: str
    device_id: str
    node_id: str
    path: str
    pool_name: str
    lv_name: str
    pool_bytes: int
    metadata_bytes: int
    set_index: int
    position: int
    held: bool = False

    @property
    def mount_point(self) -> str:
        """Where its file system is mounted."""
        return plain_path(self.path).removesuffix("/brick")

    @property
    def device(self) -> str:
        """Device node of its LV."""
        return mapper_path(group_name(self.device_id), self.lv_name)

    @property
    def is_copy(self) -> bool:
        """Whether gluster made and mounts it, as the brick of a cloned volume."""
        return self.mount_point.startswith(COPY_ROOT)


@dataclass(frozen=True, slots=True, kw_only=True)
class BookedVolume:
    """A volume of the records.

    `set_size` is how many bricks belong together, `order_unknown` whether it is only guessed which.
    """

    id: str
    cluster_id: str
    name: str
    set_size: int
    options: tuple[str, ...] = ()
    held: bool = False
    order_unknown: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """The records at one moment."""

    nodes: tuple[BookedNode, ...] = ()
    devices: tuple[BookedDevice, ...] = ()
    volumes: tuple[BookedVolume, ...] = ()
    bricks: tuple[BookedBrick, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class InFlight:
    """What operations may be changing while we look.

    Attributes:
        count: Operations that were unfinished at some moment of the look.
        ids: Every id in their records: of objects, and of what they make.
        names: Names of the volumes that they make.
    """

    count: int = 0
    ids: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenGroup:
    """A volume group of a node."""

    name: str
    total_bytes: int
    free_bytes: int
    pv_uuid: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenLv:
    """A logical volume in one of our groups; `pool` is empty when it is not thin, `metadata_bytes` is a pool's."""

    group: str
    name: str
    size_bytes: int
    pool: str = ""
    is_pool: bool = False
    metadata_bytes: int = 0
    active: bool = True

    @property
    def taken_bytes(self) -> int:
        """What it takes from its group."""
        return 0 if self.pool else self.size_bytes + self.metadata_bytes


@dataclass(frozen=True, slots=True)
class SeenMount:
    """A mount, or an entry of the agent's mount table file."""

    source: str
    mount_point: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenVolume:
    """A gluster volume; `volume_id` is what its option user.heketi.id says, empty when it has none."""

    name: str
    uuid: str
    volume_id: str
    started: bool
    never_started: bool
    bricks: tuple[str, ...]
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SeenSnapshot:
    """A gluster snapshot; the names of its LVs begin with `volume`."""

    name: str
    volume: str
    source: str


@dataclass(frozen=True, slots=True)
class SeenPeer:
    """A peer as a node's glusterd sees it."""

    uuid: str
    hostname: str
    connected: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenNode:
    """What one agent sees.

    Attributes:
        silence: Why the agent gave no answer; empty when it did, and then the rest counts.
        heketi_fstab: Entries of bricks in mount table files that Heketi wrote.
        peer_uuid: UUID of its glusterd; empty when that is down.
        volumes: Gluster's volumes; None when glusterd gave no answer.
    """

    silence: str = ""
    groups: tuple[SeenGroup, ...] = ()
    lvs: tuple[SeenLv, ...] = ()
    mounts: tuple[SeenMount, ...] = ()
    fstab: tuple[SeenMount, ...] = ()
    heketi_fstab: tuple[SeenMount, ...] = ()
    peer_uuid: str = ""
    peers: tuple[SeenPeer, ...] = ()
    volumes: tuple[SeenVolume, ...] | None = None
    snapshots: tuple[SeenSnapshot, ...] = ()
    glusterd_complaint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """All that is compared; `seen` has an entry for each node of the books."""

    books: Books
    in_flight: InFlight
    seen: Mapping[str, SeenNode]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a finding is about, for repair; fields that do not apply are empty.

    Attributes:
        volume_id: The volume.
        volume_name: Its name in gluster.
        device_id: The device.
        brick_id: The brick, known or not.
        pool_name: The thin pool.
        brick_ids: Bricks that exist nowhere, or all bricks of a volume in gluster's order.
        reclaimed_ids: Those of them whose thin pool is gone too.
    """

    volume_id: str = ""
    volume_name: str = ""
    device_id: str = ""
    brick_id: str = ""
    pool_name: str = ""
    brick_ids: tuple[str, ...] = ()
    reclaimed_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One difference.

    Attributes:
        kind: What differs.
        cluster_id: Where.
        node_id: Where; empty when it is of no single node.
        hostname: Of that node's agent.
        object: An id, or a name as the node says it.
        message: What differs how, as a sentence.
        advice: What repair does about it, or why it does nothing and what a person can do.
        repair: What repair does; None for nothing.
        subject: For repair.
    """

    kind: Kind
    cluster_id: str
    node_id: str = ""
    hostname: str = ""
    object: str
    message: str
    advice: str = ""
    repair: Verb | None = None
    subject: Subject = field(default_factory=Subject)

    @property
    def key(self) -> tuple[str, str, str, str]:
        """By which the same difference is known again at a later look."""
        return (self.kind, self.cluster_id, self.node_id, self.object)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a look gave.

    Attributes:
        findings: By cluster, node, kind and object.
        operations_in_flight: How many operations may have changed things meanwhile.
        left_out_count: Objects that were left out because of them.
        compared_count: Nodes, devices, bricks and volumes that were compared.
        silent_hostnames: Agents that did not answer.
    """

    findings: tuple[Finding, ...]
    operations_in_flight: int = 0
    left_out_count: int = 0
    compared_count: int = 0
    silent_hostnames: tuple[str, ...] = ()

    @property
    def differences(self) -> tuple[Finding, ...]:
        """The findings that are more than information; none means that records and nodes agree."""
        return tuple(finding for finding in self.findings if not finding.kind.is_information)

    @property
    def clean(self) -> bool:
        """Whether records and nodes agree, as far as both were looked at."""
        return not self.differences
