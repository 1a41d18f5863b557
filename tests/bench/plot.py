"""A bench as one picture: the delay of each mark over time, and bars of what it takes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import matplotlib as mpl
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from tests.bench.report import Report

INCHES: Final = (16, 10)
BARS: Final = (
    ("delay_p50_ms", "delay p50, ms"),
    ("cpu_percent", "CPU, % of a core"),
    ("gaps_per_min", "gaps a minute"),
)


def plot(report: Report, path: Path) -> None:
    """Write it as a PNG."""
    with mpl.rc_context({"font.size": 8, "axes.grid": True, "grid.alpha": 0.3}):
        figure = Figure(INCHES, layout="constrained")
        grid = figure.add_gridspec(2, len(BARS))
        _draw_delays(report, figure.add_subplot(grid[0, :]))
        for column, (name, label) in enumerate(BARS):
            _draw_medians(report, figure.add_subplot(grid[1, column]), name, label)
        figure.savefig(path, dpi=110)


def _draw_delays(report: Report, axes: Any) -> None:
    colours = {client: f"C{at}" for at, client in enumerate(sorted({trial.cell.client for trial in report.trials}))}
    for trial in report.trials:
        for marks in trial.delays.values():
            if marks:
                at_s, ms = zip(*marks, strict=True)
                axes.plot(at_s, ms, ".", color=colours[trial.cell.client], markersize=2)
    for client, colour in colours.items():
        axes.plot([], [], "o", color=colour, label=client)
    axes.set_xlabel("seconds into the trial")
    axes.set_ylabel("mouth to ear, ms")
    axes.legend(loc="upper right")


def _draw_medians(report: Report, axes: Any, name: str, label: str) -> None:
    cells = sorted(report.cells)
    axes.barh([str(cell) for cell in cells], [report.median(cell, name) or 0.0 for cell in cells])
    axes.invert_yaxis()
    axes.set_xlabel(label)
