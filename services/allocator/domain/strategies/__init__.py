"""Placement strategies by name. A new one is a class with `place_set` and a place in `all_strategies`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.allocator.domain.strategies.ring import RingStrategy
from services.allocator.domain.strategies.spread import SpreadStrategy, SpreadWeights

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.allocator.domain.strategies.base import Strategy

__all__ = [
    "DEFAULT_STRATEGY",
    "SpreadStrategy",
    "SpreadWeights",
    "all_strategies",
    "strategy_by_name",
    "strategy_names",
]

DEFAULT_STRATEGY = "spread"


def all_strategies(weights: SpreadWeights) -> dict[str, Strategy]:
    """Every strategy by its name, the default first, with these weights for `spread`."""
    return {strategy.name: strategy for strategy in (SpreadStrategy(weights), RingStrategy())}


_STRATEGIES = all_strategies(SpreadWeights())


def strategy_names() -> tuple[str, ...]:
    """All names that a request may give, the default first."""
    return tuple(_STRATEGIES)


def strategy_by_name(name: str, strategies: Mapping[str, Strategy] = _STRATEGIES) -> Strategy:
    """The strategy of that name; empty means the default. Raises ValueError for an unknown name."""
    try:
        return strategies[name or DEFAULT_STRATEGY]
    except KeyError:
        raise ValueError(f"unknown placement strategy {name!r}, known are {', '.join(strategies)}") from None
