"""The wiring: the only place that names the concrete parts. `Appliance.__init__` reads like a circuit diagram."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import structlog

from appliance import realtime
from appliance.afresh import HeldSignals, WearWatch, release_signals
from appliance.audio.portaudio import PortAudioBackend
from appliance.audio.worker import DeviceWorker
from appliance.clock import SystemClock
from appliance.errors import AltoError
from appliance.leg import Losses, Reserves
from appliance.network.entrance import entrance
from appliance.network.server import EmbeddedServer, find_binary
from appliance.network.servertime import ServerTime
from appliance.network.token import token_source
from appliance.observe import exposition
from appliance.observe.exporter import Exporter
from appliance.observe.log import LogPipe
from appliance.observe.metrics import MetricsReporter
from appliance.observe.status import StatusServer
from appliance.observe.systemd import Notifier
from appliance.observe.watchdog import WATCHDOG_S, Watchdog
from appliance.orchestrator import AudioClientOrchestrator, audio_config, treatment
from appliance.ports import Session, TokenSource
from appliance.reload import Keeper, Reloader
from appliance.report import StationReport
from appliance.settings.changes import Changes
from appliance.settings.kept import LastGood
from appliance.settings.load import Loaded
from appliance.settings.model import EMBEDDED, Settings
from appliance.settings.paths import state_dir, status_socket
from appliance.settings.sources import Sources
from appliance.supervisor import State, Supervisor

if TYPE_CHECKING:
    from appliance.doctor import Result

log = structlog.get_logger()

STOP_S: Final = 1.4  # systemd and people expect an end within two seconds: so long everything may take to close…
CLOCK_LOOK_S: Final = 2.0  # soon enough that whoever sets a clock sees the line for it, and nothing for a processor
EXIT_S: Final = 0.4  # …then the interpreter and the SDK's native threads may wind up; then the process ends hard
BEAT_S: Final = 1.0  # how often the watchdogs hear that the station lives

EX_SOFTWARE: Final = 70


async def examine(load: Callable[[], Loaded], socket: Callable[[], Path]) -> list[Result]:
    """`alto doctor`: every check on the real parts."""
    from appliance.doctor import Context, run_checks  # a station never needs it

    return await run_checks(
        Context(
            load=load,
            socket=socket,
            devices=PortAudioBackend().devices,
            grant=lambda settings: token_source(settings, SystemClock()).grant(),
            embedded_binary=lambda settings: find_binary(settings.livekit.embedded.binary),
            state_dir=state_dir(),
        )
    )


def measure_loop(loaded: Loaded, socket: Path, level_dbfs: float) -> list[Result]:
    """`alto doctor --latency`: how long sound takes through the devices of alto.yaml. Blocks for some seconds."""
    from appliance.doctor import checks, latency
    from appliance.observe import client

    try:
        client.query(socket)
        runs = True
    except client.NoStation:
        runs = False
    except client.StationError:
        runs = True  # it may not be asked, or hangs; it is there
    realtime.claim()  # as the station does: its delay is what is asked for
    config = audio_config(loaded.settings)
    kept_away = checks.keeps_echo_away(loaded.settings)
    setup = latency.Setup(PortAudioBackend(), config, SystemClock(), level_dbfs, keeps_echo_away=kept_away)
    return latency.examine(setup, station_runs=runs)


def end_soon(code: int, after_s: float = EXIT_S) -> None:
    """Whatever hangs while everything is closed must not keep a stopped station in the process list."""
    timer = threading.Timer(after_s, os._exit, (code,))
    timer.daemon = True
    timer.start()


class Appliance:
    """All parts of one station."""

    def __init__(
        self,
        loaded: Loaded,
        problems: tuple[object, ...],
        sources: Sources,
        pipe: LogPipe,
        watchdog: Watchdog,
        *,
        replaces: bool,
    ) -> None:
        """`replaces`: whether this process took another one's place."""
        settings = loaded.settings
        self.clock = SystemClock()
        self.stopping = False
        self.asked_to_stop_at = self.clock.monotonic()
        self.pipe = pipe
        self.watchdog = watchdog
        self.notifier = Notifier()
        self.sessions = Sessions(clock=self.clock)
        self.supervisor = Supervisor(
            settings=settings,
            new_session=self.sessions,
            clock=self.clock,
            rng=random.Random(),
            on_state=self._on_state,
        )
        self.report = StationReport(
            supervisor=self.supervisor,
            clock=self.clock,
            sample=lambda: self.metrics.sample(),
            watchdog_bit=watchdog.bit,
        )
        self.metrics = MetricsReporter(
            source=self.report,
            interval_s=settings.metrics.interval_s,
            clock=self.clock,
            lines_dropped=lambda: pipe.lines_dropped,
        )
        self.exporter = Exporter(
            address=settings.metrics.listen,
            render=lambda: exposition.render(self.report.status(self.metrics.scrape()), State),
        )
        self.reloader = Reloader(
            loaded=loaded,
            problems=problems,
            load=sources.load,
            apply=self._apply,
            on_secret=self.supervisor.retry_now,
        )
        self.wear = WearWatch(
            clock=self.clock,
            replaces=replaces,
            limit_mb=lambda: self.supervisor.settings.supervisor.restart_rss_mb,
            stuck_s=lambda: self.sessions.device_stuck_s if self.supervisor.state is State.DEGRADED else 0.0,
            in_room=lambda: self.supervisor.state in (State.ONLINE, State.DEGRADED),
            attended=lambda: self.status.attended,
            figures=self.metrics.sample,
            restart=self._restart,
        )
        self.held: HeldSignals | None = None
        """Set at the end when a fresh process is to take over."""
        self._renewing = False
        self.keeper = Keeper(LastGood(state_dir()))
        self.report.reloader = self.reloader
        self.status = StatusServer(path=status_socket(settings), provider=self.report, recorder=self.report)

    def listen(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take SIGTERM, SIGINT and SIGHUP, from before the loop runs: systemd may change its mind at any time."""
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, number.name.lower())
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        release_signals()

    async def run(self) -> None:
        """Until SIGTERM or SIGINT, or until it is time for a fresh process: then `held` is set."""
        await self._open_status()
        self.keeper.keep(self.reloader.loaded)
        helpers = [
            _task(self.metrics.run(), "metrics"),
            _task(self.exporter.run(), "exporter"),
            _task(self.reloader.run(self._reloaded), "reload"),
            _task(self.keeper.run(), "keep"),
            _task(self.wear.run(), "wear"),
            _task(self.sessions.watch_clock(), "clock"),
            _task(self._feed_watchdogs(), "watchdog"),
        ]
        await self.supervisor.run()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_S - (self.clock.monotonic() - self.asked_to_stop_at)):
                await asyncio.gather(self.sessions.close(), self.status.close())
                for helper in helpers:
                    helper.cancel()
                await asyncio.gather(*helpers, return_exceptions=True)
        if self._renewing:
            held = await HeldSignals.hold()
            self.held = held if self._renewing else None

    # ---- what comes from outside ----

    def _stop(self, reason: str) -> None:
        if self.stopping:
            return
        self.stopping = True
        self.asked_to_stop_at = self.clock.monotonic()
        end_soon(0, STOP_S + EXIT_S)
        log.info("appliance.stopping", reason=reason)
        self._renewing = False
        self.notifier.stopping("asked to stop")
        self.supervisor.stop()

    def _restart(self) -> None:
        self.asked_to_stop_at = self.clock.monotonic()
        end_soon(EX_SOFTWARE, STOP_S + EXIT_S)  # what hangs now hangs: whoever started us starts us again
        self._renewing = True
        self.notifier.reloading()  # not stopping: for systemd the service goes on
        self.supervisor.stop()

    def _reload(self) -> None:
        self.notifier.reloading()
        self.supervisor.retry_now()
        self.reloader.request()

    async def _reloaded(self) -> None:
        self.notifier.ready(self._status_line())

    def _apply(self, loaded: Loaded, changes: Changes) -> None:
        settings = loaded.settings
        self.keeper.keep(loaded)
        self.pipe.bind(station=settings.identity)
        if changes.log:
            self.pipe.set_level(settings.log.level.value)
        if changes.metrics:
            self.metrics.set_interval(settings.metrics.interval_s)
            self.exporter.set_address(settings.metrics.listen)
        if changes.session:
            self.sessions.forget()
        self.supervisor.apply(settings, changes)

    def _on_state(self, state: State, _why: str) -> None:
        self.report.note_error()
        if state is State.CONNECTING and self.supervisor.entered[State.CONNECTING] == 1:
            # Ready once it looks after itself: a boot must not wait for a server that is away.
            self.notifier.ready(self._status_line())
        else:
            self.notifier.status(self._status_line())

    # ---- what runs beside the supervisor ----

    async def _open_status(self) -> None:
        """The status socket is a convenience: without it the station runs all the same."""
        try:
            await self.status.start()
        except (AltoError, OSError) as error:
            path = status_socket(self.supervisor.settings)
            log.warning("status.unavailable", path=path, detail=str(error), fix=getattr(error, "fix", ""))

    async def _feed_watchdogs(self) -> None:
        """Both hear how long ago the supervisor made progress: a stuck loop or a stuck supervisor ends the process."""
        while True:
            idle_s = self.clock.monotonic() - self.supervisor.looked_at
            self.watchdog.feed(idle_s)
            if idle_s < WATCHDOG_S:
                self.notifier.watchdog()
            await asyncio.sleep(BEAT_S)

    def _status_line(self) -> str:
        """The sentence for `systemctl status`."""
        warning = f"{self.reloader.loaded.path} is not in force, see alto status; " if self.reloader.problems else ""
        return f"{warning}{self.supervisor.state}: {self.supervisor.detail or self.supervisor.reason}"


class Sessions:
    """`ports.SessionFactory`: a token, then a session on the real parts. Keeps what outlives a session."""

    def __init__(self, *, clock: SystemClock) -> None:
        self._clock = clock
        self._time = ServerTime(clock)
        self._backend = PortAudioBackend()
        self._worker = DeviceWorker()
        self._losses = Losses()
        self._reserves = Reserves()
        self._server: EmbeddedServer | None = None
        self._tokens: TokenSource | None = None

    async def __call__(self, settings: Settings, on_change: Callable[[], None]) -> Session:
        """See `ports.SessionFactory`."""
        if self._tokens is None:
            self._tokens = await self._token_source(settings)
        if self._server is not None:
            await self._server.start()
        grant = await self._tokens.grant()
        return AudioClientOrchestrator(
            grant.url,
            grant.token,
            audio_config(settings),
            backend=self._backend,
            worker=self._worker,
            clock=self._clock,
            volumes=settings.audio.volumes,
            treated=treatment(settings),
            tolerant=True,
            connect_s=settings.livekit.connect_timeout_s,
            device_retry_s=settings.supervisor.device_retry_s,
            losses=self._losses,
            reserves=self._reserves,
            on_change=on_change,
            on_rejected=self._tokens.invalidate,
        )

    @property
    def device_stuck_s(self) -> float:
        """How long a call that opens or closes a sound device has not returned; 0: none runs."""
        return max(self._worker.stuck_s, self._backend.stuck_s)  # a close that hangs is left behind by its caller

    def forget(self) -> None:
        """The settings changed: the next session asks for its right anew."""
        self._tokens = None

    async def watch_clock(self) -> None:
        """Tell of a wall clock that is set, or jumps, while a call runs."""
        while True:
            self._time.look()
            await asyncio.sleep(CLOCK_LOOK_S)

    async def close(self) -> None:
        """Stop the embedded server. Bounded."""
        if self._server is not None:
            await self._server.stop()

    async def _token_source(self, settings: Settings) -> TokenSource:
        if self._server is not None:
            await self._server.stop()
            self._server = None
        if settings.livekit.url != EMBEDDED:
            return entrance(settings, self._time)
        server = EmbeddedServer(settings=settings.livekit.embedded, state_dir=state_dir(), clock=self._clock)
        await server.start()
        self._server = server
        keys = server.files.api_key_file, server.files.api_secret_file
        return token_source(settings, self._clock, embedded=(server.url, *keys))


def _task(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    return asyncio.get_running_loop().create_task(work, name=name)
