"""Thin pools that several volumes share: what they take, and what becomes of it."""

from collections import Counter
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.topology.domain.books import DeviceBooks
from services.topology.domain.pools import Pool, pool_space, removal

ACTIVE, CREATING, DELETING = "active", "creating", "deleting"


@dataclass(frozen=True)
class Brick:
    id: str
    state: str = ACTIVE
    device_id: str = "d"
    thin_pool_name: str = "tp"
    thin_pool_size_bytes: int = 9
    pool_metadata_size_bytes: int = 1


@pytest.mark.parametrize(
    ("states", "used", "leaving", "reserved"),
    [
        ([], 0, 0, 0),
        ([CREATING], 0, 0, 10),
        ([ACTIVE], 10, 0, 0),
        ([DELETING], 10, 10, 0),
        ([ACTIVE, ACTIVE], 10, 0, 0),
        ([ACTIVE, CREATING], 10, 0, 0),
        ([ACTIVE, DELETING], 10, 0, 0),
        ([DELETING, DELETING], 10, 10, 0),
        ([DELETING, CREATING], 10, 10, 0),
    ],
)
def test_a_pool_counts_once(states: list[str], used: int, leaving: int, reserved: int) -> None:
    space = pool_space(Brick(str(number), state) for number, state in enumerate(states))
    assert (space.used.get("d", 0), space.leaving.get("d", 0), space.reserved.get("d", 0)) == (used, leaving, reserved)


def test_pools_are_told_apart_by_device_and_name() -> None:
    bricks = [Brick("a"), Brick("b", thin_pool_name="tp2"), Brick("c", device_id="e"), Brick("f", device_id="e")]
    assert pool_space(bricks).used == {"d": 20, "e": 10}


@pytest.mark.parametrize(
    ("others", "reported", "outcome"),
    [
        ([], True, "reclaimed"),
        ([], False, "kept"),
        ([ACTIVE], True, "contradicted"),
        ([ACTIVE], False, ""),
        ([ACTIVE, DELETING], True, "contradicted"),
        ([ACTIVE, CREATING], True, "contradicted"),
        ([ACTIVE, CREATING], False, ""),
        ([DELETING], True, "reclaimed gone"),
        ([DELETING], False, ""),
        ([DELETING, DELETING], True, "reclaimed gone"),
    ],
)
def test_what_becomes_of_a_pool(others: list[str], reported: bool, outcome: str) -> None:
    rest = [Brick(f"o{number}", state) for number, state in enumerate(others)]
    elsewhere = Brick("x", device_id="e")
    result = removal([Brick("b", DELETING)], others=[*rest, elsewhere], reclaimed_brick_ids={"b"} if reported else ())
    assert result.reclaimed == ({"d": 10} if "reclaimed" in outcome else {})
    assert result.kept == ({"d": 10} if "kept" in outcome else {})
    assert list(result.gone) == [Pool("d", "tp")] * ("gone" in outcome)
    assert list(result.contradicted) == [Pool("d", "tp")] * ("contradicted" in outcome)


def test_pools_of_one_device_add_up() -> None:
    bricks = [Brick("a"), Brick("b", thin_pool_name="tp2"), Brick("c", thin_pool_name="tp3")]
    result = removal(bricks, others=[], reclaimed_brick_ids={"a", "b"})
    assert (result.reclaimed, result.kept) == ({"d": 20}, {"d": 10})


@dataclass
class Device:
    """A device as LVM has it, and its records. What is removed goes first from the node, then from the records."""

    pools: dict[str, set[str]] = field(default_factory=dict)
    rows: dict[str, Brick] = field(default_factory=dict)
    reports: dict[str, bool] = field(default_factory=dict)
    books: DeviceBooks = field(default_factory=lambda: DeviceBooks(total_bytes=1000))
    made: int = 0

    def create(self, copied: str | None) -> None:
        self.made += 1
        brick = Brick(f"b{self.made}", thin_pool_name=f"tp{self.made}")
        if copied is None:
            self.books = self.books.reserve(10).settle(10)
        else:
            brick = replace(self.rows[copied], id=brick.id)
        self.rows[brick.id] = brick
        self.pools.setdefault(brick.thin_pool_name, set()).add(brick.id)

    def remove_on_node(self, brick_id: str, *, sticky: bool) -> None:
        self.rows[brick_id] = replace(self.rows[brick_id], state=DELETING)
        name = self.rows[brick_id].thin_pool_name
        self.pools[name].discard(brick_id)
        self.reports[brick_id] = not self.pools[name] and not sticky
        if self.reports[brick_id]:
            del self.pools[name]

    def commit(self, brick_id: str) -> None:
        row = self.rows.pop(brick_id)
        reported = {brick_id} if self.reports.pop(brick_id) else set()
        others = [each for each in self.rows.values() if each.thin_pool_name == row.thin_pool_name]
        result = removal([row], others=others, reclaimed_brick_ids=reported)
        assert not result.contradicted
        self.books = self.books.remove(reclaimed_bytes=result.reclaimed.get("d", 0), kept_bytes=result.kept.get("d", 0))
        for pool in result.gone:
            for each in others:
                emptied = replace(each, thin_pool_size_bytes=0, pool_metadata_size_bytes=0)
                assert each.thin_pool_name == pool.name
                self.rows[each.id] = emptied

    def check(self) -> None:
        assert self.books.pool_bytes == pool_space(self.rows.values()).used.get("d", 0)


@settings(max_examples=300)
@given(st.data())
def test_whatever_order_the_books_are_what_lvm_has(data: st.DataObject) -> None:
    device = Device()
    for _ in range(data.draw(st.integers(1, 12))):
        active = sorted(each for each, row in device.rows.items() if row.state == ACTIVE)
        steps = ["create", *(["copy", "remove"] if active else []), *(["commit"] if device.reports else [])]
        match data.draw(st.sampled_from(steps)):
            case "create":
                device.create(None)
            case "copy":
                device.create(data.draw(st.sampled_from(active)))
            case "remove":
                device.remove_on_node(data.draw(st.sampled_from(active)), sticky=data.draw(st.integers(0, 4)) == 0)
            case "commit":
                device.commit(data.draw(st.sampled_from(sorted(device.reports))))
        device.check()
    while device.reports:
        device.commit(data.draw(st.sampled_from(sorted(device.reports))))
        device.check()
    # All is committed: what is taken is what LVM has, and no pool is lost or counted twice.
    assert device.books.used_bytes == 10 * len(device.pools)
    users = Counter(row.thin_pool_name for row in device.rows.values())
    assert device.books.pool_bytes == 10 * len(users)
