"""Whether anything still arrives: the only sign of a cable that is pulled or of a server that stands still.

The SDK itself notices after 14 s or more. How often WebRTC's counters move, measured with livekit 1.2.1 against
livekit-server 1.13.5, longest gap within a minute: listening to somebody 0.4 s, publishing 1.0 s, listen-only and
alone in the room 2.1 s (each side's connectivity checks, every 2 and every 2.5 s, and nothing else).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from appliance.ports import Clock, LinkStats

LOOK_S: Final = 1.0
HEARD_S: Final = 3.5
"""Without a byte for so long, the path is dead: more than the longest gap and one look (3.1 s), and little enough
that a break is known within 5 s (one look, this, one close look)."""

CLOSE_LOOK_S: Final = 0.25  # while nothing moved at the last look: to know the end of the quiet, or its length


class LinkWatch:
    """Looks at one session's counters for as long as it lasts. Loop thread only."""

    def __init__(
        self, *, stats: Callable[[], Awaitable[LinkStats]], clock: Clock, on_change: Callable[[], None]
    ) -> None:
        """`stats`: `RoomConnection.stats`. `on_change` is called after `is_stalled` changed."""
        self.link = LinkStats()
        """As of the last look."""
        self.is_stalled = False
        self._stats = stats
        self._clock = clock
        self._on_change = on_change
        self._bytes: int | None = None
        self._heard_at_s = 0.0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look from now on."""
        self.begin_anew()
        self._task = asyncio.get_running_loop().create_task(self._run(), name="link-watch")

    def begin_anew(self) -> None:
        """The SDK has made a new connection: its counters start again, and nothing is held against it."""
        self._bytes = None
        self._hear()

    async def close(self) -> None:
        """Look no more. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _run(self) -> None:
        while True:
            self.link = await self._stats()
            await asyncio.sleep(self._judge(self.link.bytes_received))

    def _judge(self, received: int | None) -> float:
        """Take one look's number, None for no news; returns after how long to look again."""
        before, self._bytes = self._bytes, self._bytes if received is None else received
        if received is None:
            return LOOK_S
        if before is None or received > before:
            self._hear()
            return LOOK_S
        if self._clock.monotonic() - self._heard_at_s >= HEARD_S:
            self._turn(stalled=True)
        return CLOSE_LOOK_S

    def _hear(self) -> None:
        self._heard_at_s = self._clock.monotonic()
        self._turn(stalled=False)

    def _turn(self, *, stalled: bool) -> None:
        if stalled is not self.is_stalled:
            self.is_stalled = stalled
            self._on_change()
