"""Who is played in a room that is larger than `audio.max_streams`: rules, and properties over random rooms."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest

from appliance.network.floor import BREATH_S, Floor


class Room:
    """A floor, and what it says, by names that are people's as well."""

    def __init__(self, most: int, people: Iterable[str] = ()) -> None:
        self.floor = Floor(most)
        self.now_s = 0.0
        for person in people:
            self.floor.come(person, person, self.now_s)

    def after(self, seconds: float, *speaking: str) -> str:
        self.now_s += seconds
        self.floor.speak(speaking, self.now_s)
        return self.played

    @property
    def played(self) -> str:
        return "".join(sorted(map(str, self.floor.played(self.now_s))))


def test_in_a_room_that_is_small_enough_everybody_is_played() -> None:
    room = Room(3, "abc")
    assert room.played == "abc"
    assert room.after(1, "a", "b", "c") == "abc"
    assert room.after(1) == "abc"
    assert room.floor.waiting == ()


def test_before_anybody_speaks_the_first_are_played() -> None:
    room = Room(2, "abcd")
    assert room.played == "ab"
    assert room.floor.waiting == ("c", "d")


def test_who_begins_to_speak_takes_the_place_of_who_came_last_and_never_spoke() -> None:
    room = Room(3, "abcd")
    assert room.after(1, "d") == "abd"


def test_who_begins_to_speak_takes_the_place_of_who_has_been_silent_longest() -> None:
    room = Room(2, "abc")
    room.after(1, "a")
    room.after(1, "b")
    room.after(1)
    assert room.after(1, "c") == "bc"
    assert room.after(1, "a") == "ac"


def test_to_fall_silent_costs_nobody_a_place() -> None:
    room = Room(2, "abc")
    room.after(1, "c")
    assert room.after(1) == "ac"
    assert room.after(1000) == "ac"


def test_nobody_who_speaks_gives_way_and_who_waits_is_played_when_the_first_ends() -> None:
    room = Room(2, "abc")
    room.after(1, "a", "b")
    assert room.after(1, "a", "b", "c") == "ab"
    assert room.after(1, "b", "c") == "bc"


def test_what_sounds_without_a_pause_gives_way_to_a_person_but_not_to_silence() -> None:
    room = Room(2, "abc")
    room.after(1, "a", "b")
    assert room.after(BREATH_S, "a", "b") == "ab"
    assert room.after(1, "a", "b", "c") == "ac", "the one that has sounded longest; of two, who came last"
    assert room.after(1, "a", "b") == "ac", "a hum waits: who has just spoken stays"


def test_a_place_that_becomes_free_goes_to_who_spoke_last_and_then_to_who_came_first() -> None:
    room = Room(2, "abcde")
    room.after(1, "e")
    room.after(1, "d")
    assert room.after(1) == "de"
    room.after(1, "a")
    assert room.after(1, "b") == "ab"
    room.floor.go("a")
    assert room.played == "bd"
    room.floor.go("d")
    room.floor.go("e")
    assert room.played == "bc"


def test_who_switches_the_microphone_on_is_played_before_it_is_heard() -> None:
    room = Room(2, "ab")
    room.after(1, "b")
    room.after(1)
    room.floor.come("c", "c", room.now_s, switched_on=True)
    assert room.played == "bc"


def test_a_microphone_switched_on_takes_no_place_from_who_speaks() -> None:
    room = Room(1, "a")
    room.after(1, "a")
    room.floor.come("b", "b", room.now_s, switched_on=True)
    assert room.played == "a"


def test_the_voice_of_somebody_who_is_speaking_already_is_played_as_it_comes() -> None:
    room = Room(1, "a")
    room.after(1, "b")
    room.floor.come("b", "b", room.now_s)
    assert room.played == "b"


def test_more_and_fewer_places_count_at_once() -> None:
    room = Room(3, "abcd")
    room.after(1, "d")
    room.floor.most = 1
    assert room.played == "d"
    room.floor.most = 2
    assert room.played == "ad"
    room.floor.most = 9
    assert room.played == "abcd"


@pytest.mark.parametrize("seed", range(60))
def test_in_any_room_the_rules_hold(seed: int) -> None:
    """Never too many; none left out for nothing; whoever speaks is played before whoever does not; and who is played
    changes only when somebody comes, goes or begins to speak, or a place is wanted by somebody who speaks."""
    dice = random.Random(seed)
    floor, now_s = Floor(dice.randint(1, 6)), 0.0
    there: dict[int, str] = {}
    speaking: set[str] = set()
    came: dict[int, float] = {}
    began: dict[str, float] = {}
    before: frozenset[object] = frozenset()
    for number in range(200):
        now_s += dice.choice([0.4, 1.0, 5.0, 40.0])
        event = dice.random()
        if event < 0.15:
            there[number], came[number] = f"p{number % 11}", now_s
            floor.come(number, there[number], now_s, switched_on=dice.random() < 0.5)
        elif event < 0.25 and there:
            gone = dice.choice(list(there))
            del there[gone]
            floor.go(gone)
        else:
            who = dice.choice([f"p{n}" for n in range(11)])
            speaking ^= {who}
            began[who] = now_s
            floor.speak(speaking, now_s)
        played = floor.played(now_s)
        waiting = there.keys() - played
        assert played <= there.keys()
        assert len(played) == min(floor.most, len(there)), "too many, or a place that nobody got"
        silent = {name for name in there if there[name] not in speaking}
        fresh = {name for name in there.keys() - silent if now_s - max(came[name], began[there[name]]) < BREATH_S}
        if waiting & fresh:
            assert played <= fresh, "somebody speaks and is not heard, for somebody who does not speak"
        lost = (before & there.keys()) - played
        won = played - before
        assert len(lost) <= len(won)
        if lost - silent:
            assert won & fresh, "somebody who sounded was closed, and not for a person who speaks"
        assert floor.played(now_s) == played, "asked again it says something else"
        assert floor.played(now_s + 1000) == played, "time alone changes who is played"
        before = played
    assert set(floor.waiting) == there.keys() - before
