"""Somebody removes a station from its room: it says so, keeps away for a minute, and obeys a person at once."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.faults import primitives
from tests.faults.rows import BACK_S
from tests.faults.stage import Stage
from tests.harness.aio import run
from tests.harness.netns import NEEDS_ROOT, may_make_networks
from tests.harness.sound import VirtualSound

pytestmark = [
    pytest.mark.slow,
    pytest.mark.server,
    pytest.mark.device,
    pytest.mark.skipif(not may_make_networks(), reason=NEEDS_ROOT),
]


def test_a_station_that_was_removed_says_why_it_stays_away_and_returns_when_it_is_told(
    tmp_path: Path, sound: VirtualSound
) -> None:
    with Stage(tmp_path, sound, ("kitchen", "porch")) as stage:
        run(_story(stage), 90.0)


async def _story(stage: Stage) -> None:
    await stage.assembled()
    kitchen = stage.stations["kitchen"]
    mark = kitchen.mark()
    async with primitives.participant_removed(stage):
        removed_s = time.monotonic()
        down = await stage.event("room.disconnected", "kitchen", 5.0, since=mark)
        assert down["reason"] == "evicted"
        assert "removed" in down["detail"]
        blocked = await stage.event("state.changed", "kitchen", 5.0, since=mark, to="blocked")
        assert "removed" in blocked["detail"]
        retry = await stage.event("room.retry", "kitchen", 5.0, since=mark)
        assert 60.0 <= retry["in_s"] <= 120.0  # whoever removed it meant it; nobody has to come by to undo it either
        assert json.loads(kitchen.alto("status", "--json").stdout)["state"] == "blocked"
        assert not kitchen.events("room.connected", since=mark)
    told_s = time.monotonic()
    assert await stage.steady(told_s, 15.0, from_s=removed_s) - told_s <= BACK_S
    assert len(kitchen.events("room.disconnected", since=mark)) == 1
