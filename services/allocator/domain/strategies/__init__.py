"""Placement strategies by name. A new one is a class with `place_set` and a line here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.allocator.domain.strategies.ring import RingStrategy
from services.allocator.domain.strategies.spread import SpreadStrategy, SpreadWeights

if TYPE_CHECKING:
    from services.allocator.domain.strategies.base import Strategy

__all__ = ["DEFAULT_STRATEGY", "SpreadStrategy", "SpreadWeights", "strategy_by_name", "strategy_names"]

DEFAULT_STRATEGY = "spread"
_STRATEGIES: dict[str, Strategy] = {strategy.name: strategy for strategy in (SpreadStrategy(), RingStrategy())}


def strategy_names() -> tuple[str, ...]:
    """All names that a request may give, the default first."""
    return tuple(_STRATEGIES)


def strategy_by_name(name: str) -> Strategy:
    """The strategy of that name; empty means the default. Raises ValueError for an unknown name."""
    try:
        return _STRATEGIES[name or DEFAULT_STRATEGY]
    except KeyError:
        raise ValueError(f"unknown placement strategy {name!r}, known are {', '.join(_STRATEGIES)}") from None
