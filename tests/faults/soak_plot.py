"""A soak as one picture: sound both ways, the faults, memory, threads and file descriptors, over the same minutes."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import matplotlib as mpl
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from tests.faults.soak_report import Reading, Report

INCHES: Final = (16, 10)
SOUND: Final = "#7fbf7b"
FAULT: Final = "#f1a340"
BAD: Final = "#b2182b"


def plot(report: Report, path: Path) -> None:
    """Write it as a PNG."""
    with mpl.rc_context({"font.size": 8, "axes.grid": True, "grid.alpha": 0.3}):
        figure = Figure(INCHES, layout="constrained")
        sound, memory, threads, fds = figure.subplots(4, 1, sharex=True, height_ratios=(3, 3, 1, 1))
        _draw_sound(report, sound)
        for axes, name, label in ((memory, "rss_mb", "RSS in MB"), (threads, "threads", None), (fds, "fds", None)):
            _draw_readings(report, axes, name)
            axes.set_ylabel(label or name)
        if report.soak.readings:
            memory.legend(loc="upper left")
        fds.set_xlabel("minutes")
        verdict = "not good" if report.problems else "all holds"
        figure.suptitle(f"soak, seed {report.soak.seed}: {len(report.soak.verdicts)} faults, {verdict}")
        figure.savefig(path, dpi=110)


def _draw_sound(report: Report, axes: Any) -> None:
    began_s, ended_s = report.soak.began_s, report.soak.ended_s
    for row, way in enumerate(report.judge.ways):
        at_s = began_s
        for gap in [*report.judge.gaps(way, began_s, ended_s), None]:
            until_s = ended_s if gap is None else gap.from_s
            axes.broken_barh([((at_s - began_s) / 60, (until_s - at_s) / 60)], (row + 0.1, 0.8), color=SOUND)
            at_s = ended_s if gap is None else gap.to_s
    for one in report.soak.verdicts:
        start, width = (one.at_s - began_s) / 60, max(one.over_s - one.at_s, 0.5) / 60
        axes.broken_barh([(start, width)], (2.1, 0.3), color=BAD if one.problems else FAULT)
        axes.text(start, 2.5, one.row, rotation=60, va="bottom", ha="left", fontsize=6)
    axes.set_yticks([0.5, 1.5, 2.25], [*map(str, report.judge.ways), "faults"])
    axes.set_ylim(0, 4.5)
    axes.grid(visible=False, axis="y")


def _draw_readings(report: Report, axes: Any, figure: str) -> None:
    lives: dict[tuple[str, int], list[Reading]] = defaultdict(list)
    for one in report.soak.readings:
        if one.at_s < report.soak.began_s:
            continue
        lives[one.station, one.pid].append(one)
    colours: dict[str, str] = {}
    for (station, _), life in lives.items():
        label = station if station not in colours else None
        colour = colours.setdefault(station, f"C{len(colours)}")
        minutes = [(one.at_s - report.soak.began_s) / 60 for one in life]
        axes.plot(minutes, [getattr(one, figure) for one in life], color=colour, linewidth=1, label=label)
