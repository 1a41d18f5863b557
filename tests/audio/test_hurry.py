"""Hurry: a device whose buffer is fuller than it was before a stall is brought back, and no other is kept waiting."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from appliance.audio.hurry import Hurry

BLOCK_S = 0.01
OVERSLEPT_S = 0.0001  # nobody wakes up to the microsecond


@dataclass
class Server:
    """A sound server that takes a block each 10 ms and asks whenever its buffer has room, as PulseAudio does."""

    room: int = 4
    """Blocks that its buffer has room for."""
    usual: int = 2
    """Blocks that it began with."""
    hidden_s: float = 0.009
    """Of the delay that it tells, what is behind its buffer."""
    jitter_s: float = 0.0005
    hiccup_s: float = 0.0
    """By how much at most one call in thirty comes later than the others."""
    fast_ppm: float = 0.0
    """By how much faster its clock is."""
    noise_s: float = 0.0
    """Of its time stamps, either way."""
    patient: bool = True
    """Whether somebody asks `Hurry`."""
    now_s: float = 100.0
    held: list[float] = field(default_factory=list)
    """What was in its buffer when it was given a block, in blocks, one for each."""
    underruns: int = 0

    def __post_init__(self) -> None:
        self.hurry = Hurry()
        self.hurry.opened(BLOCK_S)
        self._random = random.Random(1)
        self._given_s = self.now_s + self.usual * BLOCK_S
        self.asks = self.usual  # as many as it wants to hold, until it has been late once

    @property
    def buffered_s(self) -> float:
        return max(0.0, self._given_s - self.now_s)

    def run(self, seconds: float, *, stall_s: float = 0.0) -> None:
        """A stall comes first; after one it asks until its buffer is full."""
        end_s = self.now_s + seconds
        if stall_s:
            self.now_s += stall_s
            self.asks = self.room - 1
        while self.now_s < end_s:
            if self.buffered_s > self.asks * BLOCK_S:
                self.now_s += self.buffered_s - self.asks * BLOCK_S + self._random.uniform(0, self.jitter_s)
            if self._random.random() < 1 / 30:
                self.now_s += self._random.uniform(0, self.hiccup_s)
            if self._given_s < self.now_s:
                self.underruns += 1
                self._given_s = self.now_s
            if self.patient:
                told_s = self.buffered_s + self.hidden_s + self._random.uniform(-self.noise_s, self.noise_s)
                wait_s = self.hurry.wait_s(self.now_s, told_s)
                self.now_s += wait_s + (OVERSLEPT_S if wait_s else 0.0)
            self.held.append(self.buffered_s / BLOCK_S)
            self._given_s += BLOCK_S / (1 + self.fast_ppm / 1e6)
            self.now_s += 0.0002


@pytest.mark.parametrize("stall_s", [0.03, 0.06, 0.3])
def test_a_stall_leaves_no_sound_standing_in_the_devices_buffer(stall_s: float) -> None:
    for patient, blocks in ((False, 3), (True, 2)):
        server = Server(patient=patient)
        server.run(5)
        assert server.held[-1] == pytest.approx(2, abs=0.1)
        server.run(5, stall_s=stall_s)
        assert server.held[-1] == pytest.approx(blocks, abs=0.1), "without it a block more stays for ever"
        assert server.underruns == 1, "the stall itself"


def test_what_was_empty_is_filled_at_once() -> None:
    server = Server()
    server.run(5)
    before = len(server.held)
    server.run(0.1, stall_s=0.05)
    assert server.held[before : before + 3] == pytest.approx([0, 1, 2], abs=0.1)


@pytest.mark.parametrize("between_s", [1.2, 3.0])
def test_a_stall_while_it_waits_changes_nothing(between_s: float) -> None:
    server = Server()
    server.run(5)
    for _ in range(5):
        server.run(between_s, stall_s=0.04)
        assert server.held[-1] == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("stalls", [0, 1, 20])
def test_what_it_holds_does_not_shrink_however_long_it_waits_and_however_rough_the_calls_are(stalls: int) -> None:
    """Who took the least that was ever held for what is usual would have it a little less each minute."""
    server = Server(hiccup_s=0.0145, noise_s=0.001)
    server.run(10)
    for _ in range(stalls):
        server.run(5, stall_s=0.035)
    server.run(600)
    last = server.held[-1000:]
    assert sum(last) / len(last) == pytest.approx(2, abs=0.2)
    assert server.underruns <= stalls


class Calls:
    """Calls one by one: when after the answer before, and what the device holds then."""

    def __init__(self) -> None:
        self.hurry = Hurry()
        self.hurry.opened(BLOCK_S)
        self.answered_s = 100.0

    def call(self, after_s: float, held_s: float) -> float:
        wait_s = self.hurry.wait_s(self.answered_s + after_s, held_s)
        self.answered_s += after_s + wait_s
        return wait_s

    def calls(self, count: int, after_s: float, held_s: float) -> list[float]:
        return [self.call(after_s, held_s) for _ in range(count)]


def test_who_has_caught_up_and_still_asks_waits_although_some_time_has_passed() -> None:
    """As PulseAudio was seen to ask after a stall of 39 ms."""
    server = Calls()
    assert not any(server.calls(200, 0.01, 0.0295))
    assert [server.call(0.039, 0.010), server.call(0.0006, 0.019), server.call(0.0004, 0.029)] == [0, 0, 0]
    assert server.call(0.0064, 0.039) == pytest.approx(0.0095)


def test_who_waited_a_while_ago_and_holds_too_much_again_waits_again() -> None:
    server = Calls()
    server.calls(200, 0.01, 0.0295)
    server.call(0.03, 0.010)
    assert all(server.calls(200, 0.0003, 0.039))
    assert server.call(0.0065, 0.039) == pytest.approx(0.0095)


def test_nobody_waits_while_a_device_opens_or_keeps_its_pace() -> None:
    server = Server()
    server.run(60)
    assert server.hurry.calls == 0


def test_callbacks_in_pairs_are_how_some_devices_are() -> None:
    hurry = Hurry()
    hurry.opened(BLOCK_S)
    for pair in range(1000):
        assert hurry.wait_s(pair * 0.02, 0.010) == 0.0
        assert hurry.wait_s(pair * 0.02 + 0.0003, 0.020) == 0.0


def test_a_device_whose_delay_grows_for_other_reasons_is_not_starved() -> None:
    """Another program makes the server hold more behind its buffer: that is not ours to take back."""
    server = Server(fast_ppm=300.0)
    server.run(5)
    server.run(5, stall_s=0.03)
    server.hidden_s += 0.03
    server.run(60)
    assert min(server.held[-300:]) > 0.9
    assert server.underruns == 1


def test_time_stamps_that_say_nothing_make_nobody_wait() -> None:
    server = Calls()
    assert not any(server.calls(200, 0.01, 0.0))
    assert not any(server.calls(1, 0.03, 0.0) + server.calls(3, 0.0003, 0.03) + server.calls(50, 0.01, 0.03))
