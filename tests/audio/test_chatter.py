"""Standard error while a native library is called: its lines are caught, everybody else's arrive, nothing breaks."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import threading
from collections.abc import Iterator

import pytest

from appliance.audio.chatter import quiet

PORTAUDIO = b"Expression 'ret' failed in 'src/hostapi/alsa/pa_linux_alsa.c', line: 1736\n"


class StandardError:
    """File descriptor 2 of this process, in a file for a while."""

    def __init__(self) -> None:
        self._kept = os.dup(2)
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `close`)
        os.dup2(self._file.fileno(), 2)

    def text(self) -> str:
        return os.pread(self._file.fileno(), 1 << 16, 0).decode()

    def close(self) -> None:
        os.dup2(self._kept, 2)
        os.close(self._kept)
        self._file.close()


@contextlib.contextmanager
def standard_error() -> Iterator[StandardError]:
    """Not a fixture: pytest's own capture takes the descriptor again before the test begins."""
    one = StandardError()
    try:
        yield one
    finally:
        one.close()


def test_a_librarys_line_goes_to_the_log_and_not_to_standard_error(caplog: pytest.LogCaptureFixture) -> None:
    with standard_error() as stderr:
        with caplog.at_level(logging.DEBUG), quiet():
            os.write(2, PORTAUDIO)
        assert stderr.text() == ""
    assert [record.getMessage() for record in caplog.records] == [PORTAUDIO.decode().strip()]


def test_somebody_elses_line_is_passed_on() -> None:
    with standard_error() as stderr:
        with quiet():
            os.write(2, b"last words of another library\n")
        os.write(2, b"and what came after\n")
        assert stderr.text() == "last words of another library\nand what came after\n"


@pytest.mark.parametrize("_once_more", range(10))  # without care two to four of these are red
def test_of_two_who_write_at_once_neither_overwrites_the_other(_once_more: int) -> None:
    together = threading.Barrier(2)

    def write(who: str) -> None:
        together.wait(5)
        for number in range(800):
            os.write(2, f"{who} {number}\n".encode())

    with standard_error() as stderr:
        with quiet():
            threads = [threading.Thread(target=write, args=(who,)) for who in ("a", "b")]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(5)
        assert len(stderr.text().splitlines()) == 1600


def _fail() -> None:
    with quiet():
        os.write(2, b"before it failed\n")
        raise OSError("pulled")


def test_an_error_inside_puts_standard_error_back_and_tells_what_was_caught() -> None:
    with standard_error() as stderr:
        with pytest.raises(OSError, match="pulled"):
            _fail()
        os.write(2, b"after\n")
        assert stderr.text() == "before it failed\nafter\n"


def test_two_at_a_time_do_not_put_back_each_others_file() -> None:
    inside, over = threading.Event(), threading.Event()

    def other() -> None:
        with quiet():
            inside.set()
            over.wait(5)

    with standard_error() as stderr:
        thread = threading.Thread(target=other)
        thread.start()
        inside.wait(5)
        with quiet():
            over.set()
            thread.join(5)
            os.write(2, b"second\n")
        os.write(2, b"third\n")
        assert stderr.text() == "second\nthird\n"


def test_where_there_is_no_standard_error_the_call_is_made_all_the_same() -> None:
    kept = os.dup(2)
    os.close(2)
    try:
        with quiet():
            made = True
    finally:
        os.dup2(kept, 2)
        os.close(kept)
    assert made
