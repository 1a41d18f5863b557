"""`EmbeddedServer`: a livekit-server of our own on 127.0.0.1, for `livekit.url: embedded`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import sys
from pathlib import Path
from typing import Final

import structlog

from appliance.errors import AltoError, NetworkError, Policy
from appliance.network import leftover
from appliance.network.knock import knock
from appliance.network.serverfiles import LOOPBACK, ServerFiles
from appliance.ports import Clock
from appliance.settings.files import Unreadable
from appliance.settings.model import EmbeddedServer as EmbeddedSettings

log = structlog.get_logger()

READY_S: Final = 15.0  # it answers after 0.2 s here; a Zero 2 W with a slow card is some ten times slower
LOOK_S: Final = 0.05
STOP_S: Final = 0.5  # the first SIGTERM waits for participants to leave, so a second and SIGKILL follow soon
PAUSE_S: Final = 0.2  # before a dead one is started again…
LONGEST_PAUSE_S: Final = 10.0  # …doubled up to this while it dies again and again…
LONG_LIFE_S: Final = 60.0  # …until one has lived this long


class ServerMissing(AltoError):
    """There is no livekit-server to start."""

    policy = Policy.ASK_HUMAN
    reason = "server_missing"


class ServerFailed(NetworkError):
    """It does not start: a port is taken, or it ended at once."""

    reason = "server_failed"


class EmbeddedServer:
    """Started by `start`, which does nothing while it runs well. One that dies is started again at once, so that a
    call that goes on finds somebody to mend it with. Loop thread only."""

    def __init__(self, *, settings: EmbeddedSettings, state_dir: Path, clock: Clock) -> None:
        self.files = ServerFiles(state_dir / "embedded", settings)
        """Its keys are there once it was started."""
        self._settings = settings
        self._clock = clock
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()  # the watcher and whoever calls start() must not launch two
        self._last_words = ""

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"ws://{LOOPBACK}:{self._settings.port}"

    async def start(self) -> None:
        """Have it running and answering. Raises ServerMissing, ServerFailed."""
        async with self._turn:
            await self._bring_up()
        if self._watcher is None:
            self._watcher = asyncio.create_task(self._watch(), name="server-watch")

    async def stop(self) -> None:
        """End it; idempotent, bounded to about a second."""
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.cancel()
            await asyncio.wait({watcher})
        if (process := await self._end()) is not None:
            log.info("server.stopped", exit_code=process.returncode)

    # ---- steps

    async def _watch(self) -> None:
        pause_s = PAUSE_S
        while True:
            if (process := self._process) is not None:
                began = self._clock.monotonic()
                await process.wait()
                pause_s = PAUSE_S if self._clock.monotonic() - began > LONG_LIFE_S else pause_s
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            with contextlib.suppress(AltoError, OSError):  # the start before the next session says why
                async with self._turn:
                    await self._bring_up()

    async def _bring_up(self) -> None:
        if self._process is not None and self._process.returncode is None:
            return
        if self._process is not None:
            log.warning("server.died", exit_code=self._process.returncode, detail=self._last_words)
        binary = find_binary(self._settings.binary)
        if await _answers(self._settings.port):
            await self._free_port()
        _warn_without_interface()
        began = self._clock.monotonic()
        await self._launch(binary)
        try:
            await self._until_ready(began)
        except BaseException:  # given up as well: left alone it would hold the port against the next start
            await self._end()
            raise
        log.info("server.started", url=self.url, took_s=round(self._clock.monotonic() - began, 3))

    async def _end(self) -> asyncio.subprocess.Process | None:
        process, self._process = self._process, None
        if process is None:
            return None
        for end in (process.terminate, process.terminate, process.kill):
            if process.returncode is not None:
                break
            with contextlib.suppress(ProcessLookupError):
                end()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), STOP_S if end == process.kill else STOP_S / 2)
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        return process

    async def _free_port(self) -> None:
        """End what an earlier run of ours left behind, as happens where nothing ties its life to ours."""
        for pid in await asyncio.to_thread(leftover.end_all, self.files.config):
            log.warning("server.left_over", pid=pid)
        if await _answers(self._settings.port):
            raise ServerFailed(
                f"port {self._settings.port} is taken by another program",
                fix="end it, or set livekit.embedded.port to a free one",
            )

    async def _launch(self, binary: str) -> None:
        config = self._write_files()
        # Its life hangs on ours, also when we are killed. Not by preexec_fn: that would fork Python beside the SDK.
        tied = ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []
        self._process = await asyncio.create_subprocess_exec(
            *tied,
            binary,
            "--config",
            str(config),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        assert self._process.stdout is not None
        self._reader = asyncio.create_task(self._read_log(self._process.stdout), name="server-log")

    async def _until_ready(self, began: float) -> None:
        assert self._process is not None
        while not await _answers(self._settings.port):
            if self._process.returncode is not None:
                raise ServerFailed(
                    f"livekit-server ended at once with {self._process.returncode}: {self._last_words}",
                    fix="is one of the ports of livekit.embedded taken?",
                )
            if self._clock.monotonic() - began > READY_S:
                raise ServerFailed(f"livekit-server did not answer within {READY_S:g} s")
            await asyncio.sleep(LOOK_S)

    def _write_files(self) -> Path:
        try:
            return self.files.write()
        except Unreadable as error:
            fix = f"{error.fix}, or remove it: a new one is made"
            raise ServerFailed(f"a file of the embedded server cannot be used: {error.found}", fix=fix) from error
        except OSError as error:
            what = f"the embedded server's files cannot be written: {error.filename}: {error.strerror}"
            raise ServerFailed(what, fix="let alto's user write its state directory; is the disk full?") from error

    async def _read_log(self, stream: asyncio.StreamReader) -> None:
        while True:
            try:
                line = await stream.readline()
            except ValueError:  # a line longer than the reader holds: the rest of it comes next
                continue
            if not line:
                return
            self._tell(line.decode(errors="replace").strip())

    def _tell(self, line: str) -> None:
        try:
            fields = json.loads(line)
            level, message = str(fields.get("level", "info")), str(fields.get("msg", ""))
            error = str(fields.get("error", ""))
        except (ValueError, AttributeError):
            level, message, error = "info", line, ""
        self._last_words = f"{message} {error}".strip()[:300]
        say = log.warning if level in ("error", "fatal", "panic") else log.debug
        say("server.log", message=message[:300], error=error[:300])


def find_binary(named: str | None) -> str:
    """livekit-server: the one that is named, beside the alto command, or on PATH. Raises ServerMissing."""
    beside = Path(sys.executable).parent / "livekit-server"
    candidates = [named] if named else [str(beside), "livekit-server"]
    for candidate in candidates:
        if found := shutil.which(candidate):
            return found
    raise ServerMissing(
        f"no livekit-server at {named}" if named else "no livekit-server beside alto or on PATH",
        fix="run deploy/dev setup, set livekit.embedded.binary, or give livekit.url the address of a server",
    )


async def _answers(port: int) -> bool:
    """Whether somebody listens there, whatever it speaks."""
    try:
        await knock(f"ws://{LOOPBACK}:{port}")
    except NetworkError as error:
        return not isinstance(error.__cause__, ConnectionRefusedError)
    return True


def _warn_without_interface() -> None:
    """The SDK gathers no loopback candidates of its own: with `lo` alone a call never connects (measured)."""
    up = [path.name for path in Path("/sys/class/net").glob("*") if path.name != "lo" and _is_up(path)]
    if not up:
        log.warning("server.no_interface", fix="connect the board to any network: a call needs one interface beside lo")


def _is_up(path: Path) -> bool:
    try:
        return (path / "operstate").read_text().strip() in ("up", "unknown")
    except OSError:
        return False
