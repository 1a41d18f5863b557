"""Subscribes a voice anew, and sees to it that it comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Final, Protocol

import structlog

from appliance.errors import NetworkError
from appliance.network.caution import Caution, Hold

log = structlog.get_logger()

# Between "no more" and "again": the server needs 0.2 s to let go. Said at once, it takes both for none, and the voice
# stays away.
APART_S: Final = 0.3
BACK_S: Final = (4.0, 4.0)  # 0.1 s measured, 1 to 3 s on a slow board: the server looks again after 3 s
POLL_S: Final = 0.02


class Publication(Protocol):
    """What is needed of the SDK's remote publications."""

    def set_subscribed(self, subscribed: bool) -> None: ...


class Renewals:
    """Of one session. Loop thread."""

    def __init__(
        self,
        *,
        find: Callable[[str], Awaitable[str | None]],
        publication: Callable[[str], Publication | None],
        is_heard: Callable[[str], bool],
        on_failure: Callable[[NetworkError], None],
    ) -> None:
        """`find`: from WebRTC's name of a track to the server's id (sid), None when it is gone. By a sid: `publication`
        is None when it is in the room no more, `is_heard` tells whether it has its voice. `on_failure` is called when a
        voice does not come back."""
        self._find = find
        self._publication = publication
        self._is_heard = is_heard
        self._on_failure = on_failure
        self.under_way: set[str] = set()
        """The tracks that are away for a moment, by their sid."""
        self._caution = Caution()
        self._tasks: set[asyncio.Task[None]] = set()

    def look(self, holds: Mapping[str, Hold]) -> None:
        """Renew what is held back for nothing; by WebRTC's names of the tracks."""
        for track in self._caution.outdated(asyncio.get_running_loop().time(), holds):
            self._begin(self._renew_held(track, holds[track]))

    def renew(self, sid: str) -> None:
        """Subscribe a track anew."""
        self._begin(self._renew(sid))

    @property
    def busy(self) -> bool:
        """Whether a voice has not come back yet."""
        return bool(self._tasks)

    def _begin(self, renewal: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(renewal, name="renew-voice")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def stop(self) -> None:
        """The session is over, or the SDK makes all subscriptions anew itself."""
        for task in self._tasks:
            task.cancel()

    async def _renew_held(self, track: str, hold: Hold) -> None:
        if (sid := await self._find(track)) is not None:
            log.info("stream.renewed", stream=sid, buffer_ms=round(hold.buffer_ms))
            await self._renew(sid)

    async def _renew(self, sid: str) -> None:
        self.under_way.add(sid)
        try:
            await self._renew_until_heard(sid)
        finally:
            self.under_way.discard(sid)

    async def _renew_until_heard(self, sid: str) -> None:
        for patience_s in BACK_S:
            publication = self._publication(sid)
            if publication is None:
                return
            publication.set_subscribed(False)
            try:
                await asyncio.sleep(APART_S)
            finally:
                publication.set_subscribed(True)
            if await self._comes_back(sid, patience_s):
                return
        self._on_failure(NetworkError("a voice that was subscribed anew did not come back"))

    async def _comes_back(self, sid: str, patience_s: float) -> bool:
        loop = asyncio.get_running_loop()
        end_s = loop.time() + patience_s
        while loop.time() < end_s:
            await asyncio.sleep(POLL_S)
            if self._publication(sid) is None or self._is_heard(sid):
                return True
        return False
