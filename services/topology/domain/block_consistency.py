"""Whether the books of block volumes and of what hosts them agree. Pure; see `consistency` for the rest."""

from collections import Counter, defaultdict
from collections.abc import Iterator

from services.topology.domain.model import VolumeState
from services.topology.domain.stored import Books


def block_violations(books: Books) -> Iterator[str]:
    """Every violated invariant, as a sentence with the ids."""
    yield from _hostings(books)
    yield from _block_volumes(books)
    yield from _names_and_iqns(books)


def _hostings(books: Books) -> Iterator[str]:
    volumes = {volume.id: volume for volume in books.volumes}
    hostings = {hosting.volume_id for hosting in books.block_hostings}
    taken: dict[str, int] = defaultdict(int)
    for block in books.block_volumes:
        taken[block.hosting_volume_id] += block.size_bytes + block.growing_bytes
    for volume in books.volumes:
        if volume.block and volume.id not in hostings:
            yield f"volume {volume.id} hosts block volumes and has no books of them"
    for hosting in books.block_hostings:
        host = volumes.get(hosting.volume_id)
        if host is None:
            yield f"there are books of block volumes for the unknown volume {hosting.volume_id}"
            continue
        if not host.block:
            yield f"volume {host.id} has books of block volumes and hosts none"
        if min(hosting.free_bytes, hosting.reserved_bytes) < 0:
            yield f"hosting volume {host.id} has a negative size"
        parts = hosting.free_bytes + hosting.reserved_bytes + taken[host.id]
        if parts != host.size_bytes:
            yield (
                f"hosting volume {host.id} has {host.size_bytes} bytes; {hosting.free_bytes} free, "
                f"{hosting.reserved_bytes} reserved and {taken[host.id]} of block volumes make {parts}"
            )


def _block_volumes(books: Books) -> Iterator[str]:
    volumes = {volume.id: volume for volume in books.volumes}
    hostings = {hosting.volume_id for hosting in books.block_hostings}
    for block in books.block_volumes:
        host = volumes.get(block.hosting_volume_id)
        if host is None or block.hosting_volume_id not in hostings:
            yield f"block volume {block.id} is in {block.hosting_volume_id}, which is no hosting volume"
        else:
            if host.cluster_id != block.cluster_id:
                yield f"block volume {block.id} is of cluster {block.cluster_id}, its host of {host.cluster_id}"
            made_together = (block.state, block.operation_id) == (host.state, host.operation_id)
            if host.state != VolumeState.ACTIVE and not (host.state == VolumeState.CREATING and made_together):
                yield f"block volume {block.id} is {block.state} in volume {host.id}, which is {host.state}"
        if not 0 < block.usable_size_bytes <= block.size_bytes or block.growing_bytes < 0:
            yield (
                f"block volume {block.id} has {block.size_bytes} bytes, of which {block.usable_size_bytes} are usable, "
                f"and grows by {block.growing_bytes}"
            )
        # Of one that a Heketi was making the hosts may not be chosen.
        chosen = bool(block.hosts) or block.state != VolumeState.CREATING
        if chosen and block.ha_count != len(set(block.hosts)):
            yield f"block volume {block.id} is to be exported by {block.ha_count} hosts and names {len(block.hosts)}"
        if block.state != VolumeState.CREATING and not block.iqn:
            yield f"block volume {block.id} is {block.state} and has no IQN"


def _names_and_iqns(books: Books) -> Iterator[str]:
    names = Counter((block.hosting_volume_id, block.name) for block in books.block_volumes)
    for (volume_id, name), count in sorted(names.items()):
        if count > 1:
            yield f"hosting volume {volume_id} has more than one block volume with the name {name}"
    iqns = Counter(block.iqn for block in books.block_volumes if block.iqn)
    for iqn, count in sorted(iqns.items()):
        if count > 1:
            yield f"more than one block volume has the IQN {iqn}"
