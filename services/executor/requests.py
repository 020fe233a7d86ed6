"""Requests as the verbs want them: names derived and checked, bricks as gluster writes them. Pure."""

from collections.abc import Sequence

from brickyard.executor.v1 import executor_service_pb2 as messages
from brickyard.topology.v1 import volume_pb2
from services.common.errors import InvalidArgumentError
from services.common.reasons import Reason
from services.executor.clones import CloneSpec
from services.executor.gluster import commands as gluster
from services.executor.gluster.snapshots import path_of
from services.executor.growth import GrowthSpec
from services.executor.policy import (
    BrickSpec,
    NodePolicy,
    check_brick_path,
    check_hostname,
    check_volume_id,
    check_volume_name,
)
from services.executor.replacement import ReplacementSpec
from services.executor.volumes import VolumeSpec

# Bricks per set when the request does not say, as Heketi.
_DEFAULT_COPIES = 2
_MOST_COPIES = 3
_MAX_FACT_AGE_S = 300.0


def fact_age_s(request: messages.GetNodeFactsRequest) -> float:
    """How old the facts may be, in seconds. Raises InvalidArgumentError."""
    # Its parts may have signs of their own, whatever a Duration should be.
    seconds = request.max_age.seconds + request.max_age.nanos / 1e9
    if not 0 <= seconds <= _MAX_FACT_AGE_S:
        raise InvalidArgumentError(
            Reason.INVALID_ARGUMENT,
            f"max_age: {seconds:g} s is not 0 to {_MAX_FACT_AGE_S:g} s",
            field="max_age",
            value=seconds,
        )
    return seconds


def brick_spec(policy: NodePolicy, brick: volume_pb2.Brick, *, gid: int) -> BrickSpec:
    """A brick, with the names that its ids give it.

    Raises:
        InvalidArgumentError: A value is malformed or does not belong to the ids.
    """
    return policy.brick(
        brick_id=brick.id,
        device_id=brick.device_id,
        lv_name=brick.lv_name,
        pool_name=brick.thin_pool_name,
        path=brick.path,
        size_bytes=brick.size_bytes,
        pool_bytes=brick.thin_pool_size_bytes,
        metadata_bytes=brick.pool_metadata_size_bytes,
        arbiter=brick.role == volume_pb2.BRICK_ROLE_ARBITER,
        gid=gid,
    )


def volume_spec(policy: NodePolicy, request: messages.CreateVolumeRequest) -> VolumeSpec:
    """A volume to be made.

    Raises:
        InvalidArgumentError: A name, an id, an option or the redundancy is malformed, or a brick set is not whole.
        FailedPreconditionError: GLUSTER_OPTION_NOT_ALLOWED.
    """
    layout = _layout(request.durability, arbiter=request.arbiter)
    return VolumeSpec(
        volume_id=check_volume_id(request.volume_id),
        name=check_volume_name(request.name),
        layout=layout,
        bricks=_brick_sets(request.bricks, layout),
        options=tuple(policy.check_options(request.options)),
    )


def growth_spec(request: messages.AddBricksRequest | messages.RemoveBricksRequest, *, arbiter: bool) -> GrowthSpec:
    """Brick sets of a volume that is there.

    Raises:
        InvalidArgumentError: A name, an id or the redundancy is malformed, or a brick set is not whole.
    """
    layout = _layout(request.durability, arbiter=arbiter)
    return GrowthSpec(
        name=check_volume_name(request.name),
        volume_id=check_volume_id(request.volume_id),
        layout=layout,
        bricks=_brick_sets(request.bricks, layout),
        known=tuple(brick_text(brick) for brick in request.known_bricks),
    )


def replacement_spec(
    policy: NodePolicy, request: messages.ReplaceBrickRequest | messages.SettleReplacementRequest
) -> ReplacementSpec:
    """A brick that is to take the place of another one.

    Raises:
        InvalidArgumentError: A name or an id is malformed, or the two descriptions of the brick do not agree.
    """
    brick = brick_spec(policy, request.brick, gid=0)
    if request.new_brick.path != brick.path:
        raise InvalidArgumentError(
            Reason.INVALID_ARGUMENT,
            f"new_brick.path: {request.new_brick.path!r} is not {brick.path}",
            field="new_brick",
        )
    return ReplacementSpec(
        name=check_volume_name(request.name),
        volume_id=check_volume_id(request.volume_id),
        new=brick_text(request.new_brick),
        brick=brick,
    )


def clone_spec(request: messages.CloneVolumeRequest) -> CloneSpec:
    """A copy of a volume.

    Raises:
        InvalidArgumentError: A name or an id is malformed, or source and copy are to have the same.
    """
    if request.name == request.source_name or request.volume_id == request.source_volume_id:
        raise InvalidArgumentError(
            Reason.INVALID_ARGUMENT, "name and volume_id: a copy needs others than its source", field="name"
        )
    return CloneSpec(
        source_name=check_volume_name(request.source_name),
        source_id=check_volume_id(request.source_volume_id),
        name=check_volume_name(request.name),
        volume_id=check_volume_id(request.volume_id),
        source_bricks=tuple(brick_text(brick) for brick in request.source_bricks),
    )


def _brick_sets(bricks: Sequence[messages.GlusterBrick], layout: gluster.VolumeLayout) -> tuple[str, ...]:
    if not bricks or len(bricks) % layout.set_size:
        raise InvalidArgumentError(
            Reason.INVALID_ARGUMENT,
            f"bricks: {len(bricks)} are not a multiple of {layout.set_size}",
            field="bricks",
            count=len(bricks),
        )
    return tuple(brick_text(brick) for brick in bricks)


def brick_text(brick: messages.GlusterBrick) -> str:
    """A brick as "host:/path".

    Raises:
        InvalidArgumentError: Host name or path is malformed.
    """
    return f"{check_hostname(brick.hostname)}:{check_brick_path(brick.path)}"


def brick_message(brick: str) -> messages.GlusterBrick:
    """A "host:/path" as a message."""
    path = path_of(brick)
    return messages.GlusterBrick(hostname=brick.removesuffix(f":{path}"), path=path)


def _layout(durability: volume_pb2.Durability, *, arbiter: bool) -> gluster.VolumeLayout:
    kind = durability.type
    if kind == volume_pb2.DURABILITY_TYPE_NONE:
        return gluster.DISTRIBUTED
    if kind == volume_pb2.DURABILITY_TYPE_REPLICATE:
        copies = durability.replica_count or _DEFAULT_COPIES
        if copies == 1 and not arbiter:
            # gluster refuses "replica 1"; one copy is what a distributed volume has.
            return gluster.DISTRIBUTED
        if 1 < copies <= _MOST_COPIES and (not arbiter or copies == _MOST_COPIES):
            return gluster.replicated(copies, arbiter=arbiter)
    if (
        kind == volume_pb2.DURABILITY_TYPE_DISPERSE
        and 1 <= durability.redundancy_count < durability.data_count <= 1 << 8
    ):
        return gluster.dispersed(durability.data_count, durability.redundancy_count)
    raise InvalidArgumentError(
        Reason.INVALID_ARGUMENT, "durability: type and counts do not make a volume", field="durability"
    )
