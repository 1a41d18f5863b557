"""`python -m tests.simulation`: years of a station's life in minutes, or one life again as a readable story."""

from __future__ import annotations

import argparse
import sys
from typing import Final

from tests.simulation.life import live
from tests.simulation.years import run

LIVES: Final = 10_000  # some 14 years


def main() -> int:
    """Returns the exit code: 1 when any life broke a promise."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="tell this one life, with its debug lines")
    parser.add_argument("--lives", type=int, default=LIVES, help="how many lives to live (%(default)s)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (%(default)s)")
    parser.add_argument("--jobs", type=int, help="processes (one for each processor)")
    args = parser.parse_args()
    if args.seed is not None:
        return tell(args.seed)
    report = run(range(args.first, args.first + args.lives), jobs=args.jobs)
    print(report.told())
    return bool(report.failed)


def tell(seed: int) -> int:
    """One life, whole."""
    life = live(seed, quiet=False)
    print(life.story)
    print("\n".join(life.breaches) or "a good life")
    return bool(life.breaches)


if __name__ == "__main__":
    sys.exit(main())
