"""alto.status.txt: plain words, Windows line ends, and no news where nothing changed."""

from __future__ import annotations

from typing import Any

from appliance.card.inbox import Outcome, Verdict
from appliance.card.words import WIDTH, same_news, status_file

ONLINE: dict[str, Any] = {
    "state": "online",
    "identity": "kitchen",
    "room": "home",
    "url": "wss://example.org",
    "version": "0.1.0",
    "legs": {"input": {"state": "ok", "device": "plughw:CARD=Device"}, "output": {"state": "off"}},
    "since_s": 12.0,
    "participants": [{"identity": "porch"}],
}
WHEN = "2026-11-24 11:20 UTC"


def told(verdict: Verdict, status: dict[str, Any] | None, written: str = WHEN) -> str:
    return status_file(verdict, status, written=written).decode()


def test_a_talking_station_says_so() -> None:
    text = told(Verdict(Outcome.TAKEN, blanked=True), ONLINE)
    assert "SETTINGS: alto.yaml is valid and in use." in text
    assert "secrets were taken off the card" in text
    assert "STATION: kitchen is online: in its room" in text
    assert "Microphone: plughw:CARD=Device" in text
    assert "Loudspeaker: switched off in alto.yaml" in text


def test_mistakes_are_listed_with_their_lines_and_what_goes_on_meanwhile() -> None:
    problems = ("line 7: audio.inpt: unknown key; did you mean input?", "line 9: room: found: nothing")
    text = told(Verdict(Outcome.REJECTED, "alto.yaml.txt", problems), ONLINE)
    assert "alto.yaml.txt has 2 mistakes and is not used." in text
    assert all(f"  {problem}" in text for problem in problems)
    assert "last good settings" in text


def test_a_silent_station_says_why_and_what_to_do() -> None:
    status = {**ONLINE, "state": "blocked", "detail": "the server refuses the key", "fix": "check livekit.api_key"}
    text = told(Verdict(Outcome.UNCHANGED), status)
    assert "kitchen is blocked" in text
    assert "Why: the server refuses the key" in text
    assert "What to do: check livekit.api_key" in text


def test_a_missing_microphone_is_named_with_its_cure() -> None:
    leg = {"state": "missing", "detail": 'no capture device "usb"', "fix": "plug it in"}
    text = told(Verdict(Outcome.UNCHANGED), {**ONLINE, "state": "degraded", "legs": {"input": leg}})
    assert "Microphone: missing" in text
    assert "What to do: plug it in" in text


def test_a_station_that_does_not_answer_is_said_not_to_run() -> None:
    assert "STATION: it does not run." in told(Verdict(Outcome.ABSENT), None)


def test_every_line_ends_for_notepad_and_fits() -> None:
    verdict = Verdict(Outcome.REJECTED, problems=("line 1: " + "a long sentence " * 40, "line 2: \x1b[31m\nred"))
    data = status_file(verdict, ONLINE, written=WHEN)
    assert data.count(b"\n") == data.count(b"\r\n")
    assert data.endswith(b"\r\n")
    assert b"\x1b" not in data
    assert max(map(len, data.decode().splitlines())) <= WIDTH


def test_the_date_people_who_come_and_go_and_passing_time_are_no_news() -> None:
    later = {**ONLINE, "since_s": 900.0, "participants": []}
    one = status_file(Verdict(Outcome.UNCHANGED), ONLINE, written=WHEN)
    assert same_news(one, status_file(Verdict(Outcome.UNCHANGED), later, written="2027-01-01 00:00 UTC"))
    assert not same_news(one, status_file(Verdict(Outcome.UNCHANGED), {**later, "state": "waiting"}, written=WHEN))
    assert same_news(one, status_file(Verdict(Outcome.TAKEN), ONLINE, written=WHEN))
