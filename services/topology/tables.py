"""The rows, private to this package. Effects: none; what they mean is in `domain`.

No deferred annotations here: SQLModel reads them. Sizes are BIGINT, times are microseconds since 1970 in UTC as BIGINT,
so that both engines store and compare them alike. Rules that SQL can hold are constraints.
"""

from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    MetaData,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlmodel import Field, SQLModel

ID_LENGTH = 32
_NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class _Row(SQLModel):
    metadata: ClassVar[MetaData] = MetaData(naming_convention=_NAMING)


def _id(**options: Any) -> Any:
    return Field(sa_type=String(ID_LENGTH), **options)


def _reference(target: str, **options: Any) -> Any:
    return Field(sa_type=String(ID_LENGTH), sa_column_args=[ForeignKey(target)], **options)


def _holder() -> Any:
    # Deferred: an operation is written after the objects that it holds.
    key = ForeignKey("operation.id", deferrable=True, initially="DEFERRED")
    return Field(default=None, sa_type=String(ID_LENGTH), sa_column_args=[key])


def _where(condition: str) -> dict[str, Any]:
    """A partial index, in the words of both engines."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


def _number(**options: Any) -> Any:
    return Field(sa_type=BigInteger, **options)


class ServerRow(_Row, table=True):
    """One row that is locked to count operations in flight, so that two callers can not take the last slot."""

    __tablename__ = "server"
    __table_args__ = (CheckConstraint("id = 1", name="single"),)
    id: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    # Tells this database from others; Heketi's dump has it too.
    generation_id: str = _id()


class ClusterRow(_Row, table=True):
    """A cluster. Locking its row serialises every change of what it contains."""

    __tablename__ = "cluster"
    __table_args__ = (
        UniqueConstraint("request_id"),
        CheckConstraint("volume_count >= 0", name="volume_count"),
        CheckConstraint("forgotten_revision >= 0 AND forgotten_revision <= revision", name="revision"),
    )
    id: str = _id(primary_key=True)
    file_enabled: bool
    block_enabled: bool
    # Grows with every change that placement can see.
    revision: int = _number()
    # Removals up to this revision are not recorded any more.
    forgotten_revision: int = _number()
    volume_count: int
    request_id: str = Field(sa_type=String(64))
    request_digest: str = Field(sa_type=String(64))
    create_time_us: int = _number()


class NodeRow(_Row, table=True):
    """A node; `presence` tells whether an operation is adding or removing it."""

    __tablename__ = "node"
    __table_args__ = (
        UniqueConstraint("id", "cluster_id"),
        CheckConstraint("zone >= 1", name="zone"),
        CheckConstraint("state IN ('online', 'offline', 'failed')", name="state"),
        CheckConstraint("presence IN ('adding', 'present', 'removing')", name="presence"),
        CheckConstraint("presence = 'present' OR operation_id IS NOT NULL", name="held"),
        Index("ix_node_cluster_id_revision", "cluster_id", "revision"),
        Index("ix_node_cluster_id_id", "cluster_id", "id"),
        Index("ix_node_operation_id", "operation_id", **_where("operation_id IS NOT NULL")),
    )
    id: str = _id(primary_key=True)
    cluster_id: str = _reference("cluster.id")
    zone: int
    manage_hostnames: list[str] = Field(sa_type=JSON)
    storage_hostnames: list[str] = Field(sa_type=JSON)
    tags: dict[str, str] = Field(sa_type=JSON)
    state: str = Field(sa_type=String(16))
    presence: str = Field(sa_type=String(16))
    operation_id: str | None = _holder()
    revision: int = _number()
    create_time_us: int = _number()


class HostnameRow(_Row, table=True):
    """A host name that is taken; the primary key keeps it unique over all nodes, each kind by itself."""

    __tablename__ = "hostname"
    __table_args__ = (
        CheckConstraint("kind IN ('manage', 'storage')", name="kind"),
        Index("ix_hostname_node_id", "node_id"),
    )
    kind: str = Field(primary_key=True, sa_type=String(16))
    name: str = Field(primary_key=True, sa_type=String(255))
    node_id: str = _reference("node.id")


class DeviceRow(_Row, table=True):
    """A device with its books: total = used + reserved + free; the sizes are 0 while it is being added."""

    __tablename__ = "device"
    __table_args__ = (
        UniqueConstraint("id", "node_id"),
        UniqueConstraint("node_id", "path"),
        UniqueConstraint("node_id", "pv_uuid"),
        ForeignKeyConstraint(["node_id", "cluster_id"], ["node.id", "node.cluster_id"]),
        CheckConstraint("state IN ('online', 'offline', 'failed')", name="state"),
        CheckConstraint("presence IN ('adding', 'present', 'removing')", name="presence"),
        CheckConstraint("presence = 'present' OR operation_id IS NOT NULL", name="held"),
        CheckConstraint("presence = 'adding' OR extent_size_bytes > 0", name="extent_size"),
        CheckConstraint("reserved_bytes >= 0", name="reserved"),
        CheckConstraint("unattributed_bytes >= 0 AND used_bytes >= unattributed_bytes", name="used"),
        CheckConstraint("used_bytes + reserved_bytes <= total_bytes", name="books"),
        Index("ix_device_cluster_id_revision", "cluster_id", "revision"),
        Index("ix_device_operation_id", "operation_id", **_where("operation_id IS NOT NULL")),
    )
    id: str = _id(primary_key=True)
    node_id: str = _id()
    cluster_id: str = _id()
    path: str = Field(sa_type=Text)
    tags: dict[str, str] = Field(sa_type=JSON)
    state: str = Field(sa_type=String(16))
    presence: str = Field(sa_type=String(16))
    operation_id: str | None = _holder()
    total_bytes: int = _number()
    used_bytes: int = _number()
    reserved_bytes: int = _number()
    unattributed_bytes: int = _number()
    extent_size_bytes: int = _number()
    pv_uuid: str | None = Field(default=None, sa_type=String(64))
    known_paths: list[str] = Field(sa_type=JSON)
    revision: int = _number()
    create_time_us: int = _number()


class VolumeRow(_Row, table=True):
    """A volume, with its name unique in the cluster from the moment it is requested."""

    __tablename__ = "volume"
    __table_args__ = (
        UniqueConstraint("cluster_id", "name"),
        CheckConstraint("size_bytes > 0", name="size"),
        CheckConstraint("durability_type IN ('none', 'replicate', 'disperse')", name="durability"),
        CheckConstraint("state IN ('creating', 'active', 'deleting')", name="state"),
        CheckConstraint("state = 'active' OR operation_id IS NOT NULL", name="held"),
        Index("ix_volume_cluster_id_state_id", "cluster_id", "state", "id"),
        Index("ix_volume_operation_id", "operation_id", **_where("operation_id IS NOT NULL")),
    )
    id: str = _id(primary_key=True)
    cluster_id: str = _reference("cluster.id")
    name: str = Field(sa_type=String(255))
    size_bytes: int = _number()
    durability_type: str = Field(sa_type=String(16))
    replica_count: int
    data_count: int
    redundancy_count: int
    gid: int = _number()
    options: list[str] = Field(sa_type=JSON)
    block: bool
    snapshot_enabled: bool
    snapshot_factor: float = Field(sa_type=Double)
    state: str = Field(sa_type=String(16))
    operation_id: str | None = _holder()
    create_time_us: int = _number()
    # The volume that this one was copied from. It may be gone, so it is no reference.
    origin_volume_id: str | None = _id(default=None)
    # What Heketi had recorded of a volume that was taken over, for dumps; empty for others.
    requested_cluster_ids: list[str] = Field(default=[], sa_type=JSON)
    mount_hosts: list[str] = Field(default=[], sa_type=JSON)
    # False as long as the brick sets of a volume that was taken over are only guessed: Heketi does not record them.
    brick_order_known: bool = True


class BrickRow(_Row, table=True):
    """A brick; while it is being made its space is a reservation of `operation_id`.

    The bricks of a copy lie in the thin pools of the volume that it was copied from: rows of one pool have the same
    pool sizes, and the pool's space counts once.
    """

    __tablename__ = "brick"
    __table_args__ = (
        # A brick that is to replace another one has its place only when that one is gone.
        Index(
            "uq_brick_volume_id_set_index_position",
            *("volume_id", "set_index", "position"),
            unique=True,
            **_where("replaces_brick_id IS NULL"),
        ),
        Index(
            "uq_brick_volume_id_set_index_node_id",
            *("volume_id", "set_index", "node_id"),
            unique=True,
            **_where("replaces_brick_id IS NULL"),
        ),
        CheckConstraint("replaces_brick_id IS NULL OR state = 'creating'", name="replaces"),
        ForeignKeyConstraint(["device_id", "node_id"], ["device.id", "device.node_id"]),
        CheckConstraint("size_bytes > 0 AND thin_pool_size_bytes >= 0 AND pool_metadata_size_bytes >= 0", name="sizes"),
        CheckConstraint("role IN ('data', 'arbiter')", name="role"),
        CheckConstraint("state IN ('creating', 'active', 'deleting')", name="state"),
        CheckConstraint("(state = 'active') = (operation_id IS NULL)", name="held"),
        CheckConstraint("set_index >= 0 AND position >= 0", name="place"),
        # The unique ones leave out rows, so that they find no volume's bricks.
        Index("ix_brick_volume_id_set_index_position", "volume_id", "set_index", "position"),
        Index("ix_brick_device_id_id", "device_id", "id"),
        Index("ix_brick_device_id_thin_pool_name", "device_id", "thin_pool_name"),
        Index("ix_brick_operation_id", "operation_id", **_where("operation_id IS NOT NULL")),
    )
    id: str = _id(primary_key=True)
    volume_id: str = _reference("volume.id")
    device_id: str = _id()
    node_id: str = _id()
    path: str = Field(sa_type=Text)
    size_bytes: int = _number()
    thin_pool_size_bytes: int = _number()
    pool_metadata_size_bytes: int = _number()
    thin_pool_name: str = Field(sa_type=Text)
    lv_name: str = Field(sa_type=Text)
    role: str = Field(sa_type=String(16))
    set_index: int
    position: int
    state: str = Field(sa_type=String(16))
    operation_id: str | None = _holder()
    # The brick whose place it takes when its operation succeeds.
    replaces_brick_id: str | None = _id(default=None)


class BlockHostingRow(_Row, table=True):
    """What a hosting volume holds: its size = free + reserved + the sizes of its block volumes."""

    __tablename__ = "block_hosting"
    __table_args__ = (
        CheckConstraint("free_bytes >= 0 AND reserved_bytes >= 0", name="sizes"),
        CheckConstraint("restriction IN ('', 'locked', 'locked-by-update')", name="restriction"),
    )
    volume_id: str = Field(primary_key=True, sa_type=String(ID_LENGTH), sa_column_args=[ForeignKey("volume.id")])
    free_bytes: int = _number()
    reserved_bytes: int = _number()
    restriction: str = Field(sa_type=String(16))


class BlockVolumeRow(_Row, table=True):
    """A block volume; `growing_bytes` is what a running operation adds to its size, taken from the hosting volume."""

    __tablename__ = "block_volume"
    __table_args__ = (
        UniqueConstraint("hosting_volume_id", "name"),
        CheckConstraint("size_bytes > 0 AND growing_bytes >= 0", name="size"),
        CheckConstraint("usable_size_bytes > 0 AND usable_size_bytes <= size_bytes", name="usable_size"),
        CheckConstraint("ha_count >= 1", name="ha_count"),
        CheckConstraint("state IN ('creating', 'active', 'deleting')", name="state"),
        CheckConstraint("(state = 'active' AND growing_bytes = 0) OR operation_id IS NOT NULL", name="held"),
        Index("ix_block_volume_cluster_id_state_id", "cluster_id", "state", "id"),
        Index("ix_block_volume_operation_id", "operation_id", **_where("operation_id IS NOT NULL")),
    )
    id: str = _id(primary_key=True)
    cluster_id: str = _reference("cluster.id")
    hosting_volume_id: str = _reference("block_hosting.volume_id")
    name: str = Field(sa_type=String(255))
    size_bytes: int = _number()
    usable_size_bytes: int = _number()
    growing_bytes: int = _number()
    ha_count: int
    auth: bool
    hosts: list[str] = Field(sa_type=JSON)
    iqn: str = Field(sa_type=Text)
    lun: int
    username: str = Field(sa_type=Text)
    # A secret that clients read again and again, as from Heketi.
    password: str = Field(sa_type=Text)
    state: str = Field(sa_type=String(16))
    operation_id: str | None = _holder()
    create_time_us: int = _number()


class OperationRow(_Row, table=True):
    """An operation. `spec` is the serialised OperationSpec; `request_digest` tells what was asked for."""

    __tablename__ = "operation"
    __table_args__ = (
        UniqueConstraint("request_id"),
        CheckConstraint("state IN ('pending', 'running', 'undoing', 'succeeded', 'failed')", name="state"),
        CheckConstraint("(end_time_us IS NOT NULL) = (state IN ('succeeded', 'failed'))", name="ended"),
        Index("ix_operation_create_time_us_id", "create_time_us", "id"),
        Index("ix_operation_end_time_us", "end_time_us", **_where("end_time_us IS NOT NULL")),
        Index("ix_operation_unfinished", "create_time_us", "id", **_where("end_time_us IS NULL")),
    )
    id: str = _id(primary_key=True)
    kind: str = Field(sa_type=String(32))
    target_id: str = _id()
    cluster_id: str = _id()
    state: str = Field(sa_type=String(16))
    owner: str = Field(sa_type=String(255))
    lease_expire_time_us: int = _number()
    spec: bytes = Field(sa_type=LargeBinary)
    request_id: str = Field(sa_type=String(64))
    request_digest: str = Field(sa_type=String(64))
    # Whether it takes one of the in-flight slots.
    counted: bool
    completed_step_count: int
    total_step_count: int
    step: str = Field(sa_type=Text)
    node_hostname: str = Field(sa_type=Text)
    # The serialised OperationError; NULL = none.
    error: bytes | None = Field(default=None, sa_type=LargeBinary)
    create_time_us: int = _number()
    update_time_us: int = _number()
    end_time_us: int | None = Field(default=None, sa_type=BigInteger)
    attempt_count: int
    # Whether it waits for a node that does not let it be taken back.
    stalled: bool
    # How often bricks were placed for it.
    placement_count: int = 1
    # What happened on the way.
    note: str = Field(default="", sa_type=Text)
    # Whether somebody wants the next attempt now; its owner is told when it renews its lease.
    woken: bool = False
    revision: int = _number()


class TombstoneRow(_Row, table=True):
    """A node or device that placement must forget."""

    __tablename__ = "tombstone"
    __table_args__ = (
        CheckConstraint("kind IN ('node', 'device')", name="kind"),
        Index("ix_tombstone_cluster_id_revision", "cluster_id", "revision"),
        Index("ix_tombstone_create_time_us", "create_time_us"),
    )
    id: str = _id(primary_key=True)
    kind: str = Field(sa_type=String(16))
    cluster_id: str = _reference("cluster.id")
    revision: int = _number()
    create_time_us: int = _number()


class NodeObservationRow(_Row, table=True):
    """What was seen on a node last. Books and reservations are never made of it."""

    __tablename__ = "node_observation"
    __table_args__ = (CheckConstraint("(facts IS NULL) = (observe_time_us IS NULL)", name="observed"),)
    node_id: str = Field(
        primary_key=True, sa_type=String(ID_LENGTH), sa_column_args=[ForeignKey("node.id", ondelete="CASCADE")]
    )
    # When a collector was told last to look at it.
    turn_time_us: int = _number()
    # The turn that the facts are from.
    observe_time_us: int | None = Field(default=None, sa_type=BigInteger)
    # The serialised NodeFacts.
    facts: bytes | None = Field(default=None, sa_type=LargeBinary)
    unreachable_since_us: int | None = Field(default=None, sa_type=BigInteger)
    # The first turn of those without a break at which glusterd did not run.
    glusterd_down_since_us: int | None = Field(default=None, sa_type=BigInteger)
    # When a gateway was told last to empty it; None once it answers again.
    eviction_time_us: int | None = Field(default=None, sa_type=BigInteger)
    error: str = Field(sa_type=Text)


class JoinTokenRow(_Row, table=True):
    """A token with which one node's agent gets its first certificate; only its digest is kept."""

    __tablename__ = "join_token"
    __table_args__ = (Index("ix_join_token_node_name", "node_name"),)
    # SHA-256 of the token, hex digits.
    digest: str = Field(primary_key=True, sa_type=String(64))
    node_name: str = Field(sa_type=String(255))
    hosts: list[str] = Field(sa_type=JSON)
    create_time_us: int = _number()
    expire_time_us: int = _number()
    # SHA-256 of the public key that it was used for; NULL = it was not used yet.
    key_digest: str | None = Field(default=None, sa_type=String(64))


