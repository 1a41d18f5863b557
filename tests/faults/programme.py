"""Several stages side by side, each with its rows one after the other: what waits costs nothing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.faults.rows import SETTINGS, Row, Verdict, play
from tests.faults.stage import Stage
from tests.harness.aio import run
from tests.harness.sound import NAMES, VirtualSound

PAIRS: Final = tuple(zip(NAMES[::2], NAMES[1::2], strict=True))
"""Who calls whom on each stage."""


def perform(directory: Path, sound: VirtualSound, *programmes: Sequence[Row], timeout_s: float = 150.0) -> str:
    """Play each programme on a stage of its own; fails with all verdicts when a bar was missed, returns them else."""
    with contextlib.ExitStack() as stack:
        stages = [stack.enter_context(Stage(directory, sound, pair, **SETTINGS)) for pair in PAIRS[: len(programmes)]]
        verdicts = run(_side_by_side(list(zip(stages, programmes, strict=True))), timeout_s)
        words = "\n".join(str(verdict) for verdict in verdicts)
        assert not any(verdict.problems for verdict in verdicts), "\n".join((words, *(s.story(60) for s in stages)))
    return words


async def _side_by_side(pairs: Sequence[tuple[Stage, Sequence[Row]]]) -> list[Verdict]:
    played = await asyncio.gather(*(_one(stage, rows) for stage, rows in pairs))
    return [verdict for verdicts in played for verdict in verdicts]


async def _one(stage: Stage, rows: Sequence[Row]) -> list[Verdict]:
    await stage.assembled()
    return [await play(stage, row) for row in rows]
