"""Two devices carry one name: they must not throw each other out in turn, and both must say what is wrong."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from pathlib import Path
from typing import Final

import pytest

from tests.faults.stage import JOIN_S, Stage
from tests.harness.aio import run
from tests.harness.netns import NEEDS_ROOT, may_make_networks
from tests.harness.sound import VirtualSound
from tests.harness.station import Station

pytestmark = [
    pytest.mark.slow,
    pytest.mark.server,
    pytest.mark.device,
    pytest.mark.skipif(not may_make_networks(), reason=NEEDS_ROOT),
]

WATCHED_S: Final = 70.0
BETWEEN_TAKEOVERS_S: Final = 60.0


def test_two_devices_of_one_identity_say_so_and_take_over_at_most_once_a_minute(
    tmp_path: Path, sound: VirtualSound
) -> None:
    with Stage(tmp_path, sound, ("kitchen", "porch")) as stage:
        run(stage.assembled(), 60.0)
        twin = stage.station("kitchen", stage.switch.machine(), directory="twin")
        with twin:
            run(_watch(stage, twin), WATCHED_S + 60.0)


async def _watch(stage: Stage, twin: Station) -> None:
    kitchen = stage.stations["kitchen"]
    mark = kitchen.mark()
    disconnected = await stage.event("room.disconnected", "kitchen", JOIN_S, since=mark)
    assert disconnected["reason"] == "evicted"
    assert "identity" in disconnected["detail"]
    retry = await stage.event("room.retry", "kitchen", 5.0, since=mark)
    assert BETWEEN_TAKEOVERS_S <= retry["in_s"] <= 2 * BETWEEN_TAKEOVERS_S
    status = json.loads(kitchen.alto("status", "--json").stdout)
    assert (status["state"], status["reason"]) == ("blocked", "evicted")
    assert "same identity" in status["detail"]
    assert "same identity" in kitchen.alto("status").stdout
    await asyncio.sleep(disconnected["arrived_s"] + WATCHED_S - time.monotonic())
    _judge_takeovers(sorted(up["arrived_s"] for one in (kitchen, twin) for up in one.events("room.connected")))


def _judge_takeovers(joined_s: list[float]) -> None:
    """The first to join took over from nobody; each one after it did."""
    takeovers_s = joined_s[1:]
    between_s = [late - early for early, late in itertools.pairwise(takeovers_s)]
    assert all(pause_s >= BETWEEN_TAKEOVERS_S - 1.0 for pause_s in between_s), joined_s
