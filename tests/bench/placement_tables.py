"""Measures every topology with every strategy, and prints a table of each subject while it goes."""

import statistics
import sys
from collections.abc import Sequence

from tests.bench.clusters import STRATEGIES, TOPOLOGIES, UNSPLIT
from tests.bench.lives import MARKS, churn, growth
from tests.bench.plan_times import SPEEDS, speed

Figures = dict[str, dict[str, dict[str, float]]]
# Which topologies churn, and at which fill in percent. Strict zones set a limit to
# what can be used at all: 85.7 % of the drawn disks, 49 % with zones of 6, 4 and 2 nodes, which therefore only grow.
CHURN = (
    ("homogeneous", (80, 90)),
    ("mixed", (80, 90, 95)),
    ("mixed, drawn", (80, 90)),
    ("mixed, drawn, strict", (80, 82)),
    ("half-grown", (80, 90)),
    ("zones of 6, 4, 2 nodes", (80, 90)),
)


def mean_of(runs: Sequence[dict[str, float]]) -> dict[str, float]:
    """The mean of each figure over the runs that have it."""
    keys = dict.fromkeys(key for run in runs for key in run)
    return {key: statistics.fmean(run[key] for run in runs if key in run) for key in keys}


def share(runs: Sequence[dict[str, float]], part: str, whole: str) -> float:
    """A sum as a percentage of another; 0 where there is nothing."""
    total = sum(run[whole] for run in runs)
    return 100 * sum(run[part] for run in runs) / total if total else 0.0


def show(line: str) -> None:
    """One line of a table, at once."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def measure_growth(seeds: Sequence[int]) -> Figures:
    """Every topology with every strategy."""
    show(f"\ngrowth to the first refusal, {len(seeds)} seeds {seeds[0]}..{seeds[-1]}; fill in percent of the space")
    marks = "".join(f"{f'sd/range {mark}':>14}" for mark in MARKS)
    show(f"{'topology':34}{'strategy':9}{marks}{'split at':>10}{'refused at':>11}{'node sets':>10}{'bricks/vol':>11}")
    found: Figures = {}
    for topology in TOPOLOGIES:
        for strategy in STRATEGIES:
            figures = mean_of([growth(topology, strategy, seed) for seed in seeds])
            found.setdefault(topology.name, {})[strategy] = figures
            cells = "".join(
                f"{figures[f'sd{mark}']:8.1f}/{figures[f'range{mark}']:5.1f}"
                if f"sd{mark}" in figures
                else f"{'-':>14}"
                for mark in MARKS
            )
            show(
                f"{topology.name:34}{strategy:9}{cells}{figures['first_split']:10.1f}{figures['first_refusal']:11.1f}"
                f"{figures['node_sets']:10.1f}{figures['bricks_per_volume']:11.2f}"
            )
    return found


def measure_churn(seeds: Sequence[int], steps: int) -> Figures:
    """The topologies that churn, at their levels, with every strategy."""
    show(f"\nchurn, {steps} steps, {len(seeds)} seeds {seeds[0]}..{seeds[-1]}; unsplit; refused in percent")
    show(f"{'topology':34}{'strategy':9}{'level':>6}{'of 200 GiB':>12}{'of all':>8}{'sd':>7}{'node sets':>11}")
    found: Figures = {}
    by_name = {topology.name: topology for topology in TOPOLOGIES}
    for name, levels in CHURN:
        for level in levels:
            for strategy in STRATEGIES:
                runs = [
                    churn(by_name[name], strategy, seed, level=level / 100, limits=UNSPLIT, steps=steps)
                    for seed in seeds
                ]
                figures = {
                    "large_refused": share(runs, "large_refused", "large"),
                    "all_refused": share(runs, "all_refused", "all"),
                    "sd": mean_of(runs)["sd"],
                    "node_sets": mean_of(runs)["node_sets"],
                    "looks": sum(run["large"] for run in runs),
                }
                found.setdefault(f"{name} at {level} %", {})[strategy] = figures
                show(
                    f"{name:34}{strategy:9}{level:5}%{figures['large_refused']:12.2f}{figures['all_refused']:8.2f}"
                    f"{figures['sd']:7.1f}{figures['node_sets']:11.1f}"
                )
    return found


def measure_speed(plans: int) -> Figures:
    """Every size of cluster with every strategy."""
    show(f"\ntimes, {plans} plans each, warm; update: what a new volume costs the index; refusal: with all reasons")
    heads = f"{'plan p50 us':>13}{'p99 us':>10}{'update us':>11}{'refusal ms':>12}{'build ms':>10}"
    show(f"{'devices':>8} {'strategy':9}{heads}")
    found: Figures = {}
    for nodes, disks in SPEEDS:
        for strategy in STRATEGIES:
            figures = speed(nodes, disks, strategy, plans)
            found.setdefault(str(nodes * disks), {})[strategy] = figures
            show(
                f"{nodes * disks:8} {strategy:9}{figures['plan_p50_us']:13.0f}{figures['plan_p99_us']:10.0f}"
                f"{figures['update_p50_us']:11.0f}{figures['refusal_ms']:12.1f}{figures['build_ms']:10.1f}"
            )
    return found


def show_aims(grown: Figures, churned: Figures, times: Figures) -> None:
    """What was aimed at, and what was reached."""
    mixed, largest = grown["mixed"], times[str(SPEEDS[-1][0] * SPEEDS[-1][1])]
    lines = (
        ("mixed disks, 80 % churn", "mixed at 80 %"),
        ("mixed disks, strict zones, 80 % churn", "mixed, drawn, strict at 80 %"),
        ("mixed disks, strict zones, 82 % churn, which is 96 % of what can be used", "mixed, drawn, strict at 82 %"),
    )
    show("\naim: ring -> spread")
    for text, key in lines:
        ring, spread = (churned[key][strategy]["large_refused"] for strategy in STRATEGIES)
        show(f"  {text}, refused 200 GiB <= 1 %: {ring:.2f} -> {spread:.2f}")
    show(f"  mixed disks, deviation at half full <= 3: {mixed['ring']['sd50']:.1f} -> {mixed['spread']['sd50']:.1f}")
    for name in ("mixed", "mixed, drawn", "mixed, drawn, strict"):
        ring, spread = (grown[name][strategy]["node_sets"] for strategy in STRATEGIES)
        show(f"  {name}: node sets <= a quarter of ring's {ring:.0f}: {spread:.0f} ({100 * spread / ring:.0f} %)")
    show(f"  plan for {SPEEDS[-1][0] * SPEEDS[-1][1]} devices < 5000 us warm: {largest['spread']['plan_p50_us']:.0f}")
