"""Watching the files that the configuration is made of, taking up what somebody saved, and keeping what worked.

Polled, not by inotify: it works the same on FAT, tmpfs and network mounts, through every editor's way of saving, and
costs two small reads a second from the page cache (no wear: nothing is written).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Final

import structlog

from appliance.errors import AltoError, ConfigError
from appliance.settings.changes import Changes, changes
from appliance.settings.files import Unreadable, read_small_file
from appliance.settings.kept import LastGood
from appliance.settings.load import Loaded
from appliance.settings.model import Settings

log = structlog.get_logger()

LOOK_S: Final = 0.4  # two looks that agree are within the second that a user waits after saving
READ_BYTES: Final = 65536  # more than alto.yaml may have; a change behind it is refused by the loader anyway


class FileWatch:
    """Reports a change once the file has kept still for one look: half-written files are not read."""

    def __init__(self, path: Path, known: bytes | None = None) -> None:
        """`known` is the fingerprint of the content that was taken up; None: what lies there now."""
        self.path = path
        self._known = _fingerprint(path) if known is None else known
        self._seen = self._known

    def changed(self) -> bool:
        """One look. True once for each change."""
        now = _fingerprint(self.path)
        settled, self._seen = now == self._seen, now
        if not settled or now == self._known:
            return False
        self._known = now
        return True


def _fingerprint(path: Path) -> bytes:
    """The content's, not the time stamp's: FAT counts in steps of two seconds."""
    try:
        return _digest(read_small_file(path, limit_bytes=READ_BYTES)[0])
    except Unreadable as error:
        return error.found.encode()


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data).digest()


def _config_watch(loaded: Loaded) -> FileWatch:
    """From the content that was loaded, so that what was saved in between is seen. One that was only kept tells
    nothing of the file: the first look then is a change."""
    return FileWatch(loaded.path, _digest(loaded.data) if loaded.kept_at is None else b"")


class Keeper:
    """Keeps what works for the day when alto.yaml cannot be used. Called on the loop thread; the disk may take its
    time on another one."""

    def __init__(self, last_good: LastGood) -> None:
        self._last_good = last_good
        self._waiting: Loaded | None = None
        self._news = asyncio.Event()
        self._failed = False

    def keep(self, loaded: Loaded) -> None:
        """Keep this soon; of several, the last one."""
        if loaded.kept_at is None:
            self._waiting = loaded
            self._news.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            if self._waiting is not None:
                await self._keep(self._waiting)

    async def _keep(self, loaded: Loaded) -> None:
        try:
            await asyncio.to_thread(self._last_good.keep, loaded.path, loaded.data)
        except OSError as error:
            if not self._failed:
                log.warning(
                    "config.not_kept",
                    file=self._last_good.file,
                    detail=error.strerror or str(error),
                    fix=f"let the user of alto write in {self._last_good.file.parent}, and see that the disk has room",
                )
            self._failed = True
        else:
            self._failed = False


class Reloader:
    """Loads alto.yaml again on request or when it was saved, and hands on what changed.

    A file that cannot be used keeps the running configuration and says why. `problems` are those that the file had at
    the start, when `loaded` is one that was kept. `apply` takes up a new one. `on_secret` is called when one of the
    secret files (token_file and the like) has a new content: what was refused before may now work.
    """

    def __init__(
        self,
        *,
        loaded: Loaded,
        problems: tuple[object, ...] = (),
        load: Callable[[], Loaded],
        apply: Callable[[Loaded, Changes], None],
        on_secret: Callable[[], None],
    ) -> None:
        self.loaded = loaded
        self.problems = problems
        """What is wrong with the file as it lies there now; empty while it is the running one."""
        self._load = load
        self._apply = apply
        self._on_secret = on_secret
        self._asked = asyncio.Event()
        self._file = _config_watch(loaded)
        self._secrets = _secret_watches(loaded.settings)

    def request(self) -> None:
        """Load now, changed or not (SIGHUP)."""
        self._asked.set()

    async def run(self, done: Callable[[], Awaitable[None]] | None = None) -> None:
        """Until cancelled. `done` is awaited after each reload, whatever came of it."""
        while True:
            asked = await self._asked_within(LOOK_S)
            if asked or (self._watching and self._file.changed()):
                await self.reload(asked=asked)
                if done is not None:
                    await done()
            looks = [watch.changed() for watch in self._secrets]  # all of them: a look is remembered
            if any(looks):
                log.info("config.secret_changed")
                self._on_secret()

    async def reload(self, *, asked: bool = False) -> bool:
        """Load the file; True when it is now the running configuration. When it is refused for the same reasons as
        before, that is told again only to who asked."""
        try:
            # On a thread: parsing takes some 10 ms, which would be heard if the event loop spent them.
            fresh = await asyncio.to_thread(self._load)
        except AltoError as error:
            self._refuse(error.problems if isinstance(error, ConfigError) else (error,), asked=asked)
            return False
        what = changes(self.loaded.settings, fresh.settings)
        self.loaded, self.problems = fresh, ()
        self._file = _config_watch(fresh)
        self._secrets = _secret_watches(fresh.settings)
        self._apply(fresh, what)
        log.info("config.applied", file=fresh.path, changes=list(what.keys), how=_how(what))
        return True

    def _refuse(self, problems: tuple[object, ...], *, asked: bool) -> None:
        if asked or list(map(str, problems)) != list(map(str, self.problems)):
            log.error("config.rejected", file=self.loaded.path, problems=[str(problem) for problem in problems])
        self.problems = problems

    @property
    def _watching(self) -> bool:
        return self.loaded.settings.supervisor.watch_file

    async def _asked_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):  # not wait_for: see MetricsReporter
                await self._asked.wait()
        except TimeoutError:
            return False
        self._asked.clear()
        return True


def _how(what: Changes) -> str:
    """How deep a change went: the most that was needed."""
    if what.session:
        return "reconnect"
    return "devices" if what.input_device or what.output_device else "live"


def _secret_watches(settings: Settings) -> list[FileWatch]:
    livekit = settings.livekit
    files: Iterable[Path | None] = (livekit.api_key_file, livekit.api_secret_file, livekit.token_file)
    return [FileWatch(path) for path in files if path is not None]
