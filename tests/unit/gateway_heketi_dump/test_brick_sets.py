"""Sets are found whenever they can be, and keep all rules."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.heketi.dump.brick_sets import arranged
from gateway.heketi.dump.model import Brick, SubType


def brick(index: int, node: int, size: int = 1, *, arbiter: bool = False) -> Brick:
    return Brick(
        id=f"{index:04}",
        path="/p",
        device_id=f"d{node}",
        node_id=f"n{node}",
        volume_id="v",
        size_kib=size,
        pool_size_kib=size,
        pool_metadata_kib=1,
        sub_type=SubType.ARBITER if arbiter else SubType.NORMAL,
    )


@st.composite
def layouts(draw: st.DrawFn) -> tuple[list[Brick], int]:
    """Bricks of whole sets as gluster may have them, shuffled."""
    set_size = draw(st.integers(1, 4))
    nodes = draw(st.integers(set_size, 6))
    with_arbiter = set_size == 3 and draw(st.booleans())
    found: list[Brick] = []
    for _ in range(draw(st.integers(1, 6))):
        size = draw(st.integers(2, 3))
        chosen = draw(st.permutations(range(nodes)))[:set_size]
        for position, node in enumerate(chosen):
            arbiter = with_arbiter and position == set_size - 1
            found.append(brick(len(found), node, 1 if arbiter else size, arbiter=arbiter))
    return draw(st.permutations(found)), set_size


@given(layouts())
def test_an_order_is_found_and_keeps_the_rules(layout: tuple[list[Brick], int]) -> None:
    bricks, set_size = layout
    order = arranged(bricks, set_size)
    # With arbiters the data bricks are dealt out first, which may leave none for an arbiter although there is one.
    if order is None:
        assert any(each.sub_type == SubType.ARBITER for each in bricks)
        return
    assert sorted(each.id for each in order) == sorted(each.id for each in bricks)
    for first in range(0, len(order), set_size):
        members = order[first : first + set_size]
        assert len({each.node_id for each in members}) == set_size
        assert len({each.size_kib for each in members if each.sub_type != SubType.ARBITER}) == 1
        assert all(each.sub_type != SubType.ARBITER for each in members[:-1])


def test_what_can_be_no_sets() -> None:
    assert arranged([], 3) is None
    assert arranged([brick(1, 1), brick(2, 2)], 3) is None
    assert arranged([brick(1, 1), brick(2, 1)], 2) is None
    assert arranged([brick(1, 1, 1), brick(2, 2, 2)], 2) is None
    assert arranged([brick(1, 1), brick(2, 2), brick(3, 2, arbiter=True)], 3) is None
