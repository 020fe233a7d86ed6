"""How well placement fills disks, and how fast it plans: `python tests/bench/placement.py [--quick]`.

No server and no network: the placement core is driven with a simulated life of clusters. Every seed is fixed and
printed, so that two runs differ in nothing but times. Tables go to stderr, one line of JSON to stdout. Nothing is
asserted; the aims are printed beside what was reached.

The life of the clusters: copies of three; sizes of 1 to 200 GiB, the small ones more often. `growth` creates until a
volume is refused although it may be split. `churn` creates and deletes at a level of fill, without splitting, and looks
every five steps whether a volume of 200 GiB would find a place.
"""

import argparse
import json

from tests.bench.clusters import DRAW
from tests.bench.placement_tables import measure_churn, measure_growth, measure_speed, show_aims


def main() -> None:
    """Measures, and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few seeds and steps, in a few seconds")
    quick = parser.parse_args().quick
    seeds = range(2) if quick else range(10)
    churn_seeds, steps = (range(1), 300) if quick else (range(3), 1000)
    grown = measure_growth(seeds)
    churned = measure_churn(churn_seeds, steps)
    times = measure_speed(50 if quick else 200)
    show_aims(grown, churned, times)
    figures = {"bench": "placement", "draw_seed": DRAW, "seeds": list(seeds), "churn_seeds": list(churn_seeds)}
    print(json.dumps({**figures, "steps": steps, "growth": grown, "churn": churned, "speed": times}))


if __name__ == "__main__":
    main()
