"""Between block volumes' rows, messages and the values of the domain. Pure."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from brickyard.topology.v1 import block_volume_pb2, volume_pb2
from services.topology.convert import VOLUME_STATES, timestamp
from services.topology.domain.model import BlockRestriction, NewBlockVolume
from services.topology.tables import BlockHostingRow, BlockVolumeRow

_RESTRICTIONS: Mapping[str, volume_pb2.BlockRestriction.ValueType] = MappingProxyType(
    {
        BlockRestriction.NONE: volume_pb2.BLOCK_RESTRICTION_UNSPECIFIED,
        BlockRestriction.LOCKED: volume_pb2.BLOCK_RESTRICTION_LOCKED,
        BlockRestriction.LOCKED_BY_UPDATE: volume_pb2.BLOCK_RESTRICTION_LOCKED_BY_UPDATE,
    }
)


def restriction(number: int) -> BlockRestriction:
    """The restriction that a number stands for; unknown ones stand for one that can not be asked for."""
    for word, candidate in _RESTRICTIONS.items():
        if candidate == number:
            return BlockRestriction(word)
    return BlockRestriction.LOCKED_BY_UPDATE


def block_hosting_message(row: BlockHostingRow, block_volume_ids: Iterable[str]) -> volume_pb2.BlockHosting:
    """What a hosting volume holds."""
    return volume_pb2.BlockHosting(
        free_size_bytes=row.free_bytes,
        reserved_size_bytes=row.reserved_bytes,
        block_volume_ids=block_volume_ids,
        restriction=_RESTRICTIONS[row.restriction],
    )


def block_volume_message(
    row: BlockVolumeRow, hosting_volume_name: str, *, with_password: bool
) -> block_volume_pb2.BlockVolume:
    """A block volume; its password is left out where nobody needs it."""
    return block_volume_pb2.BlockVolume(
        id=row.id,
        name=row.name,
        cluster_id=row.cluster_id,
        hosting_volume_id=row.hosting_volume_id,
        hosting_volume_name=hosting_volume_name,
        size_bytes=row.size_bytes,
        usable_size_bytes=row.usable_size_bytes,
        ha_count=row.ha_count,
        auth=row.auth,
        hosts=row.hosts,
        iqn=row.iqn,
        lun=row.lun,
        username=row.username,
        password=row.password if with_password else "",
        state=VOLUME_STATES[row.state],
        create_time=timestamp(row.create_time_us),
        operation_id=row.operation_id or "",
    )


def new_block_volume(message: block_volume_pb2.BlockVolume) -> NewBlockVolume:
    """The block volume of a CreateBlockVolumeSpec; without a name it is named after its id, as from Heketi."""
    return NewBlockVolume(
        id=message.id,
        name=message.name or f"blockvol_{message.id}",
        cluster_id=message.cluster_id,
        hosting_volume_id=message.hosting_volume_id,
        size_bytes=message.size_bytes,
        auth=message.auth,
        hosts=tuple(message.hosts),
    )
