"""Bugs that are planted on purpose, to see that the simulation finds them. None of this is ever part of alto.

Each replaces one part by one that has the mistake, for as long as one life lasts.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Final

import pytest

from appliance import leg, orchestrator, supervisor
from appliance.audio.output_handler import AudioOutputHandler
from appliance.backoff import Backoff
from appliance.network import manager, natives, watch
from appliance.network.manager import LiveKitNetworkManager
from appliance.network.streams import RemoteStreams, _Stream
from appliance.outage import Outages
from appliance.ports import AudioStream, Session
from appliance.settings.model import Settings
from appliance.supervisor import Supervisor
from tests.simulation import world


class BackoffWithoutCap(Backoff):
    """The pauses double for ever."""

    def pause_s(self, attempt: int, rng: random.Random) -> float:
        return self.min_s * 2.0 ** min(attempt - 1, 32) * rng.uniform(0.5, 1.0)


class DeafManager(LiveKitNetworkManager):
    """Swallows the news that the session is over."""

    def on_closed(self, error: Exception) -> None:
        """Nobody is told."""


class LeakyStreams(RemoteStreams):
    """Forgets the task and the voice of a track that is gone."""

    def _end_later(self, stream: _Stream) -> None:
        """Left behind."""


class ForgetfulSpeaker(AudioOutputHandler):
    """Does not close what it had open."""

    def close(self) -> None:
        self._kept: AudioStream | None = self._stream
        self._stream = self._converter = None


class TalkativeOutages(Outages):
    """Tells of a mended connection twice."""

    def mended(self, settings: Settings, session: Session) -> None:
        super().mended(settings, session)
        self._say_up(settings, session, took_s=0.0, resumed=True)


class WrongLengthOutages(Outages):
    """Measures an outage from the last try instead of from its beginning."""

    def left(self) -> None:
        super().left()
        if self._down_since is not None:
            self._down_since = self._clock.monotonic()


class RestlessSupervisor(Supervisor):
    """Looks five hundred times a second."""

    async def _look(self, task: asyncio.Task[None] | None = None, timeout_s: float = 0.0) -> None:
        await super()._look(task, 0.002)


class SleepySupervisor(Supervisor):
    """Looks each ten seconds."""

    async def _look(self, task: asyncio.Task[None] | None = None, timeout_s: float = 0.0) -> None:
        await super()._look(task, 10.0)


async def impatient_connect(
    work: Coroutine[object, object, None], *, deadline_s: float, undo: Callable[[], Awaitable[None]]
) -> None:
    """Cancels the native connect at the deadline."""
    await asyncio.wait_for(work, deadline_s)


@dataclass(frozen=True, slots=True)
class Planted:
    """A bug: what is replaced by what."""

    name: str
    where: object
    attribute: str
    by: object

    @contextlib.contextmanager
    def plant(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self.where, self.attribute, self.by)
            yield


PLANTED: Final = (
    Planted("backoff without cap", supervisor, "Backoff", BackoffWithoutCap),
    Planted("swallowed disconnect", orchestrator, "LiveKitNetworkManager", DeafManager),
    Planted("leaked stream task", manager, "RemoteStreams", LeakyStreams),
    Planted("forgotten close of a device", orchestrator, "AudioOutputHandler", ForgetfulSpeaker),
    Planted("up line told twice", supervisor, "Outages", TalkativeOutages),
    Planted("wrong length of an outage", supervisor, "Outages", WrongLengthOutages),
    Planted("cancelled native connect", natives, "connect", impatient_connect),
    Planted("eviction war", supervisor, "EVICTED_MIN_S", 0.5),
    Planted("dead link not noticed", watch, "HEARD_S", 1e9),
    Planted("silent card not noticed", leg, "SILENT_S", 1e9),
    Planted("supervisor that never rests", world, "Supervisor", RestlessSupervisor),
    Planted("supervisor that sleeps too long", world, "Supervisor", SleepySupervisor),
)
