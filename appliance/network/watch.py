"""Whether sound still comes and goes: the only sign of a pulled cable, or of a session that ended without a word.

The SDK itself notices a break after 14 s or more. How often WebRTC's counters move, measured with livekit 1.2.1
against livekit-server 1.13.5, longest gap within a minute: listening to somebody 0.4 s, publishing 1.0 s, listen-only
and alone in the room 2.1 s (each side's connectivity checks, every 2 and every 2.5 s, and nothing else).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from appliance.errors import Stalled
from appliance.ports import Clock, LinkStats

LOOK_S: Final = 0.75  # a look takes 1 ms
HEARD_S: Final = 3.25
"""Without a byte for so long, the path is dead: longer than the longest gap when only our own checks are answered
(2.5 s), and little enough that a break is known after 4.25 s at most (a look, this, a close look): a board that is busy
has the rest of the promised 5 s."""

CLOSE_LOOK_S: Final = 0.25  # while the path is dead, and when the quiet is about to have lasted too long
SENT_S: Final = 2.0  # 20 times the longest pause of the capture pump, which sends silence if need be
SENT_LOOKS: Final = 3  # the first look after the loop stood still may come before the pump's turn


class Standstill:
    """For how long, and at how many looks, a counter has not grown."""

    def __init__(self, clock: Clock) -> None:
        self.looks = 0
        self._clock = clock
        self._count: int | None = None
        self._moved_at_s = clock.monotonic()

    def note(self, count: int) -> None:
        """Take what the counter shows now. The first number is a beginning; one that went back is no growth."""
        before, self._count = self._count, count
        if before is None or count > before:
            self.looks, self._moved_at_s = 0, self._clock.monotonic()
        else:
            self.looks += 1

    @property
    def seconds(self) -> float:
        return self._clock.monotonic() - self._moved_at_s


class LinkWatch:
    """Looks at one session's counters for as long as it lasts. Loop thread only."""

    def __init__(
        self,
        *,
        stats: Callable[[], Awaitable[LinkStats]],
        sent: Callable[[], int | None],
        clock: Clock,
        on_change: Callable[[], None],
        on_mute: Callable[[Exception], None],
    ) -> None:
        """`stats`: `RoomConnection.stats`. `sent`: frames handed to the encoder so far, None in a listen-only session.

        `on_change` is called after `is_stalled` changed, `on_mute` once when frames stopped to go out.
        """
        self.link = LinkStats()
        """As of the last look."""
        self.is_stalled = False
        self._stats = stats
        self._sent = sent
        self._clock = clock
        self._on_change = on_change
        self._on_mute = on_mute
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look from now on."""
        self._outgoing = Standstill(self._clock)
        self.begin_anew()
        self._task = asyncio.get_running_loop().create_task(self._run(), name="link-watch")

    def begin_anew(self) -> None:
        """The SDK has made a new connection: its counters start again, and nothing is held against it."""
        self._incoming = Standstill(self._clock)
        self._turn(stalled=False)

    async def close(self) -> None:
        """Look no more. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _run(self) -> None:
        while not self._is_mute():
            self.link = await self._stats()
            self._listen(self.link.bytes_received)
            await asyncio.sleep(self._pause_s())
        self._on_mute(Stalled(f"no sound went out for {self._outgoing.seconds:.1f} s although the room is joined"))

    def _listen(self, received: int | None) -> None:
        """None is no news: the SDK could not say, or there is no transport, as in an empty room."""
        if received is not None:
            self._incoming.note(received)
            self._turn(stalled=self._incoming.seconds >= HEARD_S)

    def _pause_s(self) -> float:
        """Until the next regular look, or the moment at which the quiet has lasted too long."""
        if self.is_stalled:
            return CLOSE_LOOK_S
        return min(LOOK_S, max(CLOSE_LOOK_S, HEARD_S - self._incoming.seconds))

    def _is_mute(self) -> bool:
        if (sent := self._sent()) is not None:
            self._outgoing.note(sent)
        return self._outgoing.looks >= SENT_LOOKS and self._outgoing.seconds >= SENT_S

    def _turn(self, *, stalled: bool) -> None:
        if stalled is not self.is_stalled:
            self.is_stalled = stalled
            self._on_change()
