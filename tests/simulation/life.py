"""One life from its seed to its end, and what was wrong with it."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

import pytest

from appliance.network import natives
from appliance.ports import Leg
from appliance.supervisor import State
from tests.harness.story import BEAT_S, slow_sound
from tests.harness.vtime import JumpingLoop, run_jumping
from tests.simulation import remains
from tests.simulation.faults import EVICTED_S, ONLINE_S
from tests.simulation.lines import NEVER, judge_leg, judge_room
from tests.simulation.schedule import Entry, Schedule, make
from tests.simulation.world import World

STOP_S: Final = 2.0  # systemd and people expect an end within two seconds
SETTLE_S: Final = 3.0  # for what ends in the background: voices, native leaves
SOUND_S: Final = 2.0  # in which sound must have moved both ways
COUNTED: Final = 20  # each of so many lives counts what is left in memory: the collection takes as long as ten lives
KEPT: Final = 2  # the error that the status shows may hold on to the session that it came from
HELD_S: Final = 2.5  # well only if it stays so: a frame that the encoder took in vain is noticed after 2 s
RECENT_S: Final = 1000.0  # after that a trouble is forgotten: longer than the longest pause
BRIEF_S: Final = 120.0  # the pause after a brief stay, when an eviction was not forgiven by a long one
NATIVE_S: Final = 60.0  # the longest native connect that was given up


@dataclass
class Life:
    """What is left of one life; small, because ten thousand of them are sent between processes."""

    seed: int
    seconds: float = 0.0
    in_full_s: float = 0.0
    jumps: int = 0
    """Wake-ups in the seconds that ran in full."""
    lines: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    outages: int = 0
    well_after_s: dict[str, float] = field(default_factory=dict)
    """By the only fault that was still going on or recent: how long after its end the station was well again."""
    breaches: list[str] = field(default_factory=list)
    story: str = ""
    cpu_s: float = 0.0


def live(seed: int, *, quiet: bool = True) -> Life:
    """Live the life of that number."""
    began_s = time.process_time()
    schedule = make(seed)
    life = Life(seed)
    loop = JumpingLoop()
    with slow_sound(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(natives, "_late_success_s", float("-inf"))  # of another life
        try:
            run_jumping(_live(schedule, life, quiet), loop=loop)
        except Exception as error:  # of the simulation itself as well: one bad life must not end the others
            life.breaches.append(f"{type(error).__name__}: {error}")
            life.story += f"\n{traceback.format_exc()}"
    life.cpu_s = time.process_time() - began_s
    return life


async def _live(schedule: Schedule, life: Life, quiet: bool) -> None:
    async with World(schedule) as world:
        try:
            await _Driver(world, life).drive()
        finally:
            life.breaches += world.tape.breaches
            life.story = _heading(schedule) + world.tape.told(quiet=quiet)
            life.seconds, life.jumps = world.tape.now_s, world.loop.jumps
            life.in_full_s = life.seconds - world.skipped_s
            life.lines = world.tape.lines_written
            life.outages = len(world.tape.lines("room.disconnected"))


def _heading(schedule: Schedule) -> str:
    station = ", ".join(f"{key}={value}" for key, value in schedule.station.items())
    return f"seed {schedule.seed}: {station}\n"


class _Driver:
    """Walks a world through its schedule."""

    def __init__(self, world: World, life: Life) -> None:
        self.world = world
        self.life = life
        self.tape = world.tape

    async def drive(self) -> None:
        await self._suffer()
        if self.tape.breaches:
            return
        if self.world.schedule.stops_at_s is None:
            await self._get_well()
            if self.tape.breaches:
                return
            await self._hold_to_promises()
        await self._stop()
        self._judge_lines()

    async def _suffer(self) -> None:
        stops_at_s = self.world.schedule.stops_at_s
        for at_s, entry, begins in _moments(self.world.schedule):
            if stops_at_s is not None and at_s >= stops_at_s:
                break
            await self.world.until(at_s)
            if self.tape.breaches:
                return
            self._turn(entry, begins)
        if stops_at_s is not None:
            await self.world.until(stops_at_s)

    def _turn(self, entry: Entry, begins: bool) -> None:
        if begins:
            lasts = "" if entry.fault.brief else f" for {entry.ends_s - entry.begins_s:.3f} s"
            self.tape.note("FAULT", entry.fault.name + lasts)
            self.life.faults[entry.fault.name] += 1
            entry.fault.begin(self.world, self.world.rng)
        else:
            self.tape.note("FAULT", f"{entry.fault.name}: over")
            entry.fault.end(self.world)
        self.world.shaken()

    async def _get_well(self) -> None:
        ended_s = well_since_s = self.tape.now_s
        bound_s = ONLINE_S + _patience_s(self.world.schedule)
        while self.tape.now_s - well_since_s < HELD_S:
            await self.world.until(self.tape.now_s + BEAT_S)
            if not self.world.is_well() or self.world.server.late_attempts:
                well_since_s = self.tape.now_s
            if well_since_s - ended_s > bound_s:
                state = self.world.supervisor.state
                self.tape.breach(f"not well again {bound_s:g} s after the last fault: {state}")
            if self.tape.breaches:
                return
        self._note_how_long(well_since_s - ended_s)

    def _note_how_long(self, seconds: float) -> None:
        last_s = self.world.schedule.ends_s
        recent = {e.fault.name for e in self.world.schedule.entries if e.ends_s > last_s - RECENT_S}
        if len(recent) == 1:
            self.life.well_after_s[recent.pop()] = seconds

    async def _hold_to_promises(self) -> None:
        """Well for a while: both ways carry sound, and nothing is left of what was."""
        world = self.world
        await world.until(self.tape.now_s + SETTLE_S)
        before = remains.sound_moved(world)
        await world.until(self.tape.now_s + SOUND_S)
        for name, moved in remains.sound_moved(world).items():
            if moved <= before[name]:
                self.tape.breach(f"well, and yet no sound: {name} does not move")
        for words in remains.of_the_well(world):
            self.tape.breach(words)

    async def _stop(self) -> None:
        world = self.world
        self.tape.note("stop", "asked to stop")
        world.supervisor.stop()
        world.shaken()
        asked_s = self.tape.now_s
        while world.supervisor.state is not State.STOPPED:
            if self.tape.now_s - asked_s > STOP_S:
                self.tape.breach(f"not stopped {STOP_S:g} s after it was asked to")
                return
            await asyncio.sleep(0.01)
        world.worker.release()
        await asyncio.sleep(NATIVE_S)
        for words in remains.of_the_stopped(world):
            self.tape.breach(words)
        if world.schedule.seed % COUNTED == 0 and (kept := world.kept_sessions()) > KEPT:
            self.tape.breach(f"{kept} sessions that are over are still in memory")

    def _judge_lines(self) -> None:
        for words in judge_room(self.tape.lines("room.connected", "room.disconnected")):
            self.tape.breach(words)
        audio = self.tape.lines("audio.opened", "audio.lost", "audio.recovered", "config.applied")
        for leg in Leg:
            for words in judge_leg(leg, [(at_s, line) for at_s, line in audio if line.get("leg", leg) == leg]):
                self.tape.breach(words)
        for at_s, line in self.tape.lines(*NEVER):
            self.tape.breach(f"{at_s:.3f}: {line['event']}")


def _moments(schedule: Schedule) -> list[tuple[float, Entry, bool]]:
    """(seconds, entry, whether it begins), in the order of time."""
    begins = [(entry.begins_s, entry, True) for entry in schedule.entries]
    ends = [(entry.ends_s, entry, False) for entry in schedule.entries if not entry.fault.brief]
    return sorted(begins + ends, key=lambda moment: (moment[0], not moment[2]))


def _patience_s(schedule: Schedule) -> float:
    """What the faults of the last trouble may cost in sum, because they may follow each other."""
    last_s = schedule.ends_s
    recent = {e.fault.name: e.fault.patience_s for e in schedule.entries if e.ends_s > last_s - RECENT_S}
    evicted = any(entry.fault.patience_s == EVICTED_S for entry in schedule.entries)
    return sum(recent.values()) + (BRIEF_S if evicted else 0.0)
