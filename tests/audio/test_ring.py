"""FrameRing: order, bound, what is dropped, and two real threads."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.audio.ring import FrameRing
from appliance.ports import Samples


def count_from(start: int, size: int) -> Samples:
    """Samples that say where they belong."""
    return (np.arange(start, start + size) % 30000).astype(np.int16)


def test_what_is_written_is_taken_in_order_and_whole() -> None:
    ring = FrameRing(100)
    ring.write(count_from(0, 60))
    out = np.zeros(25, np.int16)
    assert ring.take(out)
    assert out.tolist() == list(range(25))
    assert ring.take(out)
    assert out.tolist() == list(range(25, 50))
    assert not ring.take(out), "10 samples are not 25"
    assert ring.fill == 10, "a failed take takes nothing"


def test_read_gives_what_is_there_and_says_how_much() -> None:
    ring = FrameRing(100)
    ring.write(count_from(0, 10))
    out = np.full(25, -1, np.int16)
    assert ring.read(out) == 10
    assert out[:10].tolist() == list(range(10))
    assert (out[10:] == -1).all(), "the rest is left alone"
    assert ring.read(out) == 0


def test_beyond_the_bound_the_oldest_go_and_are_counted() -> None:
    ring = FrameRing(100)
    for start in range(0, 1000, 50):
        ring.write(count_from(start, 50))
    assert ring.fill == 100
    out = np.zeros(100, np.int16)
    assert ring.take(out)
    assert out.tolist() == list(range(900, 1000))
    assert ring.dropped == 900


def test_a_write_longer_than_the_bound_keeps_its_newest() -> None:
    ring = FrameRing(100)
    ring.write(count_from(0, 1234))
    out = np.zeros(100, np.int16)
    assert ring.take(out)
    assert out.tolist() == list(range(1134, 1234))
    assert ring.dropped == 1134


def test_clear_and_skip_move_the_reader_and_count_nothing() -> None:
    ring = FrameRing(100)
    ring.write(count_from(0, 80))
    ring.skip(30)
    out = np.zeros(10, np.int16)
    assert ring.take(out)
    assert out[0] == 30
    ring.skip(-20)
    assert ring.take(out)
    assert out[0] == 20, "a negative skip plays again"
    ring.skip(1000)
    assert ring.fill == 0, "never further than the writer"
    ring.write(count_from(80, 50))
    ring.clear()
    assert ring.fill == 0
    assert ring.dropped == 0


def test_peek_looks_ahead_and_back_without_taking() -> None:
    ring = FrameRing(100)
    ring.write(count_from(0, 80))
    ring.skip(40)
    out = np.zeros(10, np.int16)
    assert ring.peek(out)
    assert out[0] == 40
    assert ring.peek(out, 30)
    assert out[0] == 70
    assert not ring.peek(out, 31), "beyond the newest"
    assert ring.peek(out, -40)
    assert out[0] == 0
    assert not ring.peek(out, -41), "before the first"
    assert ring.fill == 40


def test_peek_refuses_what_is_overwritten() -> None:
    ring = FrameRing(100)
    ring.write(count_from(0, 100))
    ring.skip(100)
    for start in range(100, 250, 50):
        ring.write(count_from(start, 50))
    assert not ring.peek(np.zeros(10, np.int16), -100)


def test_the_wakeup_is_called_after_each_write_until_it_is_taken_away() -> None:
    ring = FrameRing(100)
    seen: list[int] = []
    ring.set_wakeup(lambda: seen.append(ring.fill))
    ring.write(count_from(0, 10))
    ring.write(count_from(10, 10))
    assert seen == [10, 20], "the sound is there when the wakeup comes"
    ring.set_wakeup(None)
    ring.write(count_from(20, 10))
    assert seen == [10, 20]


def test_a_new_listener_starts_with_what_comes_from_now_on() -> None:
    ring = FrameRing(100)
    for start in range(0, 5000, 50):
        ring.write(count_from(start, 50))
    ring.set_wakeup(lambda: None)
    assert ring.fill == 0
    ring.write(count_from(7, 10))
    out = np.zeros(10, np.int16)
    assert ring.take(out)
    assert out[0] == 7
    assert ring.dropped == 0, "what nobody waited for is no loss"


def test_a_bound_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="bound 0"):
        FrameRing(0)


@settings(max_examples=150, deadline=None)
@given(
    bound=st.integers(1, 40),
    steps=st.lists(st.tuples(st.booleans(), st.integers(0, 60)), max_size=40),
)
def test_any_order_of_writes_and_reads_gives_the_newest_in_order(bound: int, steps: list[tuple[bool, int]]) -> None:
    """Held against the simplest thing that does the same: a list that forgets from the front."""
    ring = FrameRing(bound)
    waiting: list[int] = []
    written = dropped = 0
    for is_write, size in steps:
        if is_write:
            samples = count_from(written, size)
            written += size
            ring.write(samples)
            waiting += samples.tolist()
        else:
            dropped += max(0, len(waiting) - bound)
            waiting = waiting[-bound:]
            out = np.zeros(size, np.int16)
            got = ring.read(out)
            assert out[:got].tolist() == waiting[:got]
            assert got == min(size, len(waiting))
            waiting = waiting[got:]
        assert ring.fill == min(len(waiting), bound)
    # What has gone over the bound since the last read is counted by the next one.
    ring.take(np.zeros(1, np.int16))
    assert ring.dropped == dropped + max(0, len(waiting) - bound)


def test_a_write_that_is_half_done_shows_neither_its_new_nor_its_old_samples() -> None:
    """Look at the ring from inside a write, where another thread might be at that very moment."""
    looked: list[tuple[int, bool, bool]] = []

    class Watched(FrameRing):
        def _store(self, position: int, samples: Samples) -> None:
            old = np.zeros(10, np.int16)
            looked.append((self.fill, self.peek(old, -150), self.peek(old, -100)))
            super()._store(position, samples)

    ring = Watched(100)
    ring.write(count_from(0, 100))
    ring.skip(100)
    ring.write(count_from(100, 50))
    ring.skip(50)
    ring.write(count_from(150, 60))
    assert looked[-1] == (0, False, True), "60 samples in flight are not there yet, and the first 10 no more"


def test_two_threads_lose_nothing_and_tear_nothing() -> None:
    """A writer and a reader at full speed: every frame is one unbroken run, and each gap is counted."""
    ring = FrameRing(4800)
    total, frame = 720_000, 480
    done = threading.Event()

    def write() -> None:
        for start in range(0, total, frame):
            ring.write(count_from(start, frame))
            if start % (frame * 64) == 0:
                time.sleep(0)  # let the reader at it: the point is to interleave
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    taken = 0
    out = np.zeros(frame, np.int16)
    expected_steps = {1, 1 - 30000}
    while not done.is_set() or ring.fill >= frame:
        if ring.take(out):
            taken += frame
            steps = set(np.diff(out.astype(np.int32)).tolist())
            assert steps <= expected_steps, f"a torn frame: steps {steps - expected_steps}"
    writer.join(5)
    assert taken + ring.dropped + ring.fill == ring.written == -(-total // frame) * frame


def test_a_reader_that_never_reads_costs_the_writer_nothing() -> None:
    ring = FrameRing(4800)
    block = count_from(0, 480)
    for _ in range(10_000):
        ring.write(block)
    assert ring.fill == 4800
    assert ring.dropped == 0, "counted when somebody reads on"
