"""Limits and defaults that shape volumes, named after Heketi's configuration keys."""

from dataclasses import dataclass

from services.common.units import GIB, KIB, TIB


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvisioningSettings:
    """What shapes volumes. The defaults are Heketi's.

    Attributes:
        brick_max_size_bytes: Largest data brick.
        brick_min_size_bytes: Smallest data brick.
        max_bricks_per_volume: Bricks of one volume.
        max_volumes_per_cluster: Volumes of one cluster, 0 = no limit.
        average_file_size_bytes: For the size of arbiter bricks.
        zone_checking: "none" or "strict", when the volume's options do not say.
        rebalance_on_expansion: Whether data is moved onto the new bricks of a volume that was made larger.
        strategy: Name of the placement strategy; empty = the allocator's default.
        pre_request_volume_options: Gluster options set before a request's own, comma separated.
        post_request_volume_options: Gluster options set after a request's own, comma separated.
        auto_create_block_hosting_volume: Whether a hosting volume is made when a block volume finds no room.
        block_hosting_volume_size_bytes: Size of such a volume, a multiple of 1 GiB.
        block_hosting_volume_options: Gluster options of all hosting volumes, comma separated.
        block_prealloc: Whether the space of a block volume is taken at once: "full" or "no".
    """

    brick_max_size_bytes: int = 4 * TIB
    brick_min_size_bytes: int = GIB
    max_bricks_per_volume: int = 32
    max_volumes_per_cluster: int = 1000
    average_file_size_bytes: int = 64 * KIB
    zone_checking: str = "none"
    rebalance_on_expansion: bool = True
    strategy: str = ""
    pre_request_volume_options: str = ""
    post_request_volume_options: str = ""
    auto_create_block_hosting_volume: bool = False
    block_hosting_volume_size_bytes: int = 1024 * GIB
    block_hosting_volume_options: str = "group gluster-block"
    block_prealloc: str = "full"
