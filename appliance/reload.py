"""Watching the files that the configuration is made of, and taking up what somebody saved.

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
from appliance.settings.load import Loaded
from appliance.settings.model import Settings

log = structlog.get_logger()

LOOK_S: Final = 0.4  # two looks that agree are within the second that a user waits after saving
READ_BYTES: Final = 65536  # more than alto.yaml may have; a change behind it is refused by the loader anyway


class FileWatch:
    """Reports a change once the file has kept still for one look: half-written files are not read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known = _fingerprint(path)
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
        return hashlib.blake2b(read_small_file(path, limit_bytes=READ_BYTES)[0]).digest()
    except Unreadable as error:
        return error.found.encode()


class Reloader:
    """Loads alto.yaml again on request or when it was saved, and hands on what changed.

    A file that cannot be used keeps the running configuration and says why. `on_secret` is called when one of the
    secret files (token_file and the like) has a new content: what was refused before may now work.
    """

    def __init__(
        self,
        *,
        loaded: Loaded,
        load: Callable[[], Loaded],
        apply: Callable[[Settings, Changes], None],
        on_secret: Callable[[], None],
    ) -> None:
        self.loaded = loaded
        self.problems: tuple[object, ...] = ()
        """What is wrong with the file as it lies there now; empty while it is the running one."""
        self._load = load
        self._apply = apply
        self._on_secret = on_secret
        self._asked = asyncio.Event()
        self._file = FileWatch(loaded.path)
        self._secrets = _secret_watches(loaded.settings)

    def request(self) -> None:
        """Load now, changed or not (SIGHUP)."""
        self._asked.set()

    async def run(self, done: Callable[[], Awaitable[None]] | None = None) -> None:
        """Until cancelled. `done` is awaited after each reload that was asked for."""
        while True:
            asked = await self._asked_within(LOOK_S)
            if asked:
                self._file = FileWatch(self.loaded.path)
                await self.reload()
                if done is not None:
                    await done()
            elif self._watching and self._file.changed():
                await self.reload()
            looks = [watch.changed() for watch in self._secrets]  # all of them: a look is remembered
            if any(looks):
                log.info("config.secret_changed")
                self._on_secret()

    async def reload(self) -> bool:
        """Load the file; True when it is now the running configuration."""
        try:
            # On a thread: parsing takes some 10 ms, which would be heard if the event loop spent them.
            fresh = await asyncio.to_thread(self._load)
        except ConfigError as error:
            self.problems = error.problems
            log.error("config.rejected", file=self.loaded.path, problems=[str(p) for p in error.problems])
            return False
        except AltoError as error:
            self.problems = (error,)
            log.error("config.rejected", file=self.loaded.path, problems=[str(error)])
            return False
        what = changes(self.loaded.settings, fresh.settings)
        self.loaded, self.problems = fresh, ()
        self._secrets = _secret_watches(fresh.settings)
        self._apply(fresh.settings, what)
        log.info("config.applied", file=fresh.path, changes=list(what.keys), how=_how(what))
        return True

    @property
    def _watching(self) -> bool:
        return self.loaded.settings.supervisor.watch_file

    async def _asked_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._asked.wait(), seconds)
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
