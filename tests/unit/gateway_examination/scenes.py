"""Scenes in which records and nodes agree, and changes of one thing in them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from gateway.examination.domain.model import (
    BookedBrick,
    BookedDevice,
    BookedNode,
    BookedVolume,
    Books,
    InFlight,
    Scene,
    SeenGroup,
    SeenLv,
    SeenMount,
    SeenNode,
    SeenPeer,
    SeenVolume,
    mapper_path,
)

GIB = 1 << 30
MIB = 1 << 20
TOTAL = 100 * GIB
METADATA = 8 * MIB
CLUSTER = "c" * 32
ROOT = "/var/lib/heketi/mounts"


def number(prefix: str, count: int) -> str:
    """An id that can be told from others in a failure's text."""
    return f"{prefix}{count:0{32 - len(prefix)}x}"


def brick_of(volume: int, node: int, set_index: int, position: int, *, size: int = GIB) -> BookedBrick:
    brick_id = number("b", volume * 10_000 + set_index * 100 + position)
    device = number("d", node)
    return BookedBrick(
        id=brick_id,
        volume_id=number("a", volume),
        device_id=device,
        node_id=number("e", node),
        path=f"{ROOT}/vg_{device}/brick_{brick_id}/brick",
        pool_name=f"tp_{brick_id}",
        lv_name=f"brick_{brick_id}",
        pool_bytes=size,
        metadata_bytes=METADATA,
        set_index=set_index,
        position=position,
    )


def copy_of(brick: BookedBrick, volume: int, uuid: str) -> BookedBrick:
    """The brick of a clone, in the same thin pool."""
    stem = uuid.replace("-", "")
    return replace(
        brick,
        id=number("f", volume * 100 + brick.position),
        volume_id=number("a", volume),
        path=f"/var/run/gluster/snaps/{stem}/brick{brick.position + 1}/brick",
        lv_name=f"{stem}_0",
    )


def agreeing(*, nodes: int = 3, volumes: int = 1, sets: int = 1, clones: int = 0, unattributed: int = 0) -> Scene:
    """A cluster of nodes with one device each, volumes of 3 copies, and clones of the first volume."""
    bricks = [
        brick_of(volume, (set_index + position) % nodes, set_index, position)
        for volume in range(volumes)
        for set_index in range(sets)
        for position in range(3)
    ]
    originals = [brick for brick in bricks if brick.volume_id == number("a", 0)]
    uuids = {volume: f"{volume:08x}-0000-4000-8000-000000000000" for volume in range(volumes + clones)}
    for clone in range(volumes, volumes + clones):
        bricks += [copy_of(brick, clone, uuids[clone]) for brick in originals if brick.set_index == 0]
    books = Books(
        nodes=tuple(
            BookedNode(
                id=number("e", each), cluster_id=CLUSTER, hostname=f"node{each}", storage_hostnames=(f"10.0.0.{each}",)
            )
            for each in range(nodes)
        ),
        devices=tuple(
            BookedDevice(
                id=number("d", each),
                node_id=number("e", each),
                path="/dev/sdb",
                total_bytes=TOTAL,
                unattributed_bytes=unattributed,
                pv_uuid=f"pv{each}",
            )
            for each in range(nodes)
        ),
        volumes=tuple(
            BookedVolume(
                id=number("a", each), cluster_id=CLUSTER, name=f"vol{each}", set_size=3, options=("", "x.y on")
            )
            for each in range(volumes + clones)
        ),
        bricks=tuple(bricks),
    )
    gluster = tuple(
        SeenVolume(
            name=volume.name,
            uuid=uuids[index],
            volume_id=volume.id,
            started=True,
            never_started=False,
            bricks=tuple(
                f"10.0.0.{int(brick.node_id[1:], 16)}:{brick.path}" for brick in bricks if brick.volume_id == volume.id
            ),
            options={"x.y": "on", "user.heketi.id": volume.id},
        )
        for index, volume in enumerate(books.volumes)
    )
    seen = {node.id: _seen(node, books, gluster, unattributed) for node in books.nodes}
    return Scene(books=books, in_flight=InFlight(), seen=seen)


