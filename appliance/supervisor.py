"""The loop that never ends: join, stay, come back.

It knows states, policies and time; it knows neither audio nor the SDK. Everything runs on the loop thread. Whatever
may have changed calls `wake()`; the loop then looks at the facts, so no event can be lost or come in a wrong order.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Final

import structlog

from appliance.backoff import Backoff
from appliance.errors import AltoError, Evicted, NetworkError, Policy, Stalled, Unmended
from appliance.outage import STABLE_S, Outages
from appliance.ports import Clock, Leg, LegReport, LegState, Link, Session, SessionFactory
from appliance.recovery import Recovery
from appliance.settings.changes import Changes
from appliance.settings.model import Settings

log = structlog.get_logger()

LOOK_S: Final = 0.25  # a leg that fell silent is noticed within 1 s: its own 0.6 s of patience and one look
EVICTED_MIN_S: Final = 60.0  # two devices under one identity: at most one takeover a minute…
EVICTED_MAX_S: Final = 900.0  # …growing to a quarter of an hour
EAGER_S: Final = 300.0  # most outages are a restart or a pulled plug: that long somebody waits beside the device…
EAGER_MAX_S: Final = 1.0  # …so that the call is back within 3 s of the server's return: this pause, a question, a join
UNMENDED_MIN_S: Final = 0.1  # the server answers: no reason to wait but that hundreds may have noticed just now


class State(StrEnum):
    """Where the station is in its life. STARTING and STOPPED are seen once each."""

    STARTING = "starting"
    CONNECTING = "connecting"
    ONLINE = "online"
    DEGRADED = "degraded"
    RECOVERING = "recovering"
    WAITING = "waiting"
    BLOCKED = "blocked"
    STOPPING = "stopping"
    STOPPED = "stopped"


_IN_ROOM: Final = frozenset({State.ONLINE, State.DEGRADED})
_OUT: Final = frozenset({State.WAITING, State.BLOCKED, State.CONNECTING, State.STOPPING})

NEXT: Final[Mapping[State, frozenset[State]]] = {
    State.STARTING: frozenset({State.CONNECTING, State.STOPPING}),
    # Straight to recovering: a connection may break while the sound cards are being opened.
    State.CONNECTING: _IN_ROOM | {State.RECOVERING, State.WAITING, State.BLOCKED, State.STOPPING},
    State.ONLINE: frozenset({State.DEGRADED, State.RECOVERING}) | _OUT,
    State.DEGRADED: frozenset({State.ONLINE, State.RECOVERING}) | _OUT,
    State.RECOVERING: _IN_ROOM | _OUT,
    State.WAITING: frozenset({State.CONNECTING, State.STOPPING}),
    State.BLOCKED: frozenset({State.CONNECTING, State.STOPPING}),
    State.STOPPING: frozenset({State.STOPPED}),
    State.STOPPED: frozenset(),
}
"""The table of STATES in ARCHITECTURE.md; `_enter` refuses everything else."""


_BREAKS: Final = {
    "connection_lost": "the connection broke; the SDK is mending it",
    "media_stalled": "nothing arrives any more although the connection looks open",
}
"""`Session.recovering_why` in words."""


class _Renew(AltoError):
    """The settings changed so that the room must be joined anew: not a failure, no pause."""

    reason = "config_changed"


class Supervisor:
    """Keeps one session alive until `stop()`.

    `looked_at` moves while the loop makes progress (what the watchdog lives on); `on_state` is called after each
    change of state with the new state and the reason in words.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        new_session: SessionFactory,
        clock: Clock,
        rng: random.Random,
        on_state: Callable[[State, str], None] = lambda _state, _why: None,
    ) -> None:
        self.settings = settings
        self.state = State.STARTING
        self.reason = "starting"
        self.detail = ""
        self.since = clock.monotonic()
        self.last_error: AltoError | None = None
        self.entered: Counter[State] = Counter({State.STARTING: 1})
        self.session: Session | None = None
        self._new_session = new_session
        self._clock = clock
        self._rng = rng
        self.looked_at = clock.monotonic()
        self._pause_until: float | None = None
        self._on_state = on_state
        self._wake = asyncio.Event()
        self._stopping = False
        self._renew = False
        self._retry_now = False
        self._failures: Counter[type[AltoError]] = Counter()
        self._outages = Outages(clock)
        self._recovery: Recovery | None = None
        self._said: set[tuple[State, str]] = set()

    # ---- called from outside, on the loop thread ----

    @property
    def attempt(self) -> int:
        """Tries that failed since the last session that lasted."""
        return self._failures.total()

    def retry_in_s(self) -> float | None:
        """Seconds until the next try; None when no pause runs."""
        return None if self._pause_until is None else round(max(0.0, self._pause_until - self._clock.monotonic()), 1)

    def stop(self) -> None:
        """End `run()` soon; idempotent."""
        self._stopping = True
        self.wake()

    def wake(self) -> None:
        """Something may have changed: look now instead of at the next interval."""
        self._wake.set()

    def retry_now(self) -> None:
        """End a pause early: the link came up, a file was replaced, somebody asked (SIGHUP)."""
        self._retry_now = True
        self.wake()

    def apply(self, settings: Settings, changes: Changes) -> None:
        """Take up new settings: live where possible, by joining anew where not."""
        self.settings = settings
        if changes.session:
            self._renew = True
        elif self.session is not None:
            self.session.apply(settings, changes)
        self.retry_now()

    # ---- the loop ----

    async def run(self) -> None:
        """Join, stay, come back, until `stop()`; then leave. Raises nothing."""
        try:
            while not self._stopping:
                await self._one_session()
        finally:
            self._enter(State.STOPPING, "stopped")
            await self._leave()
            self._enter(State.STOPPED, "stopped")

    async def _one_session(self) -> None:
        """One try to join and, if it works, the stay. Ends in a pause unless there is a reason to go on at once."""
        self._renew = False
        failure: AltoError | None = None
        try:
            await self._join()
            await self._stay()
            if self._stopping:
                self._outages.lost("stopped", "asked to stop")
        except _Renew as why:
            self._outages.lost(why.reason, why.message)
        except AltoError as error:
            failure = error
        except Exception as error:  # a bug of ours must not end an intercom: it is told in full, counted, retried
            log.exception("bug", where="supervisor", error=f"{type(error).__name__}: {error}")
            failure = Stalled(f"unexpected {type(error).__name__}: {error}", fix="please report this log line")
        pause_s = self._fail(failure) if failure else 0.0
        await self._leave()
        await self._pause(pause_s)

    async def _join(self) -> None:
        if self.state is not State.CONNECTING:
            self._enter(State.CONNECTING, "joining")
        started = self._clock.monotonic()
        task = asyncio.create_task(self._connect(), name="connect")
        try:
            while not task.done():
                if self._stopping or self._renew:
                    return
                await self._look(task)
            task.result()
        finally:
            if not task.done():
                task.cancel()  # the room itself never cancels the native connect: see RoomConnection.connect
                await asyncio.gather(task, return_exceptions=True)
        self._outages.joined(self.settings, self.session, took_s=self._clock.monotonic() - started)

    async def _connect(self) -> None:
        session = await self._new_session(self.settings, self.wake)
        self.session = session
        await session.connect()

    async def _stay(self) -> None:
        """Returns when asked to stop; raises why the session ended otherwise."""
        while not self._stopping and self.session is not None:
            session = self.session
            if self._renew:
                raise _Renew("settings changed that need a new session")
            if session.link is Link.CLOSED:
                raise _as_alto(session.closed_by)
            session.tend()  # cards come and go whatever the link does
            if session.link is Link.RECOVERING:
                self._recover(session)
            else:
                await self._mended(session)
                self._judge_legs(session)
                self._forgive(self._outages.stay_s())
            await self._look()

    def _recover(self, session: Session) -> None:
        if self._recovery is None:
            why = session.recovering_why
            self._outages.lost(why, _BREAKS.get(why, why))
            self._enter(State.RECOVERING, why)
            patience_s = self.settings.supervisor.recovery_patience_s
            self._recovery = Recovery(session, self._clock, rng=self._rng, patience_s=patience_s)
        self._recovery.judge()

    async def _mended(self, session: Session) -> None:
        if self._recovery is not None:
            await self._end_recovery()
            self._outages.mended(self.settings, session)

    async def _end_recovery(self) -> None:
        recovery, self._recovery = self._recovery, None
        if recovery is not None:
            await recovery.close()

    def _judge_legs(self, session: Session) -> None:
        missing = {leg: r for leg, r in session.legs.items() if r.state is LegState.MISSING}
        if not missing:
            self._enter(State.ONLINE, "in_room")
            return
        leg, report = next(iter(missing.items()))
        if isinstance(report.error, AltoError):
            self.last_error = report.error
        self._enter(State.DEGRADED, _leg_reason(leg, report), _leg_detail(missing))

    def _fail(self, error: AltoError) -> float:
        """Say what went wrong; returns how long to wait before the next try."""
        self.last_error = error
        self._outages.lost(error.reason, str(error))
        kind = type(error) if isinstance(error, Evicted) else AltoError
        self._failures[kind] += 1
        pause_s = self._backoff(error).pause_s(self._failures[kind], self._rng)
        blocked = error.policy is Policy.ASK_HUMAN
        self._enter(State.BLOCKED if blocked else State.WAITING, error.reason, str(error))
        self._outages.retrying(pause_s, error, attempt=self.attempt)
        return pause_s

    def _forgive(self, stable_s: float) -> None:
        """A session that lasts proves that the way is good: the pauses start again from the shortest."""
        if stable_s > STABLE_S:
            self._failures.pop(AltoError, None)
        if stable_s > EVICTED_MAX_S:
            self._failures.pop(Evicted, None)

    def _backoff(self, error: AltoError) -> Backoff:
        policy = self.settings.supervisor
        if isinstance(error, Evicted):
            return Backoff(EVICTED_MIN_S * 2, EVICTED_MAX_S)  # jitter may halve it: never sooner than a minute
        if self._failures[Evicted] and self._was_let_in_briefly(error):
            return Backoff(EVICTED_MIN_S * 2, EVICTED_MIN_S * 2)  # it threw the other one out all the same
        if error.policy is Policy.ASK_HUMAN:
            return Backoff(policy.blocked_retry_s, policy.blocked_retry_s)
        max_s = policy.retry_max_s
        if self._outages.age_s() < EAGER_S:
            max_s = min(max_s, max(EAGER_MAX_S, policy.retry_min_s))
        return Backoff(UNMENDED_MIN_S if isinstance(error, Unmended) else policy.retry_min_s, max_s)

    def _was_let_in_briefly(self, error: AltoError) -> bool:
        let_in = self._outages.stay_s() > 0.0 or (isinstance(error, NetworkError) and error.let_in)
        return let_in and self._outages.stay_s() <= STABLE_S

    async def _pause(self, seconds: float) -> None:
        self._retry_now = False
        until = self._pause_until = self._clock.monotonic() + seconds
        while not (self._stopping or self._renew or self._retry_now) and self._clock.monotonic() < until:
            await self._look(timeout_s=min(LOOK_S * 4, until - self._clock.monotonic()))
        self._pause_until = None

    async def _leave(self) -> None:
        await self._end_recovery()
        session, self.session = self.session, None
        self._outages.left()
        if session is not None:
            await session.disconnect()

    async def _look(self, task: asyncio.Task[None] | None = None, timeout_s: float = LOOK_S) -> None:
        """Wait until something may have changed, `task` ended, or it is time to look; then note the progress."""
        waiter = asyncio.create_task(self._wake.wait(), name="wake")
        try:
            await asyncio.wait(
                {waiter, task} if task else {waiter},
                timeout=max(timeout_s, 0.0),
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            waiter.cancel()
        self._wake.clear()
        self.looked_at = self._clock.monotonic()

    # ---- what is said ----

    def _enter(self, state: State, reason: str, detail: str = "") -> None:
        """The one place where the state changes."""
        if state is self.state and reason == self.reason:
            self.detail = detail
            return
        if state is not self.state and state not in NEXT[self.state]:
            raise RuntimeError(f"no way from {self.state} to {state}")
        before, self.state, self.reason, self.detail = self.state, state, reason, detail
        self.since = self._clock.monotonic()
        self.entered[state] += 1
        level = "warning" if state in (State.DEGRADED, State.RECOVERING, State.WAITING, State.BLOCKED) else "info"
        if state not in _OUT:
            self._said.clear()
        elif (state, reason) in self._said:
            level = "debug"  # within one outage each cause is news once
        self._said.add((state, reason))
        getattr(log, level)("state.changed", **{"from": before, "to": state, "reason": reason, "detail": detail})
        self._on_state(state, detail or reason)


def _as_alto(error: Exception | None) -> AltoError:
    return error if isinstance(error, AltoError) else Stalled(f"the session ended: {error or 'no reason was given'}")


def _leg_reason(leg: Leg, report: LegReport) -> str:
    cause = report.error.reason if isinstance(report.error, AltoError) else "audio"
    return f"{leg}_{cause}"


def _leg_detail(missing: Mapping[Leg, LegReport]) -> str:
    return "; ".join(f"{leg}: {report.error}" for leg, report in missing.items())
