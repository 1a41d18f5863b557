"""When a voice waits longer than its network asks for any more, and what is to be done about it.

NetEQ, the SDK's jitter buffer, remembers how late packets once came: after 200 ms of jitter it holds 100 to 200 ms more
than before for some 40 s (measured, livekit 1.2.1), and the SDK has no word to shorten that. A new subscription begins
without a memory. It costs a hole in that voice, of 0.4 s, and of 1 to 3 s where a slow board answers the server slowly.
That is worse than 0.2 s of delay for a while, so it is done in a pause only: who speaks on is left to NetEQ.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

LONG_MS: Final = 100.0  # on a good network NetEQ holds 40 to 80 ms
NEAR_MS: Final = 100.0  # a new subscription takes several round trips: from afar the hole would be heard
PUNCTUAL_MS: Final = 10.0  # jitter of half a packet, about; Wi-Fi at rest shows 2 to 8 ms
CALM_S: Final = 2.0  # punctual and quiet for so long: the trouble is over, and nobody is about to go on speaking
QUIET_RMS: Final = 0.003  # −50 dBFS
AGAIN_MIN_S: Final = 10.0  # doubled each time: where trouble comes again and again, NetEQ's memory is right
AGAIN_MAX_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class Hold:
    """How one track's sound was held back since the look before."""

    buffer_ms: float
    jitter_ms: float
    """Of its packets' arrival, as RFC 3550 smooths it: forgotten within a second."""
    rtt_ms: float
    """Of the path, at its last connectivity check: every 2.5 s."""
    rms: float
    """Of its sound, 0.0 to 1.0."""

    @property
    def is_outdated(self) -> bool:
        """Whether sound waits long although packets are punctual, and nobody would miss it for a moment."""
        held = self.buffer_ms >= LONG_MS and self.jitter_ms <= PUNCTUAL_MS
        return held and self.rms < QUIET_RMS and self.rtt_ms <= NEAR_MS


class Caution:
    """All tracks of one session, which come over the same link. Loop thread."""

    def __init__(self) -> None:
        self._since_s: dict[str, float] = {}
        self._pause_s = AGAIN_MIN_S
        self._not_before_s = -math.inf

    def outdated(self, now_s: float, holds: Mapping[str, Hold]) -> list[str]:
        """Which of all the tracks are to be subscribed anew now."""
        before, self._since_s = self._since_s, {}
        for track, hold in holds.items():
            self._since_s[track] = before.get(track, now_s) if hold.is_outdated else now_s
        due = [track for track in holds if now_s - self._since_s[track] >= CALM_S]
        if not due or now_s < self._not_before_s:
            return []
        self._take_up_pause(now_s)
        for track in due:
            del self._since_s[track]
        return due

    def _take_up_pause(self, now_s: float) -> None:
        calm = now_s - self._not_before_s > AGAIN_MAX_S
        self._pause_s = AGAIN_MIN_S if calm else min(AGAIN_MAX_S, 2 * self._pause_s)
        self._not_before_s = now_s + self._pause_s
