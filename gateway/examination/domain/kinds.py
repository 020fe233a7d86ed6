"""The kinds of differences, and what repair can do. Pure. The names are stable; scripts may rely on them."""

from enum import StrEnum


class Kind(StrEnum):
    """One kind of difference. FOREIGN_* and the others in INFORMATION are told, and need nothing to be done."""

    # Nodes and peers
    NODE_UNREACHABLE = "NODE_UNREACHABLE"
    GLUSTERD_DOWN = "GLUSTERD_DOWN"
    PEER_MISSING = "PEER_MISSING"
    PEER_DISCONNECTED = "PEER_DISCONNECTED"
    FOREIGN_PEER = "FOREIGN_PEER"

    # Devices
    DEVICE_MISSING = "DEVICE_MISSING"
    DEVICE_SIZE_DIFFERS = "DEVICE_SIZE_DIFFERS"
    DEVICE_UUID_DIFFERS = "DEVICE_UUID_DIFFERS"
    DEVICE_UUID_UNKNOWN = "DEVICE_UUID_UNKNOWN"
    FREE_SPACE_DIFFERS = "FREE_SPACE_DIFFERS"
    ORPHAN_DEVICE = "ORPHAN_DEVICE"
    FOREIGN_GROUP = "FOREIGN_GROUP"

    # Logical volumes
    GHOST_BRICK = "GHOST_BRICK"
    BRICK_LOST = "BRICK_LOST"
    BRICK_POOL_DIFFERS = "BRICK_POOL_DIFFERS"
    THIN_POOL_DIFFERS = "THIN_POOL_DIFFERS"
    LV_INACTIVE = "LV_INACTIVE"
    ORPHAN_BRICK = "ORPHAN_BRICK"
    ORPHAN_POOL = "ORPHAN_POOL"
    ORPHAN_COPY = "ORPHAN_COPY"
    FOREIGN_LV = "FOREIGN_LV"

    # Mounts and the agent's mount table file
    MISSING_MOUNT = "MISSING_MOUNT"
    MOUNT_DIFFERS = "MOUNT_DIFFERS"
    MISSING_FSTAB_ENTRY = "MISSING_FSTAB_ENTRY"
    FSTAB_ENTRY_DIFFERS = "FSTAB_ENTRY_DIFFERS"
    ORPHAN_FSTAB_ENTRY = "ORPHAN_FSTAB_ENTRY"
    HEKETI_FSTAB_ENTRY = "HEKETI_FSTAB_ENTRY"
    FOREIGN_MOUNT = "FOREIGN_MOUNT"
    FOREIGN_FSTAB_ENTRY = "FOREIGN_FSTAB_ENTRY"

    # Gluster volumes
    GHOST_VOLUME = "GHOST_VOLUME"
    VOLUME_MISSING = "VOLUME_MISSING"
    VOLUME_NOT_ON_NODE = "VOLUME_NOT_ON_NODE"
    VOLUME_ID_DIFFERS = "VOLUME_ID_DIFFERS"
    VOLUME_STOPPED = "VOLUME_STOPPED"
    BRICK_LIST_DIFFERS = "BRICK_LIST_DIFFERS"
    BRICK_ORDER_UNKNOWN = "BRICK_ORDER_UNKNOWN"
    OPTION_DIFFERS = "OPTION_DIFFERS"
    ORPHAN_VOLUME = "ORPHAN_VOLUME"
    ORPHAN_SNAPSHOT = "ORPHAN_SNAPSHOT"
    FOREIGN_VOLUME = "FOREIGN_VOLUME"
    FOREIGN_SNAPSHOT = "FOREIGN_SNAPSHOT"

    @property
    def is_information(self) -> bool:
        """Whether it is only worth knowing."""
        # Somebody who tunes an option, or extends a pool, by hand has a reason for it.
        return self.startswith("FOREIGN_") or self in {Kind.OPTION_DIFFERS, Kind.THIN_POOL_DIFFERS}


class Verb(StrEnum):
    """What repair does, in the order in which it does it."""

    SET_BRICK_ORDER = "SET_BRICK_ORDER"
    RESTORE_BRICK = "RESTORE_BRICK"
    START_VOLUME = "START_VOLUME"
    RESTART_BRICKS = "RESTART_BRICKS"
    REMOVE_ORPHAN_VOLUME = "REMOVE_ORPHAN_VOLUME"
    REMOVE_ORPHAN_COPIES = "REMOVE_ORPHAN_COPIES"
    REMOVE_ORPHAN_BRICK = "REMOVE_ORPHAN_BRICK"
    DROP_GHOSTS = "DROP_GHOSTS"
    RESYNC_DEVICE = "RESYNC_DEVICE"

    @property
    def removes(self) -> bool:
        """Whether it takes something away, so that a fresh look has to come right before it."""
        return self in {
            Verb.REMOVE_ORPHAN_VOLUME,
            Verb.REMOVE_ORPHAN_COPIES,
            Verb.REMOVE_ORPHAN_BRICK,
            Verb.DROP_GHOSTS,
        }
