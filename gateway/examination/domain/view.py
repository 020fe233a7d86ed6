"""The scene by keys, as all checks need it. Pure."""

import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cached_property

from gateway.examination.domain.kinds import Kind, Verb
from gateway.examination.domain.model import (
    BookedBrick,
    BookedDevice,
    BookedNode,
    BookedVolume,
    Finding,
    Scene,
    SeenNode,
    SeenVolume,
    Subject,
    group_name,
    plain_path,
)

OUR_GROUP = re.compile(r"vg_([0-9a-f]{32})")
OUR_BRICK = re.compile(r"brick_([0-9a-f]{32})")
OUR_POOL = re.compile(r"tp_([0-9a-f]{32})")
# What gluster calls the LVs of snapshots and copies.
COPY = re.compile(r"([0-9a-f]{32})_[0-9]+")
_STEM_IN_PATH = re.compile(r"/([0-9a-f]{32})/")


class View:
    """One scene, indexed; it counts what is compared and what is left out.

    Args:
        scene: All that is compared.
    """

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.nodes = {node.id: node for node in scene.books.nodes}
        self.compared: set[str] = set()
        self.left_out: set[str] = set()

    def seen(self, node_id: str) -> SeenNode:
        """What a node's agent sees."""
        return self.scene.seen[node_id]

    def answers(self, node_id: str) -> bool:
        """Whether a node's agent answered."""
        return node_id in self.scene.seen and not self.seen(node_id).silence

    def busy(self, *ids: str) -> bool:
        """Whether an operation may be changing any of these; then the first is noted as left out."""
        if not self.scene.in_flight.ids.isdisjoint(ids):
            self.left_out.add(ids[0])
            return True
        return False

    def brick_busy(self, brick: BookedBrick) -> bool:
        """Whether an operation may be changing a brick."""
        held = brick.held or self._volume_held.get(brick.volume_id, False)
        if held:
            self.left_out.add(brick.id)
        return held or self.busy(brick.id, brick.volume_id)

    def volume_busy(self, volume: BookedVolume) -> bool:
        """Whether an operation may be changing a volume."""
        if volume.held:
            self.left_out.add(volume.id)
        return volume.held or self.busy(volume.id)

    @cached_property
    def _volume_held(self) -> dict[str, bool]:
        return {volume.id: volume.held for volume in self.scene.books.volumes}

    @cached_property
    def devices_of(self) -> dict[str, list[BookedDevice]]:
        """Devices by node."""
        found: dict[str, list[BookedDevice]] = defaultdict(list)
        for device in self.scene.books.devices:
            found[device.node_id].append(device)
        return found

    @cached_property
    def bricks_on(self) -> dict[str, list[BookedBrick]]:
        """Bricks by device."""
        found: dict[str, list[BookedBrick]] = defaultdict(list)
        for brick in self.scene.books.bricks:
            found[brick.device_id].append(brick)
        return found

    @cached_property
    def known_lvs(self) -> frozenset[tuple[str, str]]:
        """Group and name of the LV of every brick."""
        return frozenset((group_name(brick.device_id), brick.lv_name) for brick in self.scene.books.bricks)

    @cached_property
    def seen_lvs(self) -> dict[str, frozenset[tuple[str, str]]]:
        """Group and name of every LV that a node sees, by node."""
        return {node_id: frozenset((lv.group, lv.name) for lv in self.seen(node_id).lvs) for node_id in self.scene.seen}

    @cached_property
    def bricks_of(self) -> dict[str, list[BookedBrick]]:
        """Bricks by volume, in gluster's order."""
        found: dict[str, list[BookedBrick]] = defaultdict(list)
        for brick in sorted(self.scene.books.bricks, key=lambda each: (each.set_index, each.position)):
            found[brick.volume_id].append(brick)
        return found

    @cached_property
    def volumes(self) -> dict[str, BookedVolume]:
        """Volumes by id, of all clusters."""
        return {volume.id: volume for volume in self.scene.books.volumes}

    @cached_property
    def node_of_host(self) -> dict[tuple[str, str], str]:
        """Node ids by cluster and storage host name."""
        return {(node.cluster_id, name): node.id for node in self.nodes.values() for name in node.storage_hostnames}

    def members(self, cluster_id: str) -> list[BookedNode]:
        """The nodes of a cluster that are not being added or removed."""
        return [node for node in self.nodes.values() if node.cluster_id == cluster_id and not node.held]

    def gluster_volumes(self, cluster_id: str) -> Iterator[SeenVolume]:
        """Every gluster volume, as each node of the cluster describes it."""
        for node in self.members(cluster_id):
            yield from self.seen(node.id).volumes or ()

    @cached_property
    def _named(self) -> dict[str, dict[str, SeenVolume]]:
        return {
            node_id: {volume.name: volume for volume in seen.volumes or ()} for node_id, seen in self.scene.seen.items()
        }

    def named(self, node_id: str, name: str) -> SeenVolume | None:
        """The gluster volume of a name, as a node describes it."""
        return self._named[node_id].get(name)

    @cached_property
    def _used(self) -> dict[str, set[tuple[str, str]]]:
        # Every node tells of the same bricks, so each is looked at once only.
        bricks: dict[str, set[str]] = {node.cluster_id: set() for node in self.nodes.values()}
        for node in self.nodes.values():
            for volume in self.seen(node.id).volumes or ():
                bricks[node.cluster_id].update(volume.bricks)
        return {cluster: {self.place(cluster, brick) for brick in found} for cluster, found in bricks.items()}

    def place(self, cluster_id: str, brick: str) -> tuple[str, str]:
        """Node id and path of a "host:/path"; the host itself when it is no node of the cluster."""
        host, _, path = brick.partition(":/")
        return self.node_of_host.get((cluster_id, host), host), plain_path(f"/{path}")

    def in_gluster(self, cluster_id: str, node_id: str, path: str) -> bool:
        """Whether any gluster volume has this directory of a node as a brick."""
        return (node_id, plain_path(path)) in self._used[cluster_id]

    @cached_property
    def _used_stems(self) -> dict[str, set[str]]:
        stems: dict[str, set[str]] = defaultdict(set)
        for node in self.nodes.values():
            seen = self.seen(node.id)
            stems[node.cluster_id] |= {snapshot.volume for snapshot in seen.snapshots}
            for volume in seen.volumes or ():
                stems[node.cluster_id].add(volume.uuid.replace("-", ""))
                # A volume that was restored from a snapshot goes on with that one's LVs.
                stems[node.cluster_id] |= {stem for brick in volume.bricks for stem in _STEM_IN_PATH.findall(brick)}
        return stems

    def stem_used(self, cluster_id: str, stem: str) -> bool:
        """Whether a gluster volume or snapshot has LVs whose names begin so."""
        return stem in self._used_stems[cluster_id]

    def gluster_known(self, node_id: str) -> bool:
        """Whether a node told its gluster volumes."""
        return self.answers(node_id) and self.seen(node_id).volumes is not None

    def on(
        self,
        node: BookedNode,
        kind: Kind,
        what: str,
        message: str,
        *,
        advice: str = "",
        repair: Verb | None = None,
        subject: Subject | None = None,
    ) -> Finding:
        """A finding on a node."""
        return Finding(
            kind=kind,
            cluster_id=node.cluster_id,
            node_id=node.id,
            hostname=node.hostname,
            object=what,
            message=message,
            advice=advice,
            repair=repair,
            subject=subject or Subject(),
        )
