"""What is done when voices come, go and speak in a room with fewer seats than voices: in order, and no more."""

from __future__ import annotations

import asyncio

from appliance.network.seats import REFILL_S, Seats
from tests.harness.vtime import run_jumping


class House:
    """Seats that remember what they asked for."""

    def __init__(self, most: int | None = None) -> None:
        self.done: list[str] = []
        self.seats = Seats(
            play=lambda sid: self.done.append(f"play {sid}"), park=lambda sid: self.done.append(f"park {sid}")
        )
        if most is not None:
            self.seats.set_most(most)

    def come(self, *sids: str) -> None:
        for sid in sids:
            self.seats.come(sid, f"person {sid}")

    def take(self) -> list[str]:
        done, self.done = self.done, []
        return done


def test_without_a_limit_each_voice_is_played_as_it_comes() -> None:
    async def story() -> None:
        house = House()
        house.come("a", "b", "c")
        assert house.take() == ["play a", "play b", "play c"]
        house.seats.speak(["person b"])
        house.seats.go("a")
        await asyncio.sleep(2 * REFILL_S)
        assert house.take() == []
        assert house.seats.parked == ()

    run_jumping(story())


def test_one_is_parked_before_the_next_is_played() -> None:
    async def story() -> None:
        house = House(2)
        house.come("a", "b", "c")
        assert house.take() == ["play a", "play b", "park c"]
        assert house.seats.parked == ("person c",)
        house.seats.speak(["person c"])
        assert house.take() == ["park b", "play c"]
        assert house.seats.is_parked("b")
        assert not house.seats.is_parked("gone")

    run_jumping(story())


def test_a_seat_is_taken_again_a_moment_later_unless_all_leave_at_once() -> None:
    async def story() -> None:
        house = House(1)
        house.come("a", "b", "c")
        house.take()
        house.seats.go("a")
        assert house.take() == []
        await asyncio.sleep(REFILL_S + 0.01)
        assert house.take() == ["play b"]
        for sid in ("b", "c"):
            house.seats.go(sid)
        await asyncio.sleep(2 * REFILL_S)
        assert house.take() == []

    run_jumping(story())


def test_who_begins_to_speak_while_a_seat_is_free_does_not_wait_for_that_moment() -> None:
    async def story() -> None:
        house = House(1)
        house.come("a", "b", "c")
        house.take()
        house.seats.go("a")
        house.seats.speak(["person c"])
        assert house.take() == ["play c"]

    run_jumping(story())


def test_a_voice_that_comes_anew_keeps_its_seat_and_is_played_anew() -> None:
    async def story() -> None:
        house = House(1)
        house.come("a", "b")
        house.take()
        house.come("a")
        assert house.take() == ["play a"]
        house.come("b")
        assert house.take() == ["park b"]

    run_jumping(story())


def test_after_the_end_nobody_is_played_any_more() -> None:
    async def story() -> None:
        house = House(1)
        house.come("a", "b")
        house.take()
        house.seats.go("a")
        house.seats.stop()
        house.seats.stop()
        await asyncio.sleep(2 * REFILL_S)
        assert house.take() == []

    run_jumping(story())