class CertificateRow(_Row, table=True):
    """A certificate that was signed here, or that was seen at a call."""

    __tablename__ = "certificate"
    __table_args__ = (Index("ix_certificate_role_name", "role", "name"),)
    # Hex digits.
    serial: str = Field(primary_key=True, sa_type=String(64))
    role: str = Field(sa_type=String(16))
    name: str = Field(sa_type=String(255))
    hosts: list[str] = Field(sa_type=JSON)
    issue_time_us: int = _number()
    expire_time_us: int = _number()
    authority_pin: str = Field(sa_type=String(80))


class RevocationRow(_Row, table=True):
    """A serial number that does not count any more, or an owner whose certificates do not."""

    __tablename__ = "revocation"
    # A serial number, or a URI as it stands in certificates.
    subject: str = Field(primary_key=True, sa_type=String(512))
    # Seconds since 1970: certificates that were signed earlier do not count; 0 with a serial number.
    before_s: int = _number()
    revoke_time_us: int = _number()
    revoked_by: str = Field(sa_type=String(512))


class AuthorityRow(_Row, table=True):
    """One row: the authorities that are trusted, as PEM, for servers that have not their directory."""

    __tablename__ = "authority"
    __table_args__ = (CheckConstraint("id = 1", name="single"),)
    id: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    bundle: bytes = Field(sa_type=LargeBinary)
    # Pin of the one that signs.
    signer: str = Field(sa_type=String(80))


METADATA = _Row.metadata
SERVER = METADATA.tables["server"]
CLUSTER = METADATA.tables["cluster"]
NODE = METADATA.tables["node"]
HOSTNAME = METADATA.tables["hostname"]
DEVICE = METADATA.tables["device"]
VOLUME = METADATA.tables["volume"]
BRICK = METADATA.tables["brick"]
BLOCK_HOSTING = METADATA.tables["block_hosting"]
BLOCK_VOLUME = METADATA.tables["block_volume"]
OPERATION = METADATA.tables["operation"]
TOMBSTONE = METADATA.tables["tombstone"]
NODE_OBSERVATION = METADATA.tables["node_observation"]
JOIN_TOKEN = METADATA.tables["join_token"]
CERTIFICATE = METADATA.tables["certificate"]
REVOCATION = METADATA.tables["revocation"]
AUTHORITY = METADATA.tables["authority"]
