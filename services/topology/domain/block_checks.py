"""Whether a request about block volumes makes sense by itself, whatever the state. Pure."""

from services.common.units import GIB
from services.topology.domain.checks import (
    MAX_HOSTNAME_LENGTH,
    check_id,
    check_text,
    check_volume_name,
    invalid,
)
from services.topology.domain.model import NewBlockVolume, NewVolume

# iSCSI allows 223 bytes for a name.
MAX_IQN_LENGTH = 223
MAX_SECRET_LENGTH = 255
MAX_LUN = 2**14 - 1


def check_block_size(field: str, size_bytes: int) -> None:
    """Raises InvalidArgumentError unless it is a positive multiple of 1 GiB."""
    if size_bytes <= 0 or size_bytes % GIB:
        raise invalid(field, size_bytes, "must be a positive multiple of 1 GiB")


def check_new_block_volume(volume: NewBlockVolume, *, with_hosts: bool = True) -> None:
    """Raises InvalidArgumentError for a block volume that can not be one; `with_hosts` when it must have hosts."""
    check_id("block_volume.id", volume.id)
    check_id("block_volume.cluster_id", volume.cluster_id)
    check_id("block_volume.hosting_volume_id", volume.hosting_volume_id)
    check_volume_name("block_volume.name", volume.name)
    check_block_size("block_volume.size_bytes", volume.size_bytes)
    if with_hosts and not volume.hosts:
        raise invalid("block_volume.hosts", [], "must not be empty")
    for host in volume.hosts:
        check_text("block_volume.hosts", host, MAX_HOSTNAME_LENGTH)
    if len(set(volume.hosts)) != len(volume.hosts):
        raise invalid("block_volume.hosts", volume.hosts, "name a host twice")


def check_hosted_together(volume: NewBlockVolume, hosting: NewVolume) -> None:
    """Raises InvalidArgumentError unless the hosting volume to make is the one of the block volume, and fit for it."""
    if hosting.id != volume.hosting_volume_id:
        raise invalid("hosting_volume.id", hosting.id, "is not the hosting volume of the block volume")
    if hosting.cluster_id != volume.cluster_id:
        raise invalid("hosting_volume.cluster_id", hosting.cluster_id, "is not the cluster of the block volume")
    if not hosting.block:
        raise invalid("hosting_volume.block", hosting.block, "must be true")


def check_access(iqn: str, lun: int, username: str, password: str) -> None:
    """Raises InvalidArgumentError for what can not be how a block volume is reached; the password is never told."""
    check_text("block_volume_access.iqn", iqn, MAX_IQN_LENGTH)
    if not 0 <= lun <= MAX_LUN:
        raise invalid("block_volume_access.lun", lun, f"must be 0 to {MAX_LUN}")
    if len(username) > MAX_SECRET_LENGTH or "\0" in username:
        raise invalid("block_volume_access.username", username, f"has more than {MAX_SECRET_LENGTH} characters, or NUL")
    if len(password) > MAX_SECRET_LENGTH or "\0" in password:
        raise invalid("block_volume_access.password", "...", f"has more than {MAX_SECRET_LENGTH} characters, or NUL")
