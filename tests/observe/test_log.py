"""The log as its reader sees it: one JSON object a line, whatever happens to the reader or is thrown at it."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import pty
import re
import sys
import threading
import time
import warnings
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.errors import DeviceMissing
from appliance.observe import lines
from appliance.observe.events import validate
from appliance.observe.log import configure, redact
from tests.harness.aio import run
from tests.observe.reader import Reader, hooks_kept, logging_to, logging_to_pipe

log = structlog.get_logger()


class Colour(StrEnum):
    RED = "red"


class Unshowable:
    def __repr__(self) -> str:
        raise RuntimeError("no")


def written(**fields: Any) -> dict[str, Any]:
    with logging_to_pipe() as (_, reader):
        log.info("config.loaded", **fields)
        return reader.line()


def test_a_line_is_json_with_time_level_event_and_then_the_fields_in_their_order() -> None:
    line = written(zebra=1, apple="x", **{"from": "a"})
    assert list(line) == ["timestamp", "level", "event", "zebra", "apple", "from"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["timestamp"])
    assert (line["level"], line["event"]) == ("info", "config.loaded")


def test_values_that_json_does_not_know_are_written_as_what_they_mean() -> None:
    line = written(
        nan=float("nan"),
        inf=np.float32("inf"),
        level=np.float32(-12.5),
        n=np.int64(3),
        flag=np.bool_(True),
        where=Path("/etc/alto"),
        colour=Colour.RED,
        error=DeviceMissing("no usb-mic", fix="plug it in"),
        names={"a"},
        deep={"x": {1: (1, 2)}},
        blob=b"\x00\xff",
        bad=Unshowable(),
        lone="\udc80",
        huge=10**40,
    )
    assert line["nan"] is None
    assert line["inf"] is None
    assert line["n"] == 3
    assert line["flag"] is True
    assert line["where"] == "/etc/alto"
    assert line["colour"] == "red"
    assert line["error"] == "DeviceMissing: no usb-mic; plug it in"
    assert line["names"] == ["a"]
    assert line["deep"] == {"x": {"1": [1, 2]}}
    assert "Unshowable" in line["bad"]
    assert line["lone"] == "\udc80"
    assert line["huge"] == "1" + "0" * 40


def test_a_field_cannot_take_the_place_of_time_level_or_event() -> None:
    line = written(timestamp="then", level="loud")
    assert line["level"] == "info"
    assert line["timestamp"] != "then"


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=5),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.text(max_size=12), json_like, max_size=6), st.booleans())
def test_whatever_the_fields_hold_it_is_one_line_of_valid_json(fields: dict[str, Any], prefix: bool) -> None:
    line = lines.json_line(0.0, "info", "x.y", fields, prefix=prefix)
    text = line.decode("utf-8")
    assert len(text.splitlines()) == 1
    assert text.endswith("\n")
    parsed = json.loads(text.removeprefix("<6>"), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert list(parsed)[:3] == ["timestamp", "level", "event"]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(0, 60_000), st.sampled_from(["x", "ü", "\x00", "\u2028"]))
def test_no_line_is_longer_than_the_journal_takes_whole(count: int, length: int, character: str) -> None:
    fields = {f"field_{i}": character * length for i in range(count)}
    assert len(lines.json_line(0.0, "info", "x.y", fields, prefix=True)) < 48 * 1024
    assert json.loads(lines.json_line(0.0, "info", "x.y", fields, prefix=False))["event"] == "x.y"


def test_a_long_value_keeps_its_beginning_and_end_and_says_what_is_missing() -> None:
    said = written(text="begin" + "x" * 20_000 + "end")["text"]
    assert said.startswith("begin")
    assert said.endswith("end")
    assert "characters cut" in said


def test_the_level_can_be_changed_while_it_runs() -> None:
    with logging_to_pipe(level="warning") as (pipe, reader):
        log.info("too.quiet")
        pipe.set_level("debug")
        log.debug("now.heard")
        assert reader.line()["event"] == "now.heard"
        pipe.set_level("error")
        log.warning("too.quiet")
        log.error("loud.enough")
        assert reader.line()["event"] == "loud.enough"
        with pytest.raises(ValueError, match="log level"):
            pipe.set_level("chatty")


def test_bound_fields_stand_on_every_line_after_its_own() -> None:
    with logging_to_pipe() as (pipe, reader):
        pipe.bind(station="kitchen")
        log.info("x.y", a=1)
        assert list(reader.line())[2:] == ["event", "a", "station"]
        log.info("participant.joined", identity="bob")
        line = reader.line()
        assert (line["identity"], line["station"]) == ("bob", "kitchen")
        log.info("x.y", station="porch")
        assert reader.line()["station"] == "porch"
        logging.getLogger("livekit").error("gone")
        assert reader.line()["station"] == "kitchen"


def test_an_error_that_cannot_be_told_is_a_line_all_the_same() -> None:
    class Untellable(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    with logging_to_pipe() as (pipe, reader):
        try:
            raise Untellable
        except Untellable as error:
            log.exception("x.y", error=error)
            pipe.report_bug("somewhere", error)
        assert reader.line()["error"] == "Untellable"
        assert reader.line()["event"] == "bug"
        log.info("x.y", exc_info=(1,))
        assert reader.line()["where"] == "log line x.y"


def test_an_exception_becomes_a_traceback_on_the_same_line() -> None:
    with logging_to_pipe() as (_, reader):
        try:
            raise ValueError("wrong\nline")
        except ValueError:
            log.exception("it.failed", step=1)
        line = reader.line()
    assert line["level"] == "error"
    assert line["traceback"].startswith("Traceback")
    assert "ValueError: wrong\nline" in line["traceback"]


# ---- libraries and crashes ------------------------------------------------------------------------------------------


def test_the_standard_logging_tree_and_warnings_flow_in() -> None:
    with logging_to_pipe() as (_, reader):
        logging.getLogger("livekit").error("signal closed: %s", "gone")
        first = reader.line()
        warnings.warn("this is old", DeprecationWarning, stacklevel=1)
        second = reader.line()
    assert first["event"] == "library.log"
    assert first["logger"] == "livekit"
    assert first["message"] == "signal closed: gone"
    assert second["logger"] == "py.warnings"
    assert "this is old" in second["message"]
    assert validate(first) == validate(second) == []


def test_a_library_record_that_cannot_be_formatted_is_shown_all_the_same() -> None:
    with logging_to_pipe() as (_, reader):
        logging.getLogger("livekit").error("%d items", "many")
        assert "many" in reader.line()["message"]


def test_a_library_that_repeats_itself_is_folded_and_counted() -> None:
    handler_time = [0.0]
    with logging_to_pipe() as (pipe, reader):
        pipe._library._monotonic = lambda: handler_time[0]
        for attempt in range(100):
            logging.getLogger("livekit").warning("retry %d of 0x%x failed", attempt, attempt)
        handler_time[0] = 61.0
        logging.getLogger("livekit").warning("retry 100 of 0xff failed")
        log.info("the.end")
        told = reader.until("the.end")
    assert [line.get("folded") for line in told[:-1]] == [None] * 5 + [95]


def test_libraries_speak_from_warning_up_and_from_debug_only_when_asked() -> None:
    with logging_to_pipe() as (pipe, reader):
        logging.getLogger("livekit").info("hello")
        pipe.set_level("debug")
        logging.getLogger("livekit").info("hello again")
        assert reader.line()["message"] == "hello again"


def test_what_nobody_catches_in_a_thread_a_task_a_callback_or_a_finalizer_is_a_bug_line() -> None:
    class Unclean:
        def __del__(self) -> None:
            raise OSError("in a finalizer")

    async def story(pipe: Any) -> None:
        loop = asyncio.get_running_loop()
        pipe.watch_loop(loop)
        loop.call_soon(lambda: 1 / 0)
        task = asyncio.create_task(fail(), name="pump")
        await asyncio.wait([task])
        del task
        await asyncio.sleep(0)

    async def fail() -> None:
        raise KeyError("in a task")

    with logging_to_pipe() as (pipe, reader):
        thread = threading.Thread(target=lambda: [].pop(), name="worker")
        thread.start()
        thread.join()
        Unclean()
        run(story(pipe))
        log.info("the.end")
        bugs = reader.until("the.end")[:-1]
    assert all(bug["event"] == "bug" and bug["level"] == "error" and "Traceback" in bug["traceback"] for bug in bugs)
    assert [validate(bug) for bug in bugs] == [[], [], [], []]
    told = "\n".join(f"{bug['where']}: {bug['error']}" for bug in bugs)
    assert "thread worker: IndexError: pop from empty list" in told
    assert "OSError: in a finalizer" in told
    assert "event loop: ZeroDivisionError" in told
    assert "task pump: KeyError: 'in a task'" in told


# ---- secrets --------------------------------------------------------------------------------------------------------

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJkZXZrZXkifQ.c2lnbmF0dXJl"


def test_secrets_are_masked_by_the_name_of_their_field() -> None:
    secrets = {"api_secret": "s3cr3t", "token": "t0k3n", "headers": {"Authorization": "Bearer abc"}}
    line = written(**secrets, token_ttl_s=60)
    assert [line["api_secret"], line["token"], line["headers"]["Authorization"]] == ["***"] * 3
    assert line["token_ttl_s"] == 60


def test_tokens_are_masked_wherever_they_stand_also_in_what_libraries_print() -> None:
    with logging_to_pipe() as (_, reader):
        logging.getLogger("livekit").error("GET wss://host/rtc?access_token=%s&auto=1 failed", JWT)
        logging.getLogger("aiohttp").error("Authorization: Bearer abcdef123456; url http://user:pw@host/x")
        log.info("x.y", text=f"have {JWT}", nested=[{"deep": JWT}], **{JWT: 1})
        text = "".join(json.dumps(reader.line()) for _ in range(3))
    assert "eyJ" not in text
    assert "abcdef123456" not in text
    assert "user:pw" not in text
    assert "auto=1" in text


def test_a_registered_value_is_masked_everywhere_also_inside_a_traceback() -> None:
    with logging_to_pipe() as (_, reader):
        redact("hunter2hunter2")
        try:
            raise ValueError("the key hunter2hunter2 is wrong")
        except ValueError:
            log.exception("x.y", said="hunter2hunter2!")
        raw = reader.raw()
    assert b"hunter2" not in raw


# ---- journal and terminal -------------------------------------------------------------------------------------------


def test_in_the_journal_each_line_starts_with_its_priority() -> None:
    read_fd, write_fd = os.pipe()
    stat = os.fstat(write_fd)
    with logging_to(write_fd, env={"JOURNAL_STREAM": f"{stat.st_dev}:{stat.st_ino}"}, level="debug"):
        reader = Reader(read_fd)
        for level in ("debug", "info", "warning", "error", "critical"):
            getattr(log, level)("x.y")
        got = [reader.raw()[:4] for _ in range(5)]
    assert got == [b"<7>{", b"<6>{", b"<4>{", b"<3>{", b"<2>{"]
    os.close(read_fd)
    os.close(write_fd)


def test_a_pipe_that_is_not_the_journal_gets_no_priority() -> None:
    with logging_to_pipe(env={"JOURNAL_STREAM": "1:2"}) as (_, reader):
        log.info("x.y")
        assert reader.raw().startswith(b"{")


def test_on_a_terminal_lines_are_for_people_and_colours_can_be_refused() -> None:
    for env, coloured in (({"TERM": "xterm"}, True), ({"TERM": "xterm", "NO_COLOR": "1"}, False)):
        ours, theirs = pty.openpty()
        with logging_to(theirs, format="auto", env=env):
            log.warning("audio.lost", leg="input")
            raw = Reader(ours).raw()
        assert b"audio.lost" in raw
        assert not raw.startswith(b"{")
        assert (b"\x1b[" in raw) is coloured
        os.close(ours)
        os.close(theirs)


def test_json_on_a_terminal_and_console_in_a_pipe_when_asked_for() -> None:
    ours, theirs = pty.openpty()
    with logging_to(theirs, format="json"):
        log.info("x.y")
        assert Reader(ours).line()["event"] == "x.y"
    os.close(ours)
    os.close(theirs)
    with logging_to_pipe(format="console") as (_, reader):
        try:
            raise ValueError("no")
        except ValueError:
            log.exception("x.y", a=1)
        assert b"x.y" in reader.raw()
        assert b"Traceback" in reader.raw()


# ---- readers that stall, leave or are full --------------------------------------------------------------------------


def test_a_stalled_reader_holds_nobody_up_and_is_told_how_many_lines_it_missed() -> None:
    with logging_to_pipe() as (pipe, reader):
        longest = 0.0
        for number in range(5000):
            before = time.perf_counter()
            log.info("x.y", number=number, filler="x" * 200)
            longest = max(longest, time.perf_counter() - before)
        assert longest < 2.0, f"a call took {longest:.3f} s while nobody read"
        assert pipe.lines_dropped > 1000
        told = reader.until("log.dropped")
        assert told[-1]["lines"] == pipe.lines_dropped
        assert [line["number"] for line in told[:-1]] == list(range(5000 - pipe.lines_dropped))
        assert validate(told[-1]) == []
        assert pipe.flush(5.0)
        log.info("x.y", number=5000)
        assert reader.line()["number"] == 5000


def test_an_exit_does_not_wait_for_a_reader_that_stalls() -> None:
    with logging_to_pipe() as (pipe, _):
        for _number in range(100):
            log.info("x.y", filler="x" * 200)
        before = time.monotonic()
        assert not pipe.flush(0.05)
        assert time.monotonic() - before < 1.0


def test_a_pipe_without_a_reader_costs_lines_and_nothing_else() -> None:
    read_fd, write_fd = os.pipe()
    os.close(read_fd)
    with logging_to(write_fd) as pipe:
        log.info("x.y")
        log.info("x.y")
        assert pipe.flush(5.0)
        assert pipe.lines_dropped == 2
    os.close(write_fd)


def test_a_reader_that_comes_back_is_told_about_the_gap(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    first = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    write_fd = os.open(fifo, os.O_WRONLY)
    with logging_to(write_fd) as pipe:
        os.close(first)
        log.info("lost.line")
        assert pipe.flush(5.0)
        second = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        log.info("seen.line")
        reader = Reader(second)
        assert [reader.line()["event"], reader.line()["event"]] == ["log.dropped", "seen.line"]
    os.close(second)
    os.close(write_fd)


def test_a_full_disk_costs_lines_and_nothing_else() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    with logging_to(full) as pipe:
        for _ in range(3):
            log.info("x.y")
        assert pipe.flush(5.0)
        assert pipe.lines_dropped == 3
    os.close(full)


def test_a_descriptor_that_somebody_made_non_blocking_loses_nothing() -> None:
    with logging_to_pipe() as (pipe, reader):
        os.set_blocking(pipe._pipe.fd, False)
        for number in range(100):
            log.info("x.y", number=number, filler="x" * 100)
        assert [reader.line()["number"] for _ in range(100)] == list(range(100))


def test_a_missing_standard_output_is_replaced_before_a_socket_takes_its_number() -> None:
    read_fd, spare = os.pipe()
    os.close(read_fd)
    os.close(spare)
    with hooks_kept():
        pipe = configure(level="info", stream_fd=spare)
        assert os.path.samestat(os.fstat(spare), os.stat(os.devnull))
        pipe.close()
        structlog.reset_defaults()
    os.close(spare)


def test_many_threads_write_whole_lines() -> None:
    with logging_to_pipe() as (pipe, reader):

        def talk(name: int) -> None:
            for number in range(50):
                log.info("x.y", thread=name, number=number)

        threads = [threading.Thread(target=talk, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        seen = [reader.line() for _ in range(200)]
        for thread in threads:
            thread.join()
        assert pipe.lines_dropped == 0
    for name in range(4):
        assert [line["number"] for line in seen if line["thread"] == name] == list(range(50))


# ---- whole processes ------------------------------------------------------------------------------------------------


def run_python(code: str, **more: Any) -> Any:
    import subprocess

    prelude = "import structlog\nfrom appliance.observe.log import configure\nlog = structlog.get_logger()\n"
    return subprocess.run([sys.executable, "-c", prelude + code], capture_output=True, timeout=20, check=False, **more)


@pytest.mark.slow
def test_a_crash_of_the_main_thread_is_one_json_line_and_the_exit_code_says_it() -> None:
    done = run_python("configure(level='info')\nlog.info('x.y')\nraise RuntimeError('at the end')")
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["event"] for line in told] == ["x.y", "bug"]
    assert told[1]["error"] == "RuntimeError: at the end"
    assert done.returncode == 1
    assert done.stderr == b""


@pytest.mark.slow
def test_a_process_whose_reader_left_ends_with_its_own_exit_code() -> None:
    code = "import os, sys\nos.close(0)\nconfigure(level='info')\nlog.info('x.y')\nsys.exit(7)"
    read_fd, write_fd = os.pipe()
    os.close(read_fd)
    import subprocess

    prelude = "import structlog\nfrom appliance.observe.log import configure\nlog = structlog.get_logger()\n"
    done = subprocess.run(
        [sys.executable, "-c", prelude + code], stdout=write_fd, stderr=subprocess.PIPE, timeout=20, check=False
    )
    os.close(write_fd)
    assert (done.returncode, done.stderr) == (7, b"")


@pytest.mark.slow
def test_importing_the_log_imports_nothing_heavy() -> None:
    done = run_python("import sys\nprint([m for m in ('numpy', 'livekit', 'aiohttp', 'pydantic') if m in sys.modules])")
    assert done.stdout.strip() == b"[]"
