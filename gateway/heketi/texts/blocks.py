"""Heketi's reasons about block volumes and what hosts them; sizes in GiB. Pure. Their mapping is in `errors`."""

from services.common.errors import BrickyardError
from services.common.reasons import Reason
from services.common.units import GIB

_DISABLED = "Block Hosting Volume Creation is disabled. Create a Block hosting volume and try again."
_FEW_HOSTS = "insufficient block hosts online"


def _gib(error: BrickyardError, key: str) -> int:
    return int(error.metadata[key]) // GIB


def create_reason(error: BrickyardError) -> str | None:
    """Heketi's line for why a block volume can not be made; None where it has the same as for volumes."""
    known = error.metadata.keys()
    if (
        error.reason is Reason.BLOCK_HOSTING_TOO_SMALL
        and {
            "size_bytes",
            "hosting_size_bytes",
            "available_bytes",
        }
        <= known
    ):
        return (
            "The size configured for automatic creation of block hosting volumes "
            f"({_gib(error, 'hosting_size_bytes')}) is too small to host the requested block volume of size "
            f"{_gib(error, 'size_bytes')}. The available size on this block hosting volume, minus overhead, is "
            f"{_gib(error, 'available_bytes')}. Please create a sufficiently large block hosting volume manually."
        )
    if error.reason is Reason.BLOCK_HOSTING_DISABLED:
        return _DISABLED
    if error.reason in {Reason.INSUFFICIENT_BLOCK_HOSTS, Reason.GLUSTER_BLOCK_NOT_INSTALLED}:
        return _FEW_HOSTS
    return None


def expand_reason(error: BrickyardError) -> str | None:
    """Heketi's line for why a block volume can not grow; None where it has the same as for volumes."""
    if error.reason is Reason.BLOCK_SIZE_NOT_LARGER and {"size_bytes", "new_size_bytes"} <= error.metadata.keys():
        new, size = _gib(error, "new_size_bytes"), _gib(error, "size_bytes")
        if new == size:
            return f"Requested new-size {new} is same as current block volume size {size}, nothing to be done."
        return f"Requested new-size {new} is less than current block volume size {size}, shrinking is not allowed."
    return None


def restriction_reason(error: BrickyardError) -> str:
    """Heketi's line for why a restriction can not be set."""
    if error.reason is Reason.BLOCK_RESERVE_MISSING and {"needed_bytes", "free_bytes"} <= error.metadata.keys():
        needed, free = _gib(error, "needed_bytes"), _gib(error, "free_bytes")
        return f"Can not unlock volume. {needed}GiB free space is required, but found {free}GiB"
    return error.message
