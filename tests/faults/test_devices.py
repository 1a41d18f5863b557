"""A sound device that is there, and whose usual buffer is too short for this machine."""

from __future__ import annotations

import contextlib
import signal
import threading
from pathlib import Path
from typing import Final

import pytest

from tests.harness.beside import beside
from tests.harness.server import LiveKitServer
from tests.harness.sound import VirtualSound
from tests.harness.station import Station, station_settings
from tests.harness.wait import until

pytestmark = [pytest.mark.slow, pytest.mark.server, pytest.mark.device]

START_S: Final = 30.0
PAUSE_S: Final = 1.2  # from one stall to the next
STALL_S: Final = 0.025  # more than the speaker's buffer of 15 ms, less than one of 30
CALM_LINES: Final = 5  # metrics, one a second
PATIENCE_S: Final = 60.0  # a stall on a busy machine may be longer than was meant: then it takes a third buffer


def test_a_speaker_that_runs_dry_again_and_again_is_given_a_buffer_that_is_enough(
    tmp_path: Path, livekit_server: LiveKitServer, sound: VirtualSound
) -> None:
    config = station_settings(
        "kitchen",
        server=livekit_server,
        sound=sound.station("kitchen"),
        audio={"input": {"enabled": False}},
        metrics={"interval_s": 1},
    )
    with Station(tmp_path / "kitchen", config, coverage=False) as kitchen:
        kitchen.wait_event("state.changed", START_S, to="online")
        with stalling(kitchen):
            told = kitchen.wait_event("audio.ran_dry", PATIENCE_S)
            assert told["leg"] == "output"
            assert told["latency_ms"] == 2 * told["before_ms"]
            assert f"audio.output.latency_ms: {told['latency_ms']:g}" in told["fix"]
            opened = kitchen.wait_event("audio.opened", START_S, since=kitchen.seen.index(told), leg="output")
            mark = kitchen.seen.index(opened)

            def counted() -> list[int]:
                return [line["output"]["xruns"] for line in kitchen.events("metrics", since=mark)][-CALM_LINES:]

            until(lambda: len(counted()) == CALM_LINES and len(set(counted())) == 1, PATIENCE_S, kitchen.story)
        enough_ms = kitchen.events("audio.opened", leg="output")[-1]["latency_ms"]
        mark = kitchen.mark()
        kitchen.write_config({**config, "room": f"{config['room']}-next"})
        again = kitchen.wait_event("audio.opened", START_S, since=mark, leg="output")
        assert again["latency_ms"] == enough_ms, "the next session begins with it"
        assert not kitchen.events("audio.lost")
        assert not kitchen.events("state.changed", to="degraded")


def stalling(station: Station) -> contextlib.AbstractContextManager[None]:
    """It stands still for a moment, over and over, as on a board that is busy with something else."""

    def stall(over: threading.Event) -> None:
        while not over.wait(PAUSE_S):
            station.signal(signal.SIGSTOP)
            over.wait(STALL_S)
            station.signal(signal.SIGCONT)

    return beside(stall)
