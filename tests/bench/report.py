"""What a bench comes to: medians of each cell, costs of a participant, bars; as a table, as JSON, and as a picture."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from tests.bench.clients import ALTO, PEER
from tests.bench.crowd import MUTED, SILENT, TALKING
from tests.bench.figures import per_participant
from tests.bench.trial import Cell, Trial
from tests.harness import reports

COLUMNS: Final = (
    ("delay_p50_ms", "p50"),
    ("delay_p95_ms", "p95"),
    ("delay_max_ms", "max"),
    ("delay_range_ms", "max-min"),
    ("delay_slope_ms_per_min", "ms/min"),
    ("gaps_per_min", "gaps/min"),
    ("jumps_per_min", "jumps/min"),
    ("level_dbfs", "dBFS"),
    ("cpu_percent", "CPU %"),
    ("rss_mb", "RSS MB"),
    ("start_s", "start s"),
    ("callback_p50_ms", "cb p50"),
    ("callback_p99_ms", "cb p99"),
    ("callback_max_ms", "cb max"),
)
LONG_ENOUGH_S: Final = 600.0
"""A slope is judged over ten minutes: what grows in steps is not seen in less."""


class Report:
    """The judgement over all trials of a run."""

    def __init__(self, trials: Sequence[Trial]) -> None:
        self.trials: Final = list(trials)
        self.cells: Final = values_of(trials)

    def median(self, cell: Cell, figure: str) -> float | None:
        """Over the rounds; None where it was not measured."""
        values = self.cells.get(cell, {}).get(figure, ())
        return float(np.median(values)) if values else None

    def cost(self, client: str, state: str, figure: str = "cpu_percent") -> float | None:
        """What one further participant in that state costs; alone counts as the first of each state."""
        by_count = {
            cell.others: figures.get(figure, [])
            for cell, figures in self.cells.items()
            if cell.client == client and not cell.long and (cell.state == state or not cell.others)
        }
        return per_participant(by_count)

    def bars(self) -> Iterator[tuple[str, float, float, bool]]:
        """(what, measured, bar, whether it holds) of alto, for everything that was measured."""
        for cell in sorted(cell for cell in self.cells if cell.client == ALTO):
            if cell.state == TALKING and cell.others <= 8:
                yield from self._bars_of(cell)
        for state, at_most in ((TALKING, 0.8), (SILENT, 0.1), (MUTED, 0.1)):
            if (cost := self.cost(ALTO, state)) is not None:
                yield f"CPU points for each further participant, {state}", cost, at_most, cost <= at_most
        levels = [
            level
            for cell in self.cells
            if cell.client == ALTO and not cell.long and (not cell.others or cell.state == SILENT)
            if (level := self.median(cell, "level_dbfs")) is not None
        ]
        if len(levels) > 1:
            yield "dB between lone speakers, whoever else is silent", float(np.ptp(levels)), 0.5, np.ptp(levels) <= 0.5

    def _bars_of(self, cell: Cell) -> Iterator[tuple[str, float, float, bool]]:
        bars = [("delay_p50_ms", 90.0), ("delay_range_ms", 20.0), ("gaps_per_min", 0.2), ("callback_p99_ms", 1.0)]
        bars += [("rss_mb", 100.0)]
        if cell.long:
            bars += [("delay_slope_ms_per_min", 0.5)]
        for figure, at_most in bars:
            if (value := self.median(cell, figure)) is not None:
                yield f"{cell}: {figure}", value, at_most, abs(value) <= at_most
        peer = replace(cell, client=PEER)
        for figure, at_most in (("delay_p50_ms", 0.2), ("cpu_percent", 0.7 if cell.others == 0 else 0.5)):
            ours, theirs = self.median(cell, figure), self.median(peer, figure)
            if ours and theirs and (figure != "cpu_percent" or cell.others in (0, 8)):
                yield f"{cell}: {figure} of {PEER}'s", ours / theirs, at_most, ours / theirs <= at_most

    # ---- for people and scripts --------------------------------------------------------------------------------

    def table(self) -> Iterator[str]:
        """Lines for a person."""
        yield f"{'medians of all rounds; times in ms':<38}" + "".join(f"{name:>10}" for _, name in COLUMNS)
        for cell in sorted(self.cells):
            values = (self.median(cell, figure) for figure, _ in COLUMNS)
            yield f"{cell!s:<38}" + "".join(f"{'-' if value is None else f'{value:.2f}':>10}" for value in values)
        for client in sorted({cell.client for cell in self.cells}):
            costs = {state: self.cost(client, state) for state in (TALKING, SILENT, MUTED)}
            words = ", ".join(f"{state} {cost:+.2f}" for state, cost in costs.items() if cost is not None)
            if words:
                yield f"{client}: CPU points for each further participant: {words}"
        for trial in self.trials:
            if trial.accidents and trial.figures["gaps_per_min"] + trial.figures["jumps_per_min"] > 0:
                yield f"{trial.cell} had gaps or jumps; it counted {trial.accidents}"
            if not usable(trial):
                yield f"{trial.cell} is not counted: the test's own sound broke, the machine was too busy"
        for what, value, bar, holds in self.bars():
            yield f"{'holds ' if holds else 'MISSED'}  {what}: {value:.2f} (bar: {bar:g})"
        loads = [trial.load for trial in self.trials]
        yield f"the machine: a load of {np.median(loads):.1f}, up to {max(loads):.1f}, on {os.cpu_count()} cores"

    def as_json(self) -> dict[str, Any]:
        """Everything, for scripts."""
        return {
            "cores": os.cpu_count(),
            "trials": [trial.as_json() for trial in self.trials],
            "medians": {
                str(cell): {figure: float(np.median(values)) for figure, values in figures.items()}
                for cell, figures in sorted(self.cells.items())
            },
            "bars": [
                {"what": what, "value": round(value, 3), "bar": bar, "holds": bool(holds)}
                for what, value, bar, holds in self.bars()
            ],
        }

    def write(self, folder: Path, name: str) -> list[Path]:
        """`name`.txt, .json and .png in that folder."""
        from tests.bench.plot import plot

        return reports.write(
            folder, name, table=self.table(), data=self.as_json(), plot=lambda picture: plot(self, picture)
        )


def usable(trial: Trial) -> bool:
    """Whether the test's own sound was whole."""
    return not trial.figures["harness_broken"]


def values_of(trials: Sequence[Trial]) -> dict[Cell, dict[str, list[float]]]:
    """Cell -> figure -> one value for each usable round."""
    found: dict[Cell, dict[str, list[float]]] = {}
    for trial in filter(usable, trials):
        figures = found.setdefault(trial.cell, defaultdict(list))
        for figure, value in trial.figures.items():
            figures[figure].append(value)
    return found
