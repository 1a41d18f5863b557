"""The watchdog's timing and its last words; that it ends a real process that hangs: tests/faults/test_process.py."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import structlog

from appliance.observe.watchdog import STDERR, TOLD_CHARS, WATCHDOG_S, Watchdog

STORY = """
import sys, time
from pathlib import Path
from appliance.observe import watchdog
watchdog.WATCHDOG_S = 0.05
dog = watchdog.Watchdog(Path(sys.argv[1]))
dog.feed()
def stand_still():
    time.sleep(60)
stand_still()
"""


class Armed:
    """What the watchdog asked of the interpreter."""

    def __init__(self) -> None:
        self.timeouts_s: list[float] = []
        self.files: list[int] = []
        self.disarmed = 0

    def arm(self, timeout: float, *, exit: bool, file: int) -> None:
        assert exit
        self.timeouts_s.append(timeout)
        self.files.append(file)

    def disarm(self) -> None:
        self.disarmed += 1

    def dog(self, last_words: Path) -> Watchdog:
        return Watchdog(last_words, arm=self.arm, disarm=self.disarm)


def told(dog: Watchdog) -> list[str]:
    with structlog.testing.capture_logs() as lines:
        dog.tell()
    return [str(line["stack"]) for line in lines if line["event"] == "watchdog.bit"]


def test_it_counts_from_the_last_progress(tmp_path: Path) -> None:
    armed = Armed()
    dog = armed.dog(tmp_path / "last-words")
    for idle_s in (0.0, 4.0, WATCHDOG_S + 1.0):
        dog.feed(idle_s)
    assert armed.timeouts_s == [WATCHDOG_S, WATCHDOG_S - 4.0, pytest.approx(0.05)]
    dog.close()


def test_an_interpreter_without_threads_to_spare_is_no_reason_to_fail(tmp_path: Path) -> None:
    def refuse(timeout: float, *, exit: bool, file: int) -> None:
        raise RuntimeError("unable to start watchdog thread")

    dog = Watchdog(tmp_path / "last-words", arm=refuse, disarm=lambda: None)
    dog.feed()
    dog.close()


@pytest.mark.slow
def test_a_process_that_stands_still_ends_and_the_next_one_tells_where(tmp_path: Path) -> None:
    words = tmp_path / "state" / "kitchen.last-words"
    ended = subprocess.run([sys.executable, "-c", STORY, str(words)], capture_output=True, timeout=30, check=False)
    assert ended.returncode == 1
    assert ended.stderr == b""
    assert stat.S_IMODE(words.stat().st_mode) == 0o600
    dog = Armed().dog(words)
    (stack,) = told(dog)
    assert "stand_still" in stack
    assert dog.bit
    assert told(dog) == [], "once"
    dog.close()
    assert list(words.parent.iterdir()) == []


@pytest.mark.slow
def test_without_a_place_for_them_the_last_words_go_to_standard_error(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("in the way")
    words = tmp_path / "state" / "kitchen.last-words"
    ended = subprocess.run([sys.executable, "-c", STORY, str(words)], capture_output=True, timeout=30, check=False)
    assert ended.returncode == 1
    assert b"stand_still" in ended.stderr


def test_long_last_words_are_told_from_their_end(tmp_path: Path) -> None:
    words = tmp_path / "last-words"
    words.write_text("x" * 100_000 + " where the loop stood\n")
    dog = Armed().dog(words)
    (stack,) = told(dog)
    assert len(stack) == TOLD_CHARS
    assert stack.endswith("where the loop stood")
    dog.close()


def test_nothing_is_told_after_an_ordinary_end_or_a_kill(tmp_path: Path) -> None:
    words = tmp_path / "last-words"
    Armed().dog(words)  # killed: never closed
    assert words.exists()
    armed = Armed()
    dog = armed.dog(words)
    assert told(dog) == []
    dog.close()
    dog.close()
    assert armed.disarmed
    assert not words.exists()


def test_a_state_directory_that_went_is_missed_by_nobody(tmp_path: Path) -> None:
    armed = Armed()
    dog = armed.dog(tmp_path / "state" / "last-words")
    (tmp_path / "state" / "last-words").unlink()
    (tmp_path / "state").rmdir()
    dog.feed()
    assert armed.files[-1] != STDERR
    os.fstat(armed.files[-1])
    dog.close()