def _seen(node: BookedNode, books: Books, gluster: tuple[SeenVolume, ...], unattributed: int) -> SeenNode:
    mine = [brick for brick in books.bricks if brick.node_id == node.id]
    group = f"vg_d{node.id[1:]}"
    pools = {brick.pool_name: brick for brick in mine}
    taken = sum(brick.pool_bytes + brick.metadata_bytes for brick in pools.values())
    return SeenNode(
        groups=(
            SeenGroup(
                name=group,
                total_bytes=TOTAL,
                free_bytes=TOTAL - taken - unattributed,
                pv_uuid=f"pv{int(node.id[1:], 16)}",
            ),
        ),
        lvs=(
            *(
                SeenLv(
                    group=group,
                    name=name,
                    size_bytes=brick.pool_bytes,
                    is_pool=True,
                    metadata_bytes=brick.metadata_bytes,
                )
                for name, brick in pools.items()
            ),
            *(SeenLv(group=group, name=each.lv_name, size_bytes=each.pool_bytes, pool=each.pool_name) for each in mine),
        ),
        mounts=tuple(SeenMount(brick.device, brick.mount_point) for brick in mine),
        fstab=tuple(SeenMount(brick.device, brick.mount_point) for brick in mine if not brick.is_copy),
        peer_uuid=f"peer-{node.id}",
        peers=tuple(
            SeenPeer(f"peer-{other.id}", other.storage_hostnames[0], connected=True)
            for other in books.nodes
            if other.id != node.id
        ),
        volumes=gluster,
    )


def on_node(scene: Scene, node: int, change: Callable[[SeenNode], SeenNode]) -> Scene:
    """The scene with what one node sees changed."""
    node_id = number("e", node)
    return replace(scene, seen={**scene.seen, node_id: change(scene.seen[node_id])})


def on_all(scene: Scene, change: Callable[[SeenNode], SeenNode]) -> Scene:
    """The scene with what every node sees changed."""
    return replace(scene, seen={node_id: change(seen) for node_id, seen in scene.seen.items()})


def with_volume(scene: Scene, index: int, **values: Any) -> Scene:
    """The scene with a gluster volume changed on all nodes."""

    def change(seen: SeenNode) -> SeenNode:
        if seen.volumes is None:
            return seen
        volumes = list(seen.volumes)
        volumes[index] = replace(volumes[index], **values)
        return replace(seen, volumes=tuple(volumes))

    return on_all(scene, change)


def without_lvs(scene: Scene, *bricks: BookedBrick) -> Scene:
    """The scene without LV, pool, mount and entry of bricks, and with their space free."""
    for brick in bricks:

        def change(seen: SeenNode, brick: BookedBrick = brick) -> SeenNode:
            group = seen.groups[0]
            freed = sum(lv.taken_bytes for lv in seen.lvs if lv.name == brick.pool_name)
            return replace(
                seen,
                groups=(replace(group, free_bytes=group.free_bytes + freed),),
                lvs=tuple(lv for lv in seen.lvs if lv.name not in {brick.lv_name, brick.pool_name}),
                mounts=tuple(each for each in seen.mounts if each.mount_point != brick.mount_point),
                fstab=tuple(each for each in seen.fstab if each.mount_point != brick.mount_point),
            )

        scene = on_node(scene, int(brick.node_id[1:], 16), change)
    return scene


def without_volume(scene: Scene, name: str) -> Scene:
    """The scene without a gluster volume."""
    return on_all(
        scene,
        lambda seen: (
            seen
            if seen.volumes is None
            else replace(seen, volumes=tuple(each for each in seen.volumes if each.name != name))
        ),
    )


def with_orphan(scene: Scene, node: int, *, name: str = "", pool: str = "", size: int = GIB) -> Scene:
    """The scene with a brick that nobody knows on a node: LV, pool, mount and entry."""
    orphan = number("9", 7)
    lv_name, pool_name = name or f"brick_{orphan}", pool or f"tp_{orphan}"

    def change(seen: SeenNode) -> SeenNode:
        group = seen.groups[0]
        mount = SeenMount(mapper_path(group.name, lv_name), f"{ROOT}/{group.name}/{lv_name}")
        return replace(
            seen,
            groups=(replace(group, free_bytes=group.free_bytes - size - METADATA),),
            lvs=(
                *seen.lvs,
                SeenLv(group=group.name, name=pool_name, size_bytes=size, is_pool=True, metadata_bytes=METADATA),
                SeenLv(group=group.name, name=lv_name, size_bytes=size, pool=pool_name),
            ),
            mounts=(*seen.mounts, mount),
            fstab=(*seen.fstab, mount),
        )

    return on_node(scene, node, change)
