"""What is left of all the troubles: once a station is well again, or once it has stopped, there must be nothing."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from appliance.network import natives
from appliance.orchestrator import AudioClientOrchestrator
from appliance.ports import Direction

if TYPE_CHECKING:
    from tests.simulation.world import World

TIMERS: Final = 16  # a handful of periodic ones each for supervisor, legs, pump, link watch, file watch and cards
OF_ITS_OWN: Final = ("supervisor", "reload", "Event.wait")
"""Tasks that are there for a whole life, and what the reloader waits for."""


def of_the_well(world: World) -> Iterator[str]:
    """Too many, or too few, of the things that a station has while all is well."""
    talks = world.talks
    voices = len(world.server.tracks(but=world.identity))
    yield from _counts(world, sessions=1, microphones=int(talks), devices=1 + talks, voices=voices)
    tasks = Counter({"link-watch": 1, "capture-pump": int(talks), "wake": 1})
    tasks["native-connect"] = natives.unfinished()  # one to a silent server ends half a minute after it was given up
    yield from _differs("tasks", _tasks(world), +tasks)
    yield from _differs("streams in the mixer", _mixer_streams(world), voices)
    yield from _differs("callbacks that failed", _failed_callbacks(world), 0)


def of_the_stopped(world: World) -> Iterator[str]:
    """Whatever is still there although nothing should be."""
    yield from _counts(world, sessions=0, microphones=0, devices=0, voices=0)
    yield from _differs("native calls that have not ended", natives.unfinished(), 0)
    yield from _differs("tasks", _tasks(world), Counter())


def sound_moved(world: World) -> dict[str, int]:
    """Counters that must grow while all is well."""
    moved = {
        "received": _figure(world, "network", "frames_received"),
        "played": world.cards.blocks[Direction.OUTPUT],
    }
    if world.talks:
        room = world.watch.room()
        moved |= {"captured": world.cards.blocks[Direction.INPUT], "sent": room.sent_frames if room else 0}
    return moved


def _counts(world: World, *, sessions: int, microphones: int, devices: int, voices: int) -> Iterator[str]:
    world.server.forget_closed()
    rooms = [room for room in world.server.sessions() if room.identity == world.identity]
    yield from _differs("sessions in the room", len(rooms), sessions)
    yield from _differs("microphones published", sum(room.track is not None for room in rooms), microphones)
    yield from _differs("open devices", len(world.cards.streams), devices)
    yield from _differs("voices that were not closed", len(world.server.unclosed), voices)
    yield from _differs("device calls that have not ended", world.worker.waiting, 0)
    if (timers := len(world.loop.pending_timers())) > TIMERS:
        yield f"{timers} timers, more than {TIMERS}"


def _tasks(world: World) -> Counter[str]:
    """Names of the tasks of the station, without those of the simulation."""
    names = [_name(task) for task in asyncio.all_tasks() - world.bystanders if not task.cancelling()]
    return Counter(name for name in names if name not in OF_ITS_OWN)


def _name(task: asyncio.Task[Any]) -> str:
    """A task's own name, without what it is about; that of its work, if it was given none."""
    unnamed = task.get_name().startswith("Task-")
    return str(getattr(task.get_coro(), "__qualname__", "")) if unnamed else task.get_name().split(" ")[0]


def _failed_callbacks(world: World) -> int:
    return sum(_figure(world, part, "errors") for part in ("input", "output", "mixer"))


def _mixer_streams(world: World) -> int:
    session = world.supervisor.session
    return int(str(session.mixer.get_metrics()["streams"])) if isinstance(session, AudioClientOrchestrator) else 0


def _figure(world: World, section: str, name: str) -> int:
    session = world.supervisor.session
    figures = session.get_metrics() if session is not None else {}
    return int(str(figures.get(section, {}).get(name, 0)))


def _differs(what: str, is_so: object, should_be: object) -> Iterator[str]:
    if is_so != should_be:
        yield f"{what}: {is_so}, not {should_be}"
