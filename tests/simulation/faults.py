"""Everything that a simulated station suffers. Each fault begins and ends; it says how patient one must be with it.

`patience_s`: how long after its end the station may take to be well again, beyond `ONLINE_S`, which it may always take.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from appliance.errors import FormatUnsupported
from appliance.ports import Direction

if TYPE_CHECKING:
    from tests.simulation.world import World

ONLINE_S: Final = 8.0
"""Well again after any fault: the longest pause between two tries (retry_max_s: 5), a question, a join, two looks."""

CARD_S: Final = 2.5  # a look for the card each second (device_retry_s) after it was lost (0.6 s), and two looks
BLOCKED_S: Final = 30.0  # blocked_retry_s
EVICTED_S: Final = 900.0  # the longest pause after an eviction
SENT_OUT: Final = 0.5  # share of the troubles at the door that begin with everybody sent out
PICKY: Final = 9  # more than the formats that are tried in one go, twice over: it is lost for a try or two
INSISTS_S: Final = 5.0  # how soon the double joins again: it knows no manners
LATE_MAX_S: Final = 45.0  # the latest that an abandoned connect comes in and throws out the session of the day
SILENT_S: Final = 10.0  # connect_timeout_s


Begin = Callable[["World", random.Random], None]
End = Callable[["World"], None]


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of trouble."""

    name: str
    begin: Begin
    end: End
    patience_s: float = 0.0
    weight: float = 1.0
    brief: bool = False
    """Over in the moment in which it begins; its end does nothing."""
    config: bool = False
    """It needs the file to be watched."""
    longest_s: float = 3 * 3600.0


def _nothing(_world: World) -> None:
    """A brief fault has no end."""


# ---- the server and the way to it --------------------------------------------------------------------------------


def _condition(name: str, *, at_the_door: bool = False) -> tuple[Begin, End]:
    """One of `Sky`. What is felt at the door only is felt at once when everybody is sent out, every other time."""

    def begin(world: World, rng: random.Random) -> None:
        world.sky.set(name)
        if at_the_door:
            _send_out(world, rng)

    return begin, lambda world: world.sky.clear(name)


def _send_out(world: World, rng: random.Random) -> None:
    if rng.random() < SENT_OUT:
        world.server.close_room("the server was restarted")


def _late(world: World, rng: random.Random) -> None:
    world.server.late_s = rng.uniform(0.2, LATE_MAX_S)
    world.sky.set("late")
    _send_out(world, rng)


def _stuck(world: World, _rng: random.Random) -> None:
    world.server.sends_stuck = True


def _unstuck(world: World) -> None:
    world.server.sends_stuck = False


def _mute(world: World, rng: random.Random) -> None:
    world.server.may_publish = False
    _send_out(world, rng)


def _unmute(world: World) -> None:
    world.server.may_publish = True


def _close_room(world: World, _rng: random.Random) -> None:
    world.server.close_room()


def _remove(world: World, _rng: random.Random) -> None:
    world.server.evict(world.identity, "somebody removed this station from the room")


def _double(world: World, _rng: random.Random) -> None:
    world.server.join(world.identity)


def _double_leaves(world: World) -> None:
    if person := world.server.participants.get(world.identity):
        person.leave()


def _insist(world: World, _rng: random.Random) -> None:
    """Another box with our name, that comes back a moment after it was thrown out."""

    def come_back() -> None:
        if world.insistent:
            if world.identity not in world.server.participants:
                world.server.join(world.identity)
            world.loop.call_later(INSISTS_S, come_back)

    world.insistent = True
    come_back()


def _desist(world: World) -> None:
    world.insistent = False
    _double_leaves(world)


def _crowd(world: World, rng: random.Random) -> None:
    world.crowd.come(rng.randint(1, 4))


# ---- sound cards -------------------------------------------------------------------------------------------------


def _pull(world: World, _rng: random.Random) -> None:
    world.rack.pull()


def _replug(world: World) -> None:
    world.rack.replug()


def _hold(world: World, _rng: random.Random) -> None:
    """Another program is quicker than we are, at the next opening."""
    world.rack.hold()
    world.rack.pull()
    world.rack.replug()


def _release(world: World) -> None:
    world.rack.release()


def _silence(world: World, _rng: random.Random) -> None:
    world.rack.stop()


def _sound(world: World) -> None:
    world.rack.resume()


def _hang(world: World, _rng: random.Random) -> None:
    """The driver hangs in the next opening or closing, which comes at once because the card is lost."""
    world.worker.hang()
    world.rack.pull()
    world.rack.replug()


