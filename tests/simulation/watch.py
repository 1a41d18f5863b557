"""`Watch`: what must hold at every moment of a life. It looks at each beat, and compares what is told with what is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from appliance.ports import Direction, Leg, LegState
from appliance.supervisor import NEXT, State
from tests.fakes.room import FakeRoom

if TYPE_CHECKING:
    from tests.simulation.world import World

LOOKED_S: Final = 4.0  # leaving is bounded to some two seconds, a pause is looked at each second; the watchdog waits 15
NOTICED_S: Final = 6.0  # a dead link is noticed within 5 s; a look and a beat
JOINED_S: Final = 9.0  # in the room and not saying so: two devices whose drivers hang (OPEN_S: 4) and a look
LEG_LOST_S: Final = 1.6  # a silent card is noticed within 1 s; the beat of the cards and of this watch
CATCH_UP_S: Final = 2.0
JUMPS_A_BEAT: Final = 40  # wake-ups in a quarter of a second; 6 when all is well, at this slow sound
MINUTE_S: Final = 60.0
LINES: Final = 12  # info and above, in a minute in which nothing happened and no session was made
LINES_A_JOIN: Final = 40  # each of five people in the room is four lines of it
ASKED: Final = 130  # questions to the server a minute: two a second at most, at any time (Recovery, Backoff)


class Watch:
    """Says every breach to the tape, once."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._state = State.STARTING
        self._apart_since_s: float | None = None
        self._joined_since_s: float | None = None
        self._quiet_since_s = dict.fromkeys(Leg, 0.0)
        self._blocks = dict.fromkeys(Leg, 0)
        self._leapt_at_s = world.clock.monotonic()
        self._jumps = world.loop.jumps
        self._minute = self._counters()

    def entered(self, state: State, why: str) -> None:
        """The supervisor's `on_state`."""
        if state is not self._state and state not in NEXT[self._state]:
            self._world.tape.breach(f"from {self._state} to {state}, which is on no map")
        self._state = state
        self._world.tape.note("state", f"{state}: {why}")

    def leapt(self) -> None:
        """Time was skipped: what should have moved in between need not have."""
        self._leapt_at_s = self._now_s
        self._minute = self._counters()

    def shaken(self) -> None:
        """Something happened: what is said about it is no flood."""
        self._minute = self._counters()

    def beat(self) -> None:
        """All that can be judged at any moment."""
        self._judge_progress()
        self._judge_presence()
        self._judge_minute()
        for leg in Leg:
            self._judge_leg(leg)

    # ---- inside

    @property
    def _now_s(self) -> float:
        return self._world.clock.monotonic()

    def _breach(self, words: str) -> None:
        self._world.tape.breach(words)

    def _judge_progress(self) -> None:
        supervisor, loop = self._world.supervisor, self._world.loop
        if supervisor.state is not State.STOPPED:
            idle_s = self._now_s - max(supervisor.looked_at, self._leapt_at_s)
            if idle_s > LOOKED_S:
                self._breach(f"the supervisor made no progress for {LOOKED_S:g} s in state {supervisor.state}")
        jumps, self._jumps = loop.jumps - self._jumps, loop.jumps
        # After a leap the capture pump may make up for a second of silence, as after a board's sleep.
        if jumps > JUMPS_A_BEAT and self._now_s - self._leapt_at_s > CATCH_UP_S:
            self._breach(f"the processor was woken more than {JUMPS_A_BEAT} times in one beat")

    def _counters(self) -> tuple[float, int, int, int]:
        """(now, log lines, sessions, questions to the server)"""
        server = self._world.server
        return self._now_s, self._world.tape.lines_written, server.joins, server.knocks

    def _judge_minute(self) -> None:
        """Whether a minute in which nothing happened to the station was as quiet as it should be."""
        now = self._counters()
        if now[0] - self._minute[0] < MINUTE_S:
            return
        _, lines, joins, asked = (after - before for after, before in zip(now, self._minute, strict=True))
        self._minute = now
        if lines > LINES + LINES_A_JOIN * joins:
            self._breach(f"{lines:.0f} log lines in a minute with {joins:.0f} joins in which nothing happened")
        if asked > ASKED:
            self._breach(f"the server was asked {asked:.0f} times in a minute")

    def _judge_presence(self) -> None:
        """What the station says of the room, against the room."""
        state, room = self._world.supervisor.state, self.room()
        apart = state in (State.ONLINE, State.DEGRADED) and (room is None or room.muffled)
        self._apart_since_s = self._since(self._apart_since_s, apart)
        if self._lasts(self._apart_since_s, NOTICED_S):
            self._breach(f"says {state} and is not in the room, or hears nothing from it, for {NOTICED_S:g} s")
        joined = state is State.CONNECTING and room is not None
        self._joined_since_s = self._since(self._joined_since_s, joined)
        if self._lasts(self._joined_since_s, JOINED_S):
            self._breach(f"is in the room for {JOINED_S:g} s and still says {state}")

    def _judge_leg(self, leg: Leg) -> None:
        session = self._world.supervisor.session
        blocks = self._blocks_of(leg)
        if blocks != self._blocks[leg] or session is None or session.legs[leg].state is not LegState.OK:
            self._blocks[leg], self._quiet_since_s[leg] = blocks, self._now_s
        if self._now_s - max(self._quiet_since_s[leg], self._leapt_at_s) > LEG_LOST_S:
            self._breach(f"the {leg} says ok and has had no sound for {LEG_LOST_S:g} s")

    def _blocks_of(self, leg: Leg) -> int:
        return self._world.cards.blocks[Direction(leg.value)]

    def room(self) -> FakeRoom | None:
        """This station's session as the server sees it."""
        return next((r for r in self._world.server.sessions() if r.identity == self._world.identity), None)

    def _since(self, since_s: float | None, holds: bool) -> float | None:
        if not holds:
            return None
        return self._now_s if since_s is None else since_s

    def _lasts(self, since_s: float | None, seconds: float) -> bool:
        return since_s is not None and self._now_s - max(since_s, self._leapt_at_s) > seconds
