"""As many voices as `audio.max_streams` allows: opens and parks them as `floor.py` says, and tells of it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Collection
from typing import Final

import structlog

from appliance.network.floor import Floor

log = structlog.get_logger()

REFILL_S: Final = 0.5
"""After a voice went, before another takes its place: when all go at once, as a full reconnect begins, nobody is opened
for a moment only. Whoever begins to speak does not wait for this."""


class Seats:
    """Of one session's voices that are not muted, by the server's id of the track. Loop thread."""

    def __init__(self, *, play: Callable[[str], None], park: Callable[[str], None]) -> None:
        """`play` and `park` are told of each change, parks first; both may be told what is so already."""
        self._play = play
        self._park = park
        self._floor = Floor(sys.maxsize)  # until somebody says less
        self._people: dict[str, str] = {}
        self._told: dict[str, bool] = {}
        self._refill: asyncio.TimerHandle | None = None

    @property
    def all(self) -> tuple[str, ...]:
        """Every voice that is there, played or not."""
        return tuple(self._people)

    @property
    def parked(self) -> tuple[str, ...]:
        """The people whose voices are not played, in the order of their coming."""
        return tuple(dict.fromkeys(self._people[sid] for sid, played in self._told.items() if not played))

    def is_parked(self, sid: str) -> bool:
        """Whether this voice is there and not played."""
        return self._told.get(sid) is False

    def set_most(self, most: int) -> None:
        """So many at once from now on."""
        self._floor.most = most
        if self._people:
            self._match()

    def come(self, sid: str, person: str, *, switched_on: bool = False) -> None:
        """A voice is there, or there anew. `switched_on`: it was muted until now."""
        self._people[sid] = person
        self._told.pop(sid, None)
        self._floor.come(sid, person, _now_s(), switched_on=switched_on)
        self._match()

    def go(self, sid: str) -> None:
        """It is muted, or gone: whoever told this has closed it."""
        if self._people.pop(sid, None) is None:
            return
        self._floor.go(sid)
        if self._told.pop(sid, False) and self.parked and self._refill is None:
            self._refill = asyncio.get_running_loop().call_later(REFILL_S, self._match)

    def speak(self, people: Collection[str]) -> None:
        """These people speak now, and nobody else."""
        self._floor.speak(people, _now_s())
        if self.parked:
            self._match()

    def stop(self) -> None:
        """The session is over. Idempotent."""
        if self._refill is not None:
            self._refill.cancel()
            self._refill = None

    def _match(self) -> None:
        self.stop()
        played = self._floor.played(_now_s())
        changed = [sid for sid in self._people if self._told.get(sid) is not (sid in played)]
        for sid in sorted(changed, key=played.__contains__):
            self._told[sid] = sid in played
            if sid in played:
                self._play(sid)
            else:
                self._park(sid)
                log.info("stream.parked", identity=self._people[sid], stream=sid, most=self._floor.most)


def _now_s() -> float:
    return asyncio.get_running_loop().time()
