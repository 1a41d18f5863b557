"""Who has the floor: which voices are played in a room with more of them than `audio.max_streams`.

Pure: it is told who is there, who speaks and what time it is, and says which voices are played. Its rules:

- While there is room, everybody is played.
- Who begins to speak is played at once, in the place of whoever has been silent longest; of those who never spoke, of
  whoever came last. To switch a microphone on counts as well: somebody is about to speak.
- Nobody who speaks gives way to somebody who does not. When everybody who is played speaks, who begins waits for the
  first to end, unless one of them has gone on without a pause for longer than people do.
- Nothing else changes who is played, so nothing flaps: silence costs nobody a place.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable
from dataclasses import dataclass
from typing import Final

NEVER: Final = -math.inf
BREATH_S: Final = 30.0
"""Longer than anybody speaks without a pause that the server notices (0.8 s): a television, a fan, a hum."""


@dataclass(eq=False)
class _Voice:
    person: str
    place: int
    """In the order of coming: the first are the smallest."""
    speaks: bool = False
    began_s: float = NEVER
    spoke_s: float = NEVER
    """When it was last heard of: its end of speaking, or the microphone switched on."""
    played: bool = False

    def rank(self, now_s: float) -> tuple[int, float, int]:
        """The greater, the more it is worth a place."""
        if not self.speaks:
            return (0, self.spoke_s, -self.place)
        return (2 if self.is_saying_something(now_s) else 1, self.began_s, -self.place)

    def is_saying_something(self, now_s: float) -> bool:
        return self.speaks and now_s - self.began_s < BREATH_S


class Floor:
    """All voices of a room that are not muted, by whatever names them. Times are of one monotonic clock."""

    def __init__(self, most: int) -> None:
        """`most`: how many are played at once, 1 or more."""
        self.most = most
        self._voices: dict[Hashable, _Voice] = {}
        self._speakers: frozenset[str] = frozenset()
        self._came = 0

    # ---- what happens ----------------------------------------------------------------------------------------

    def come(self, name: Hashable, person: str, now_s: float, *, switched_on: bool = False) -> None:
        """A voice of `person` is there. `switched_on`: it was muted until now."""
        if name in self._voices:
            return
        self._came += 1
        voice = self._voices[name] = _Voice(person, self._came)
        if person in self._speakers:
            voice.speaks, voice.began_s = True, now_s
        elif switched_on:
            voice.spoke_s = now_s
            self._make_way(voice, now_s)

    def go(self, name: Hashable) -> None:
        """It is muted, or gone."""
        self._voices.pop(name, None)

    def speak(self, people: Collection[str], now_s: float) -> None:
        """These people speak now, and nobody else."""
        self._speakers = frozenset(people)
        for voice in self._voices.values():
            speaks = voice.person in self._speakers
            if speaks and not voice.speaks:
                voice.began_s = now_s
            elif voice.speaks and not speaks:
                voice.spoke_s = now_s
            voice.speaks = speaks

    # ---- what follows ----------------------------------------------------------------------------------------

    def played(self, now_s: float) -> frozenset[Hashable]:
        """Which voices are to be played from now on, `most` at most."""
        self._keep_to_most(now_s)
        for voice in self._waiting(now_s):
            if self._count() < self.most:
                voice.played = True
            elif voice.is_saying_something(now_s):
                self._make_way(voice, now_s)
        return frozenset(name for name, voice in self._voices.items() if voice.played)

    @property
    def waiting(self) -> tuple[Hashable, ...]:
        """Those that are not played, the first that came first; as of the last `played`."""
        return tuple(name for name, voice in self._voices.items() if not voice.played)

    def _keep_to_most(self, now_s: float) -> None:
        while self._count() > self.most:
            self._last(now_s).played = False

    def _make_way(self, voice: _Voice, now_s: float) -> None:
        """Give it the place of the last in rank, unless that one is saying something as well."""
        if self._count() < self.most:
            return
        last = self._last(now_s)
        if last.rank(now_s) < min(voice.rank(now_s), (2, NEVER, 0)):
            last.played, voice.played = False, True

    def _count(self) -> int:
        return sum(voice.played for voice in self._voices.values())

    def _last(self, now_s: float) -> _Voice:
        return min((voice for voice in self._voices.values() if voice.played), key=lambda one: one.rank(now_s))

    def _waiting(self, now_s: float) -> list[_Voice]:
        waiting = [voice for voice in self._voices.values() if not voice.played]
        return sorted(waiting, key=lambda one: one.rank(now_s), reverse=True)
