"""The watch over a station's wear, in virtual time; the change itself is heard in tests/faults/test_afresh.py."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest
import structlog

from appliance.afresh import MARK, WearWatch, is_replacement
from appliance.restart import APART_S, LOOK_S, QUIET_S, STUCK_S
from tests.harness.vtime import LoopClock, run_jumping

LIMIT_MB = 180


class Box:
    """A station that is asked for its memory and its levels."""

    def __init__(self, clock: LoopClock, *, replaces: bool = False) -> None:
        self.rss_mb = 117.0
        self.limit_mb = LIMIT_MB
        self.level_dbfs = -80.0
        self.stuck_s = 0.0
        self.plugged = 1
        self.held = False
        self.asked = 0
        self.restarts = 0
        self.watch = WearWatch(
            clock=clock,
            replaces=replaces,
            limit_mb=lambda: self.limit_mb,
            stuck_s=lambda: self.stuck_s,
            in_room=lambda: True,
            attended=lambda: False,
            figures=self._figures,
            restart=self._restart,
            rss_mb=lambda: self.rss_mb,
            last_plugged=lambda: self.plugged,
            held=lambda: self.held,
        )

    def _figures(self) -> dict[str, dict[str, object]]:
        self.asked += 1
        return {"network": {"participants": 1}, "input": {"level_dbfs": self.level_dbfs}}

    def _restart(self) -> None:
        self.restarts += 1


def test_below_the_limit_nobody_is_asked_for_levels() -> None:
    async def story() -> None:
        box = Box(LoopClock())
        watch = asyncio.create_task(box.watch.run())
        await asyncio.sleep(1.1 * APART_S)
        assert (box.asked, box.restarts) == (0, 0)
        watch.cancel()

    run_jumping(story())


def test_above_it_the_end_of_the_talk_is_waited_for_and_the_reason_said_once() -> None:
    async def story() -> list[dict[str, Any]]:
        box = Box(LoopClock())
        with structlog.testing.capture_logs() as lines:
            watch = asyncio.create_task(box.watch.run())
            box.rss_mb, box.level_dbfs = 181.4, -20.0
            await asyncio.sleep(1.1 * APART_S)
            assert box.restarts == 0
            box.level_dbfs = -70.0
            await asyncio.wait_for(watch, QUIET_S + 2 * LOOK_S)
            assert box.restarts == 1
        return list(lines)

    (line,) = run_jumping(story())
    assert line == {
        "event": "appliance.restarting",
        "log_level": "warning",
        "reason": "memory_above_limit",
        "rss_mb": 181,
        "limit_mb": LIMIT_MB,
        "stuck_s": 0.0,
    }


def test_another_limit_counts_from_the_next_look_on() -> None:
    async def story() -> None:
        box = Box(LoopClock())
        box.rss_mb, box.limit_mb = 400.0, 0
        watch = asyncio.create_task(box.watch.run())
        await asyncio.sleep(1.1 * APART_S)
        assert not watch.done()
        box.limit_mb = LIMIT_MB
        await asyncio.wait_for(watch, 2 * LOOK_S)

    run_jumping(story())


def test_a_device_that_is_stuck_is_left_behind_once_the_process_can_end() -> None:
    async def story() -> list[dict[str, Any]]:
        box = Box(LoopClock())
        with structlog.testing.capture_logs() as lines:
            watch = asyncio.create_task(box.watch.run())
            box.stuck_s, box.held = STUCK_S, True
            await asyncio.sleep(1.1 * LOOK_S)
            assert box.restarts == 0
            box.held = False
            await asyncio.wait_for(watch, 2 * LOOK_S)
            assert box.restarts == 1
        return list(lines)

    (line,) = run_jumping(story())
    assert (line["reason"], line["stuck_s"]) == ("device_stuck", STUCK_S)


def test_a_fresh_process_that_is_stuck_as_well_waits_for_a_card_to_come_or_go() -> None:
    async def story() -> None:
        box = Box(LoopClock(), replaces=True)
        watch = asyncio.create_task(box.watch.run())
        box.stuck_s = STUCK_S
        await asyncio.sleep(0.9 * APART_S)
        assert box.restarts == 0
        box.plugged = 2
        await asyncio.wait_for(watch, 2 * LOOK_S)

    run_jumping(story())


def test_a_fresh_process_knows_it_and_its_children_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MARK, "1")
    assert is_replacement()
    assert MARK not in os.environ
    assert not is_replacement()
