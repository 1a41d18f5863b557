"""`alto-card`: one look at the card, from the file to the line in the log and the words beside it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from appliance.card.__main__ import Places, edit, take, tell
from tests.card.cards import SECRET, VALID
from tests.observe.stations import BLOCKED, ONLINE


@pytest.fixture
def places(tmp_path: Path) -> Places:
    names = ("card", "state", "run", "own", "open", "keep")
    made = Places(*(tmp_path / name for name in names), settle_s=0.0)
    for folder in (made.card, made.state, made.sockets):
        folder.mkdir()
    return made


@contextlib.contextmanager
def station(places: Places, *answers: dict[str, Any]) -> Iterator[None]:
    """A status socket that gives these answers, one a question."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(places.sockets / "kitchen.sock"))
        listener.listen()

        def serve() -> None:
            for answer in answers:
                channel, _ = listener.accept()
                with channel:
                    channel.recv(4096)
                    channel.sendall(json.dumps(answer).encode() + b"\n")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield
        thread.join(5.0)
        assert not thread.is_alive(), "not every answer was asked for"


def status_text(places: Places) -> str:
    return (places.card / "alto.status.txt").read_bytes().decode()


def save(places: Places, text: str) -> None:
    (places.card / "alto.yaml").write_text(text)


def logged(places: Places) -> list[str]:
    with capture_logs() as lines:
        assert take(places) == 0
    return [line["event"] for line in lines]


def test_a_mark_leaves_the_secrets_on_the_card_and_says_why(places: Places) -> None:
    save(places, VALID)
    places.keep_secrets.write_text("the data partition is broken\n")
    take(places)
    tell(places)
    assert SECRET in (places.card / "alto.yaml").read_text()
    assert "still on the card: the data partition is broken" in " ".join(status_text(places).split())
    places.keep_secrets.unlink()
    take(places)
    assert SECRET not in (places.card / "alto.yaml").read_text()


def test_a_new_file_is_one_line_in_the_log_and_the_same_file_none(places: Places) -> None:
    save(places, VALID)
    assert logged(places) == ["card.taken"]
    assert logged(places) == []
    save(places, "nonsense: 1\n")
    assert logged(places) == ["card.rejected"]
    assert logged(places) == []
    save(places, VALID)
    assert logged(places) == [], "it is the one that is in force"


def test_what_is_told_holds_no_secret(places: Places) -> None:
    save(places, VALID + f"api_secrt: {SECRET}\n")
    with capture_logs() as lines:
        take(places)
    tell(places)
    assert SECRET not in json.dumps(lines) + status_text(places)


def test_the_status_is_written_once_and_again_only_when_it_is_another(places: Places) -> None:
    save(places, VALID)
    take(places)
    with station(places, ONLINE, {**ONLINE, "since_s": 9000.0}, BLOCKED):
        tell(places)
        first = (places.card / "alto.status.txt").stat()
        assert "kitchen is online" in status_text(places)
        tell(places)
        assert (places.card / "alto.status.txt").stat().st_ino == first.st_ino, "nothing was written"
        tell(places)
    assert "kitchen is blocked" in status_text(places)
    assert "What to do: check livekit.api_key" in status_text(places)


@pytest.mark.slow
def test_it_waits_until_the_station_has_settled(places: Places) -> None:
    save(places, VALID)
    take(places)
    with station(places, {**ONLINE, "state": "connecting"}, ONLINE):
        tell(replace(places, settle_s=30.0))
    assert "kitchen is online" in status_text(places)


def test_a_change_that_nobody_noticed_is_taken_with_the_next_status(places: Places) -> None:
    save(places, VALID)
    take(places)
    save(places, VALID.replace("kitchen", "porch"))
    tell(places)
    assert "identity: porch" in (places.state / "alto.yaml").read_text()


def test_while_somebody_edits_nothing_is_done(places: Places) -> None:
    places.own.mkdir()
    save(places, VALID)
    with (places.own / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert logged(places) == []
        assert not (places.state / "alto.yaml").exists()
    assert logged(places) == ["card.taken"]


def test_a_machine_without_a_card_is_left_alone(places: Places) -> None:
    without = replace(places, card=places.card / "not-there")
    assert (take(without), tell(without)) == (0, 0)
    assert list(places.state.iterdir()) == []


def test_what_an_editor_saves_is_taken_when_it_ends(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    save(places, VALID)
    monkeypatch.setenv("EDITOR", "sed -i s/kitchen/porch/")
    assert edit(places) == 0
    assert "identity: porch" in (places.state / "alto.yaml").read_text()


def test_mistakes_that_an_editor_saves_are_told_at_once(
    places: Places, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save(places, VALID)
    monkeypatch.setenv("EDITOR", "sed -i s/identity/identiti/")
    assert edit(places) == 78
    assert "alto.yaml: line 1: identiti: unknown key" in capsys.readouterr().err


def test_an_editor_that_is_not_there_is_named(
    places: Places, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save(places, VALID)
    monkeypatch.setenv("EDITOR", "no-such-editor")
    assert edit(places) == 69
    assert "no-such-editor" in capsys.readouterr().err
