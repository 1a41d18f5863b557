"""The tables of events and figures against the source, against written lines, and against the page made from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from appliance.observe.document import render_markdown
from appliance.observe.events import Event, events, metrics, validate
from tests.observe.log_calls import calls_in, log_calls

APPLIANCE = Path(__file__).resolve().parents[2] / "appliance"

HEAD = {"timestamp": "2026-11-24T08:00:00.000Z", "level": "info"}

EMITTED_WITHOUT_A_LOGGER = {"log.dropped", "library.log", "bug"}
"""What observe/ writes by itself, past structlog."""


def test_every_log_call_of_the_source_is_in_the_table() -> None:
    table = events()
    problems = [problem for call in log_calls(APPLIANCE) for problem in call.problems(table)]
    assert not problems, "\n".join(problems)


def test_every_event_of_the_table_is_logged_somewhere() -> None:
    logged = {call.event for call in log_calls(APPLIANCE)} | EMITTED_WITHOUT_A_LOGGER
    assert not set(events()) - logged, f"documented and never logged: {sorted(set(events()) - logged)}"


def test_the_page_is_made_from_the_tables() -> None:
    command = "python -m appliance.observe.document > appliance/observe/EVENTS.md"
    assert (APPLIANCE / "observe/EVENTS.md").read_text() == render_markdown(), f"make it anew: {command}"


def test_each_row_says_what_it_means_and_what_is_good() -> None:
    for event in events().values():
        assert event.meaning.endswith("."), event.name
        assert event.good, event.name
        assert event.levels <= {"debug", "info", "warning", "error", "critical"}, event.name
    for metric in metrics().values():
        assert metric.unit, metric.path
        assert metric.meaning, metric.path
        assert metric.good, metric.path


# ---- the guard itself -----------------------------------------------------------------------------------------------

TABLE = {
    "x.y": Event("x.y", "info|warning", "It is.", {"a": "one", "b?": "two"}, "good"),
    "x.open": Event("x.open", "error", "It is.", {"a": "one", "*": "facts"}, "good"),
}


def problems_in(source: str) -> list[str]:
    return [problem for call in calls_in(source, "f.py") for problem in call.problems(TABLE)]


def test_the_guard_accepts_what_the_table_says() -> None:
    assert problems_in('log.info("x.y", a=1)\nself._log.warning("x.y", a=1, b=2)\nlog.info("x.y", **{"a": 1})') == []
    assert problems_in('log.exception("x.open", a=1, anything=2)\nlog.error("x.open", **error.facts)') == []
    assert problems_in('say = log.warning if new else log.info\nsay("x.y", a=1)\ngetattr(log, level)("x.y", a=1)') == []
    assert problems_in('log.info("x.y", a=1, exc_info=True)\nmath.log(1)\nother.info("z")') == []


def test_the_guard_names_file_line_and_what_is_wrong() -> None:
    assert problems_in('\nlog.info("no.such")') == ["f.py:2: event no.such is not in observe/event_table.py"]
    assert problems_in('log.info("x.y")') == ["f.py:1: x.y: field a is missing"]
    assert problems_in('log.info("x.y", a=1, c=1)') == ["f.py:1: x.y: field c is not documented"]
    assert problems_in('log.error("x.y", a=1)') == ["f.py:1: x.y logged as error, documented as info|warning"]
    assert problems_in('say = log.warning if new else log.debug\nsay("x.y", a=1)') == [
        "f.py:2: x.y logged as debug, documented as info|warning"
    ]
    assert problems_in('def a():\n say = log.debug\ndef b():\n say = log.info\n say("x.y", a=1)') == []
    assert problems_in('getattr(log, level)("x.y")') == ["f.py:1: x.y: field a is missing"]
    assert "not a constant" in problems_in('log.info(f"x.{y}", a=1)')[0]
    assert "not a constant" in problems_in('log.info("x %s", a, b=1)')[0]
    assert "takes fields from a mapping" in problems_in('log.info("x.y", **facts)')[0]


# ---- written lines --------------------------------------------------------------------------------------------------


def line(event: str, **fields: Any) -> dict[str, Any]:
    return {**HEAD, "event": event, **fields}


def test_a_documented_line_has_no_problems() -> None:
    assert validate(line("participant.joined", identity="bob", participants=1)) == []
    assert validate(line("state.changed", **{"from": "a", "to": "b", "reason": "c", "detail": "d"})) == []


def test_an_undocumented_line_says_what_is_wrong() -> None:
    assert validate(line("no.such")) == ["event 'no.such' is not documented"]
    assert validate(line("participant.joined", participants=1)) == ["participant.joined: field identity is missing"]
    assert validate(line("participant.joined", identity="b", participants=1, age=3)) == [
        "participant.joined: field age is not documented"
    ]
    assert (
        "documented as info"
        in validate({**line("participant.joined", identity="b", participants=1), "level": "error"})[0]
    )
    assert (
        "timestamp" in validate({**line("participant.joined", identity="b", participants=1), "timestamp": "today"})[0]
    )
    assert "starts with" in validate({"event": "participant.joined", **HEAD, "identity": "b", "participants": 1})[0]


def whole_metrics() -> dict[str, Any]:
    out: dict[str, Any] = {}
    for path in metrics():
        section, _, name = path.partition(".")
        if "<id>" not in name:
            out.setdefault(section, {})[name] = 1
    out["mixer"]["per_stream"] = {"bob": {p.rpartition(".")[2]: 1 for p in metrics() if "<id>" in p}}
    return out


def test_a_metrics_line_must_carry_exactly_the_documented_figures() -> None:
    good = whole_metrics()
    assert validate(line("metrics", **good)) == []
    offline = {"network": {"state": "offline", "participants": 0}, "process": good["process"]}
    assert validate(line("metrics", **offline)) == []
    bad = {**good, "input": {**good["input"], "colour": 1}}
    del bad["input"]["level_dbfs"]
    bad["mixer"] = {**good["mixer"], "per_stream": {"bob": {"pitch": 1}}}
    bad["output"] = 3
    assert sorted(validate(line("metrics", **bad))) == [
        "metrics: input.colour is not documented",
        "metrics: input.level_dbfs is missing",
        "metrics: mixer.per_stream.*.pitch is not documented",
        "metrics: output is not an object",
    ]
