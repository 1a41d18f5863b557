"""`deploy/dev bench`: alto and its peers in calls on this machine, measured from mouth to ear, one after the other.

Short trials of all clients take turns, round by round, so that what the machine does meanwhile meets all of them;
then come the long ones, for what grows slowly. The table goes to standard output, everything to .cache/bench.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from tests.bench import compare
from tests.bench.clients import ALTO, CLIENTS, ON_REQUEST, PEER
from tests.bench.crowd import MUTED, SILENT, TALKING
from tests.bench.report import Report
from tests.bench.trial import Cell, ClientEnded, Stage, Trial, duration_s
from tests.harness.processes import preferred
from tests.harness.station import ROOT

FOLDER: Final = ROOT / ".cache" / "bench"
BASELINE: Final = Path(__file__).with_name("baseline.json")
EX_INTERRUPTED: Final = 130
OTHERS: Final = (0, 3, 8, 16)
LONG_OTHERS: Final = (0, 3, 8)
QUIET: Final = ((3, SILENT), (8, SILENT), (8, MUTED))


def main(argv: Sequence[str] | None = None) -> int:
    """Measure; returns the exit code: 1 when a trial failed or, compared, something is worse."""
    args = _parser().parse_args(argv)
    plan = _plan(args)
    minutes = sum(duration_s(cell, seconds) for cell, seconds in plan) / 60.0
    _say(f"{len(plan)} trials, about {minutes:.0f} minutes")
    trials, failed = _measure(args, plan)
    if not trials:
        return EX_INTERRUPTED if not failed else 1
    report = Report(trials)
    print("\n".join(report.table()), flush=True)
    for path in report.write(FOLDER, time.strftime("%Y%m%d-%H%M%S")):
        _say(f"wrote {path.relative_to(ROOT)}")
    if args.save_baseline:
        compare.save(args.save_baseline, report.cells)
    worse = _compare(args.compare, report) if args.compare else 0
    return 1 if worse or failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="deploy/dev bench", description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="of each long trial (default: 10; 0: none)")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each short trial (default: 30)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each short trial is held (default: 3)")
    parser.add_argument("--quick", action="store_true", help="one round, no long trials, no crowd above three")
    parser.add_argument("--others", action="append", type=int, metavar="N", help="only with so many talkers (repeated)")
    parser.add_argument("--only", action="append", metavar="NAME", help="only this client (may be repeated)")
    parser.add_argument("--client", action="append", default=[], metavar="NAME=COMMAND", help="a further client")
    parser.add_argument(
        "--compare", nargs="?", type=Path, const=BASELINE, metavar="FILE", help="tell what changed since the baseline"
    )
    parser.add_argument(
        "--save-baseline", nargs="?", type=Path, const=BASELINE, metavar="FILE", help="keep the figures"
    )
    return parser


def _commands(args: argparse.Namespace) -> dict[str, str]:
    usual = {**CLIENTS, **dict(words.split("=", 1) for words in args.client)}
    everything = {**usual, **ON_REQUEST}
    return {name: everything[name] for name in args.only} if args.only else usual


def _plan(args: argparse.Namespace) -> list[tuple[Cell, float]]:
    """(what, how many seconds), in the order in which it is measured."""
    names = list(_commands(args))
    counts = args.others or [count for count in OTHERS if not args.quick or count <= 3]
    others = [(count, TALKING) for count in counts]
    others += [] if args.quick or args.others else QUIET
    # The clients take turns within each condition: neighbours in time are compared.
    short = [Cell(name, count, state) for (count, state), name in itertools.product(others, names)]
    plan = [(cell, args.seconds) for cell in short * (1 if args.quick else args.rounds)]
    if args.minutes > 0 and not args.quick:
        long = [Cell(ALTO, count, long=True) for count in LONG_OTHERS if count in counts] + [Cell(PEER, 0, long=True)]
        plan += [(cell, args.minutes * 60.0) for cell in long if cell.client in names]
    return plan


def _measure(args: argparse.Namespace, plan: Sequence[tuple[Cell, float]]) -> tuple[list[Trial], bool]:
    trials: list[Trial] = []
    failed = False
    try:
        with preferred(), Stage(_commands(args)) as stage:
            for number, (cell, seconds) in enumerate(plan, 1):
                try:
                    trials.append(stage.measure(cell, seconds))
                    _say(f"{number}/{len(plan)} {_line(trials[-1])}")
                except (AssertionError, ClientEnded) as error:
                    failed = True
                    _say(f"{number}/{len(plan)} {cell}: failed: {error}")
    except KeyboardInterrupt:
        _say("interrupted: what follows is what there is")
    return trials, failed


def _line(trial: Trial) -> str:
    figures = trial.figures
    delay = f"{figures['delay_p50_ms']:.0f} ms" if "delay_p50_ms" in figures else "nothing heard"
    return (
        f"{trial.cell}: {delay}, {figures['gaps_per_min']:.1f} gaps a minute, CPU {figures['cpu_percent']:.1f} %, "
        f"load {trial.load:.1f}{', the test itself stuttered' if figures['harness_broken'] else ''}"
    )


def _compare(path: Path, report: Report) -> int:
    """Print what changed; how much of it is worse."""
    found = list(_changes(path, report))
    print("\n".join(line for line, _ in found))
    return sum(worse for _, worse in found)


def _changes(path: Path, report: Report) -> Iterator[tuple[str, bool]]:
    try:
        baseline = compare.load(path)
    except OSError as error:
        yield f"nothing to compare with: {error}", True
        return
    yield from compare.changes(baseline, report.cells)


def _say(words: str) -> None:
    print(f"# {words}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
