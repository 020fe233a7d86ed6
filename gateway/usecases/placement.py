"""From a requested volume to placement rules, and from a plan to a volume with named bricks. Pure."""

import hashlib
from collections.abc import Iterable

from brickyard.allocator.v1.allocator_service_pb2 import (
    ZONE_RULE_NONE,
    ZONE_RULE_STRICT,
    BrickLimits,
    PlacementRules,
    PlanVolumeResponse,
)
from brickyard.topology.v1.volume_pb2 import (
    DURABILITY_TYPE_NONE,
    DURABILITY_TYPE_UNSPECIFIED,
    Brick,
    Durability,
    Volume,
)
from gateway.settings import ProvisioningSettings
from gateway.usecases.port import NewVolume
from services.common.units import KIB

# Where Heketi mounts bricks; the paths are in its users' gluster volumes, so they stay.
MOUNT_ROOT = "/var/lib/heketi/mounts"
_LARGEST_INT64 = 2**63 - 1
# The spellings that Go's strconv.ParseBool takes for true, as Heketi reads user.heketi.arbiter.
_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})


def all_options(requested: Iterable[str], settings: ProvisioningSettings, *, block: bool = False) -> list[str]:
    """All options in the order in which they are set; an unset server-wide list counts as one empty option.

    `block` adds those of hosting volumes.
    """
    return [
        *settings.pre_request_volume_options.split(","),
        *(settings.block_hosting_volume_options.split(",") if block else ()),
        *requested,
        *settings.post_request_volume_options.split(","),
    ]


def _option(options: Iterable[str], name: str) -> str:
    """The value of an option; its last occurrence wins, the key ends at the first space."""
    found = ""
    for option in options:
        key, _, value = option.partition(" ")
        if key == name:
            found = value
    return found


def placement_rules(
    durability: Durability, snapshot_factor: float, options: Iterable[str], settings: ProvisioningSettings
) -> PlacementRules:
    """What a volume's options and the server's settings ask of the placement."""
    options = list(options)
    zone_checking = _option(options, "user.heketi.zone-checking") or settings.zone_checking
    average_kib = _option(options, "user.heketi.average-file-size")
    # Heketi reads 64 bits. What is larger than any brick is refused for that, whatever it is exactly.
    known = average_kib.isascii() and average_kib.isdigit() and int(average_kib) < 2**64
    average_bytes = min(int(average_kib) * KIB, _LARGEST_INT64) if known else 0
    return PlacementRules(
        durability=durability,
        snapshot_factor=snapshot_factor,
        zone_rule=ZONE_RULE_STRICT if zone_checking == "strict" else ZONE_RULE_NONE,
        tag_rule=_option(options, "user.heketi.device-tag-match"),
        arbiter=_option(options, "user.heketi.arbiter") in _TRUE,
        average_file_size_bytes=average_bytes or settings.average_file_size_bytes,
        brick_limits=BrickLimits(
            min_brick_size_bytes=settings.brick_min_size_bytes,
            max_brick_size_bytes=settings.brick_max_size_bytes,
            max_bricks_per_volume=settings.max_bricks_per_volume,
        ),
        strategy=settings.strategy,
    )


def named_bricks(
    volume_id: str, plan: PlanVolumeResponse, brick_ids: Iterable[str], *, first_set: int = 0
) -> list[Brick]:
    """The bricks of a plan with their ids, paths and LVM names, named as Heketi names them.

    Args:
        volume_id: The volume that gets them.
        plan: Where they go.
        brick_ids: One id for each.
        first_set: Index of the first brick set: how many the volume has already.
    """
    return [
        Brick(
            id=brick_id,
            volume_id=volume_id,
            device_id=placed.device_id,
            node_id=placed.node_id,
            path=f"{MOUNT_ROOT}/vg_{placed.device_id}/brick_{brick_id}/brick",
            size_bytes=placed.size_bytes,
            thin_pool_size_bytes=placed.thin_pool_size_bytes,
            pool_metadata_size_bytes=placed.pool_metadata_size_bytes,
            thin_pool_name=f"tp_{brick_id}",
            lv_name=f"brick_{brick_id}",
            role=placed.role,
            set_index=first_set + placed.set_index,
            position=placed.position,
        )
        for placed, brick_id in zip(plan.bricks, brick_ids, strict=True)
    ]


def planned_volume(
    volume_id: str, volume: NewVolume, options: Iterable[str], plan: PlanVolumeResponse, brick_ids: Iterable[str]
) -> Volume:
    """The volume as it will be recorded: every brick placed and named as Heketi names them."""
    planned = Volume(
        id=volume_id,
        name=volume.name or f"vol_{volume_id}",
        cluster_id=plan.cluster_id,
        size_bytes=volume.size_bytes,
        durability=volume.durability,
        gid=volume.gid,
        options=options,
        block=volume.block,
        snapshot_enabled=volume.snapshot_enabled,
        snapshot_factor=volume.snapshot_factor if volume.snapshot_enabled else 1.0,
        bricks=named_bricks(volume_id, plan, brick_ids),
    )
    if planned.durability.type == DURABILITY_TYPE_UNSPECIFIED:
        planned.durability.type = DURABILITY_TYPE_NONE
    return planned


def fingerprint(kind: str, request: object) -> str:
    """Digest of what a client asked for, to tell a repeated request from a reused id. `request` has a stable repr."""
    return hashlib.sha256(f"{kind}:{request!r}".encode()).hexdigest()
