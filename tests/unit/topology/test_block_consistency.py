"""Each violation of the books of block volumes is named."""

from dataclasses import replace
from typing import Any

import pytest

from services.common.units import GIB
from services.topology.domain.block_consistency import block_violations
from services.topology.domain.stored import BlockHostingFacts, BlockVolumeFacts, Books, VolumeFacts

HOST = VolumeFacts("v1", "c1", "host", "active", None, "replicate", 3, 0, 0, None, size_bytes=10 * GIB, block=True)
HOSTING = BlockHostingFacts("v1", 5 * GIB, GIB)
BLOCK = BlockVolumeFacts("b1", "c1", "v1", "blk", "active", None, 4 * GIB, 4 * GIB, 0, 2, ["h1", "h2"], "iqn1")


SOUND = Books(
    clusters=[],
    nodes=[],
    hostnames=[],
    devices=[],
    volumes=[HOST],
    bricks=[],
    operations=[],
    block_hostings=[HOSTING],
    block_volumes=[BLOCK],
)


def violations(**parts: Any) -> list[str]:
    return list(block_violations(replace(SOUND, **parts)))


def test_sound_books_have_none() -> None:
    assert violations() == []
    growing = BLOCK._replace(growing_bytes=GIB, operation_id="o1")
    assert violations(block_hostings=[HOSTING._replace(free_bytes=4 * GIB)], block_volumes=[growing]) == []
    made_together = (
        [HOST._replace(state="creating", operation_id="o1")],
        [BLOCK._replace(state="creating", operation_id="o1", iqn="")],
    )
    assert violations(volumes=made_together[0], block_volumes=made_together[1]) == []


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({"block_hostings": [HOSTING._replace(free_bytes=4 * GIB)]}, "make 9663676416"),
        ({"block_volumes": []}, "0 of block volumes make"),
        ({"volumes": [HOST._replace(block=False)]}, "has books of block volumes and hosts none"),
        ({"block_hostings": []}, "volume v1 hosts block volumes and has no books of them"),
        ({"volumes": []}, "for the unknown volume v1"),
        ({"block_hostings": [BlockHostingFacts("v1", -GIB, 7 * GIB)]}, "hosting volume v1 has a negative size"),
        ({"block_volumes": [BLOCK._replace(hosting_volume_id="v9")]}, "b1 is in v9, which is no hosting volume"),
        ({"block_volumes": [BLOCK._replace(cluster_id="c9")]}, "b1 is of cluster c9, its host of c1"),
        ({"volumes": [HOST._replace(state="deleting", operation_id="o1")]}, "b1 is active in volume v1"),
        ({"block_volumes": [BLOCK._replace(usable_size_bytes=5 * GIB)]}, "of which 5368709120 are usable"),
        ({"block_volumes": [BLOCK._replace(ha_count=3)]}, "exported by 3 hosts and names 2"),
        ({"block_volumes": [BLOCK._replace(iqn="")]}, "b1 is active and has no IQN"),
    ],
)
def test_each_violation_is_named(parts: dict[str, Any], told: str) -> None:
    assert any(told in each for each in violations(**parts)), violations(**parts)


def test_names_and_iqns_are_unique() -> None:
    twin = BLOCK._replace(id="b2", size_bytes=GIB, usable_size_bytes=GIB)
    found = violations(block_hostings=[HOSTING._replace(free_bytes=4 * GIB)], block_volumes=[BLOCK, twin])
    assert found == [
        "hosting volume v1 has more than one block volume with the name blk",
        "more than one block volume has the IQN iqn1",
    ]
