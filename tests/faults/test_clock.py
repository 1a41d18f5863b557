"""A board without a clock: 1970 at boot, set in the middle of a call, and jumping afterwards.

The station is a real one; what its wall clock says is written in a file, because the kernel's is everybody's.
"""

from __future__ import annotations

import itertools
import textwrap
import time
from pathlib import Path
from typing import Final

import pytest

from tests.harness.server import LiveKitServer
from tests.harness.station import Event, Station, station_settings

pytestmark = [pytest.mark.slow, pytest.mark.server]

START_S: Final = 20.0
TOLD_S: Final = 5.0  # the clock is looked at every 2 s
YEAR_S: Final = 365 * 86_400.0
METRICS_S: Final = 1.0

WRONG_CLOCK: Final = """
    import os, time
    _true_time = time.time
    def _told():
        try:
            with open(os.environ["TEST_CLOCK_OFF_S"]) as file:
                return _true_time() + float(file.read() or 0.0)
        except OSError:
            return _true_time()
    time.time = _told
"""


class Board(Station):
    """A station on a board whose clock can be set."""

    def __init__(self, directory: Path, server: LiveKitServer, off_s: float) -> None:
        self._off_s: Final = directory / "off_s"
        directory.mkdir()
        self.set_clock(off_s)
        (directory / "python").mkdir()
        (directory / "python" / "sitecustomize.py").write_text(textwrap.dedent(WRONG_CLOCK))
        super().__init__(
            directory,
            station_settings("kitchen", server=server, room="clock", metrics={"interval_s": METRICS_S}),
            env={"TEST_CLOCK_OFF_S": str(self._off_s)},
        )
        self._env["PYTHONPATH"] = f"{directory / 'python'}:{self._env['PYTHONPATH']}"

    def set_clock(self, off_s: float) -> None:
        """That many seconds ahead of the true time."""
        fresh = self._off_s.with_suffix(".new")
        fresh.write_text(str(off_s))
        fresh.replace(self._off_s)


def test_a_board_that_wakes_up_in_1970_joins_and_a_clock_that_is_set_or_jumps_is_not_heard(
    tmp_path: Path, livekit_server: LiveKitServer
) -> None:
    with Board(tmp_path / "kitchen", livekit_server, off_s=-time.time()) as board:
        connected = board.wait_event("room.connected", START_S)
        assert connected["timestamp"].startswith("1970-01-01")
        wrong = board.wait_event("clock.wrong", 1.0)
        assert "years behind the server's" in wrong["detail"]
        for off_s, event in ((0.0, "clock.set"), (YEAR_S, "clock.wrong"), (-YEAR_S, "clock.wrong"), (0.0, "clock.set")):
            mark = board.mark()
            board.set_clock(off_s)
            board.wait_event(event, TOLD_S, since=mark)
        assert not board.events("room.disconnected"), board.story()
        assert len(board.events("room.connected")) == 1
        _are_regular(board.events("metrics"))


def _are_regular(metrics: list[Event]) -> None:
    """A jump makes neither a burst of lines nor a gap, nor a figure that is counted over a year."""
    gaps_s = [late["arrived_s"] - early["arrived_s"] for early, late in itertools.pairwise(metrics)]
    assert len(gaps_s) >= 3
    assert max(gaps_s) < 4 * METRICS_S
    assert sorted(gaps_s)[len(gaps_s) // 2] == pytest.approx(METRICS_S, abs=0.3)
    assert all(0 <= line["process"]["cpu_ratio"] < 4 for line in metrics)
    uptimes_s = [line["process"]["uptime_s"] for line in metrics]
    assert uptimes_s == sorted(uptimes_s)
    assert uptimes_s[-1] < START_S + 5 * TOLD_S
