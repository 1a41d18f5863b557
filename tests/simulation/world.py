"""`World`: one simulated station with everything around it, and the passing of its time.

What is left out, and why that is sound:

- Sound is coarse: a device calls, and a voice says something, once each `BEAT_S` instead of a hundred times a second;
  the capture pump's own clock is slowed down alike. Nothing in a station's life hangs on single blocks; what does is
  tested elsewhere, with real ones.
- Steady hours are skipped. When for `STEADY_S` nothing was said, no state, leg, session, task or native connect has
  changed and no pause or recovery runs out, time and all timers move to just before the next event in one leap. Cards,
  voices and counters move on in the same moment, so that to the station the hours were as steady as the seconds before.
  The same for an outage in which the same try fails for the same reason over and over.
- The parts of the process that only report are not there: status socket, metrics, systemd.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import tempfile
import weakref
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

from appliance.ports import Leg, LegState, Link, Session
from appliance.reload import Reloader
from appliance.settings.load import Loaded, load
from appliance.settings.model import Settings
from appliance.supervisor import State, Supervisor
from tests.fakes.backend import FakeBackend, usb_card
from tests.harness.story import BEAT_S, new_sessions
from tests.harness.vtime import JumpingLoop, LoopClock
from tests.simulation.parts import CARD, OTHER_CARD, Crowd, Rack, SavedFile, Sky
from tests.simulation.schedule import Schedule
from tests.simulation.surroundings import VirtualWorker, WatchedServer
from tests.simulation.tape import Tape
from tests.simulation.watch import Watch

STEADY_S: Final = 6.0  # longer than the longest pause between two tries (retry_max_s: 5) and the link watch's patience
STEP_S: Final = 1.0  # how often it is asked whether all is steady
MARGIN_S: Final = 1.0  # before the next event time runs in full again
ROUNDING_S: Final = 1e-6  # time that cannot be added to a clock of thousands of seconds does not pass
OUT: Final = frozenset({State.CONNECTING, State.WAITING, State.BLOCKED})
SAME_AGAIN: Final = 3  # tries that ended alike: the next will as well, until something happens


class World:
    """Use `async with World(schedule) as world:` inside a JumpingLoop."""

    def __init__(self, schedule: Schedule) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, JumpingLoop)
        self.loop = loop
        self.schedule = schedule
        self.identity = "kitchen"
        self.tape = Tape()
        self.clock = LoopClock(loop)
        self.server = WatchedServer(self.tape.breach)
        self.cards = FakeBackend([usb_card(CARD), usb_card(OTHER_CARD)])
        self.worker = VirtualWorker()
        self.sky: Sky = Sky(self.server)
        self.rack = Rack(self.cards, random.Random(schedule.seed))
        self.crowd: Crowd = Crowd(self.server)
        self.bob = self.server.join("bob").publish()
        self.rng = random.Random(schedule.seed)
        """For what the faults decide when they begin."""
        self.insistent = False
        """Whether a double with our identity joins again and again."""
        self.skipped_s = 0.0
        self._bursting = 0
        self._new_sessions = new_sessions(self.server, self.cards, self.worker, self.clock)
        self._sessions: list[weakref.ref[Session]] = []
        self._steady_since_s = 0.0
        self._looked_like: object = None
        self._attempt_then = 0
        self.bystanders = asyncio.all_tasks()
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> World:
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="alto-life-")))
        self.file = SavedFile(folder / "alto.yaml", self.schedule.station, lambda what: self.tape.note("file", what))
        self._stack.enter_context(self.tape.recording())
        loaded = self._load()
        self.supervisor = Supervisor(
            settings=loaded.settings,
            new_session=self._new_session,
            clock=self.clock,
            rng=random.Random(self.schedule.seed),
            on_state=lambda state, why: self.watch.entered(state, why),
        )
        self.watch = Watch(self)
        self.reloader = Reloader(loaded=loaded, load=self._load, apply=self._apply, on_secret=self.supervisor.retry_now)
        await self._stack.enter_async_context(self._living())
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    # ---- what faults do

    def hang_up(self) -> None:
        """SIGHUP, as `Appliance` takes it: whoever asks for a try gets one."""
        self.server.takeover_s = float("-inf")
        self.supervisor.retry_now()
        self.reloader.request()

    def burst(self, times: int, gap_s: float, action: Callable[[], None]) -> None:
        """The same thing again and again, beside everything else."""
        self._bursting += times

        def once() -> None:
            self._bursting -= 1
            self.shaken()
            action()

        for n in range(times):
            self.loop.call_later(n * gap_s, once)

    # ---- time

    def shaken(self) -> None:
        """Something has just happened: steady is what is steady from now on."""
        self._looked_like = None
        self.watch.shaken()

    async def until(self, at_s: float) -> None:
        """Let time pass to that second of this life, the steady part of it in one leap."""
        while (left_s := at_s - self.tape.now_s) > ROUNDING_S and not self.tape.breaches:
            can_s = min(left_s, self._quiet_for_s()) - MARGIN_S
            if can_s > STEP_S and self._is_steady():
                self._leap(can_s)
            else:
                await asyncio.sleep(min(left_s, STEP_S))

    def _is_steady(self) -> bool:
        looks_like = self._look()
        if looks_like != self._looked_like:
            self._looked_like, self._steady_since_s = looks_like, self.tape.now_s
            self._attempt_then = self.supervisor.attempt
        return self.tape.now_s - self._steady_since_s >= STEADY_S

    def _look(self) -> object:
        """All that must stay the same for time to be skipped."""
        supervisor, session = self.supervisor, self.supervisor.session
        out = supervisor.state in OUT
        return (
            State.WAITING if out else supervisor.state,
            supervisor.last_error.reason if out and supervisor.last_error else supervisor.reason,
            None if out or session is None else (id(session), session.link, *(r.state for r in session.legs.values())),
            self.tape.lines_written,
            self.server.late_attempts,
            self.worker.waiting,
            len(self.server.participants),
            (supervisor.state is State.RECOVERING or self._is_about_to_notice()) and self.tape.now_s,
        )

    def _is_about_to_notice(self) -> bool:
        """A break that the station has not felt yet."""
        room = self.watch.room()
        return room is not None and (room.muffled or room.reconnecting)

    def _quiet_for_s(self) -> float:
        """Until something is due that the station will do by itself, as far as it tells."""
        if self.server.late_attempts or self._bursting:
            return 0.0
        retry_in_s = self.supervisor.retry_in_s()
        same_again = self.supervisor.attempt - self._attempt_then >= SAME_AGAIN
        return float("inf") if retry_in_s is None or same_again else retry_in_s

    def _leap(self, seconds: float) -> None:
        self.loop.leap(seconds)
        self.skipped_s += seconds
        self.tape.note("leap", f"{seconds:.0f} s as steady as the seconds before")
        self.watch.leapt()
        self._sound()

    def _sound(self) -> None:
        self.cards.beat()
        self.crowd.beat(self.bob)

    # ---- how it is

    def is_well(self) -> bool:
        """In the room, both ways open, as the file says; in truth, not only by its own account."""
        session, room = self.supervisor.session, self.watch.room()
        if self._bursting or self.supervisor.state is not State.ONLINE:
            return False
        if self.schedule.watches_file and self.reloader.loaded.data != self.file.path.read_bytes():
            return False
        if session is None or session.link is not Link.UP:
            return False
        if room is None or room.muffled or room.reconnecting or not all(s.runs for s in self.cards.streams):
            return False
        wanted = {Leg.INPUT: self.talks, Leg.OUTPUT: True}
        return all((session.legs[leg].state is LegState.OK) == on for leg, on in wanted.items())

    @property
    def talks(self) -> bool:
        """Whether the file wants a microphone."""
        return bool(self.file.values["input_enabled"])

    def kept_sessions(self) -> int:
        """Sessions that are over and still in memory, after the garbage was collected."""
        gc.collect()
        return sum(ref() is not None for ref in self._sessions)

    # ---- inside

    @contextlib.asynccontextmanager
    async def _living(self) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self.supervisor.run(), name="supervisor")]
        if self.schedule.watches_file:
            tasks.append(asyncio.create_task(self.reloader.run(), name="reload"))
        beat = self.loop.call_soon(self._beat)
        self._next_beat: asyncio.Handle = beat
        try:
            yield
        finally:
            self._next_beat.cancel()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _new_session(self, settings: Settings, on_change: Callable[[], None]) -> Session:
        session = await self._new_sessions(settings, on_change)
        self._sessions.append(weakref.ref(session))
        return session

    def _beat(self) -> None:
        self._next_beat = self.loop.call_later(BEAT_S, self._beat)
        self._sound()
        self.watch.beat()

    def _load(self) -> Loaded:
        return load(self.file.path, env={})

    def _apply(self, loaded: Any, changes: Any) -> None:
        """As `Appliance` does, for what concerns the call."""
        self.server.takeover_s = float("-inf")
        self.supervisor.apply(loaded.settings, changes)