def _unhang(world: World) -> None:
    world.worker.release()


def _picky(world: World, rng: random.Random) -> None:
    """The card comes back and refuses the first formats that are asked of it."""
    for direction in Direction:
        refusals = [FormatUnsupported("refused") for _ in range(rng.randint(1, PICKY))]
        world.cards.fail_next(direction, *refusals)
    world.rack.pull()
    world.rack.replug()


# ---- the file, the signals, the clock ----------------------------------------------------------------------------


def _volume(world: World, rng: random.Random) -> None:
    world.file.change(output_volume=round(rng.uniform(0.1, 2.0), 2), bob=round(rng.uniform(0.0, 2.0), 2))


def _other_device(world: World, _rng: random.Random) -> None:
    world.file.change(input_device="Other", output_device="Other")


def _first_device(world: World) -> None:
    world.file.change(input_device="Device", output_device="Device")


def _longer_blocks(world: World, _rng: random.Random) -> None:
    world.file.change(block_ms=50)


def _usual_blocks(world: World) -> None:
    world.file.change(block_ms=10)


def _other_room(world: World, rng: random.Random) -> None:
    world.file.change(room=f"room{rng.randint(1, 99)}")


def _mic_off(world: World, _rng: random.Random) -> None:
    world.file.change(input_enabled=not world.file.values["input_enabled"])


def _broken(world: World, rng: random.Random) -> None:
    world.file.spoil(rng)


def _repaired(world: World) -> None:
    world.file.write()


def _edits(world: World, rng: random.Random) -> None:
    world.burst(100, 0.1, lambda: _volume(world, rng))


def _hangups(world: World, rng: random.Random) -> None:
    world.burst(rng.choice((1, 100)), rng.choice((0.0, 0.01, 0.5)), world.hang_up)


def _clock_jumps(world: World, rng: random.Random) -> None:
    world.clock.wall_offset_s = rng.choice((-1.795e9, -31e6, 31e6, -3600.0, 120.0))


def _clock_is_right(world: World) -> None:
    world.clock.wall_offset_s = 0.0


CATALOGUE: Final = (
    Fault("server killed", *_condition("killed"), weight=3),
    Fault("server frozen", *_condition("frozen"), weight=3),
    Fault("server drained", *_condition("drained"), weight=2),
    Fault("server answers 503", *_condition("unavailable", at_the_door=True)),
    Fault("server refuses our key", *_condition("rejecting", at_the_door=True), BLOCKED_S, weight=2),
    Fault("server accepts and stays silent", *_condition("deaf", at_the_door=True), SILENT_S),
    Fault("server lets in late", _late, lambda world: world.sky.clear("late"), SILENT_S + LATE_MAX_S, longest_s=300.0),
    Fault("encoder stuck", _stuck, _unstuck, longest_s=300.0),
    Fault("token without the right to publish", _mute, _unmute, BLOCKED_S),
    Fault("room closed", _close_room, _nothing, weight=2, brief=True),
    Fault("removed from the room", _remove, _nothing, EVICTED_S, weight=0.5, brief=True),
    Fault("double in the room", _double, _double_leaves, EVICTED_S, weight=0.5),
    Fault("double that insists", _insist, _desist, EVICTED_S, weight=0.5),
    Fault("people come", _crowd, lambda world: world.crowd.go(), weight=2),
    Fault("card pulled", _pull, _replug, CARD_S, weight=3),
    Fault("card busy", _hold, _release, CARD_S),
    Fault("card silent", _silence, _sound, CARD_S),
    Fault("card picky", _picky, _nothing, 3 * CARD_S, weight=0.5, brief=True),
    Fault("driver hangs", _hang, _unhang, CARD_S, longest_s=120.0),
    Fault("volume changed", _volume, _nothing, brief=True, config=True),
    Fault("other device chosen", _other_device, _first_device, CARD_S, config=True),
    Fault("longer blocks", _longer_blocks, _usual_blocks, CARD_S, weight=0.5, config=True),
    Fault("other room chosen", _other_room, _nothing, brief=True, config=True),
    Fault("microphone switched", _mic_off, lambda world: _mic_off(world, random.Random()), CARD_S, config=True),
    Fault("file half written", _broken, _repaired, config=True),
    Fault("file edited 100 times", _edits, _nothing, 12.0, brief=True, config=True),
    Fault("SIGHUP", _hangups, _nothing, 52.0, brief=True, config=True),
    Fault("wall clock jumps", _clock_jumps, _clock_is_right),
)
