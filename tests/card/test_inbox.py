"""alto.yaml on the card: taken when it is good, left alone when it is not, and never with its secrets on it."""

from __future__ import annotations

import os
import stat
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.card.inbox import Outcome
from appliance.card.secrets import TAKEN
from tests.card.cards import SECRET, VALID, Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_good_file_is_taken_whole_and_private_and_its_secret_leaves_the_card(bench: Bench) -> None:
    bench.save(VALID)
    verdict = bench.inbox.take()
    assert (verdict.outcome, verdict.blanked, verdict.first) == (Outcome.TAKEN, True, True)
    assert bench.taken == VALID
    assert stat.S_IMODE((bench.state / "alto.yaml").stat().st_mode) == 0o600
    assert SECRET.encode() not in bench.lies()
    assert bench.lies() == VALID.replace(SECRET, TAKEN).encode()


def test_a_second_look_finds_nothing_new_and_writes_nothing(bench: Bench) -> None:
    bench.save(VALID)
    bench.inbox.take()
    before = bench.mount.openings
    again = bench.inbox.take()
    assert (again.outcome, again.blanked, again.first) == (Outcome.UNCHANGED, True, False)
    assert bench.mount.openings == before


def test_a_change_on_the_card_keeps_the_secret_that_was_taken(bench: Bench) -> None:
    bench.save(VALID)
    bench.inbox.take()
    bench.save(bench.lies().replace(b"kitchen", b"porch"))
    assert bench.inbox.take().outcome is Outcome.TAKEN
    assert "identity: porch" in bench.taken
    assert SECRET in bench.taken


def test_windows_line_ends_and_the_mark_of_its_editor_stay_and_are_understood(bench: Bench) -> None:
    bench.save(b"\xef\xbb\xbf" + VALID.replace("\n", "\r\n").encode(), "alto.yaml.txt")
    verdict = bench.inbox.take()
    assert (verdict.outcome, verdict.name) == (Outcome.TAKEN, "alto.yaml.txt")
    assert bench.taken == VALID
    lies = bench.lies("alto.yaml.txt")
    assert lies.startswith(b"\xef\xbb\xbfidentity")
    assert lies.count(b"\r\n") == lies.count(b"\n") == VALID.count("\n")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "an empty file"),
        (VALID[:-20].encode() + b"\0" * 20, "U+0000"),
        (b"\0" * 512, "512 zero bytes"),
        (b"identity: k\xfcche\n", "not UTF-8"),
        (b"\xff\xfei\0d\0", "UTF-16"),
        (VALID.replace("identity", "identiti").encode(), "line 1: identiti: unknown key"),
        (VALID[:60].encode(), "line"),
        (VALID.replace(SECRET, TAKEN).encode(), "line 5: livekit.api_secret"),
        (VALID.replace("api_secret:", "api_secret_file:").replace(SECRET, "secret.txt").encode(), "taken"),
    ],
    ids=["empty", "torn", "zeros", "latin-1", "utf-16", "unknown key", "half", "another's secret", "bare file name"],
)
def test_a_bad_file_changes_nothing_and_is_told_with_its_lines(bench: Bench, content: bytes, says: str) -> None:
    bench.save(VALID.replace("APIkey", "APIgood"))
    bench.inbox.take()
    good = bench.taken
    (bench.state / "alto.yaml").write_text(good.replace(f'  api_secret: "{SECRET}"\n', "  token: a.b.c\n"))
    good = bench.taken
    bench.save(content)
    verdict = bench.inbox.take()
    assert verdict.outcome is Outcome.REJECTED
    assert bench.taken == good
    assert bench.lies() == content, "a file that is not taken stays as it is"
    assert says in " ".join(verdict.problems) or (says == "taken" and "takes it off the card" in verdict.problems[0])


def test_no_problem_quotes_a_secret(bench: Bench) -> None:
    bench.save(VALID.replace("api_secret: ", "api_secret:") + "nonsense: 1\n")
    assert SECRET not in repr(bench.inbox.take())


def test_an_empty_card_leaves_the_station_what_it_has(bench: Bench) -> None:
    bench.save(VALID)
    bench.inbox.take()
    (bench.card / "alto.yaml").unlink()
    assert bench.inbox.take().outcome is Outcome.ABSENT
    assert bench.taken == VALID


def test_a_card_that_takes_no_writes_is_used_all_the_same_and_it_is_said(bench: Bench) -> None:
    bench.save(VALID)
    bench.mount.stuck = "write error"
    verdict = bench.inbox.take()
    assert (verdict.outcome, verdict.blanked, verdict.stuck) == (
        Outcome.TAKEN,
        False,
        "the card cannot be written: write error",
    )
    assert bench.taken == VALID
    bench.mount.stuck = ""
    assert bench.inbox.take().blanked, "made up for at the next look"
    assert SECRET.encode() not in bench.lies()


def test_secrets_stay_on_the_card_where_what_is_taken_would_not_be_kept(bench: Bench) -> None:
    bench.save(VALID)
    verdict = replace(bench.inbox, keep="the data partition is broken").take()
    assert (verdict.outcome, verdict.blanked, verdict.stuck) == (Outcome.TAKEN, False, "the data partition is broken")
    assert bench.taken == VALID
    assert bench.lies() == VALID.encode()


def test_a_right_that_systemd_hands_in_needs_none_on_the_card(bench: Bench, tmp_path: Path) -> None:
    handed = tmp_path / "credentials"
    handed.mkdir()
    (handed / "alto.token").write_text("a.b.c")
    bench.save("livekit: {url: 'wss://example.org'}\n")
    assert bench.inbox.take().outcome is Outcome.REJECTED
    inbox = type(bench.inbox)(bench.card, bench.state, bench.mount, env={"CREDENTIALS_DIRECTORY": str(handed)})
    assert inbox.take().outcome is Outcome.TAKEN


def test_a_folder_of_that_name_is_told_and_survived(bench: Bench) -> None:
    (bench.card / "alto.yaml").mkdir()
    verdict = bench.inbox.take()
    assert verdict.outcome is Outcome.REJECTED
    assert verdict.problems[0].startswith("a directory")


# ---- power cuts --------------------------------------------------------------------------------------------------


class PowerCut(BaseException):
    """Nothing after it happens."""


class Power:
    """Goes out at the chosen change of the file system."""

    CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.chmod", "os.chown")

    def __init__(self) -> None:
        self.left: int | None = None
        sys.addaudithook(self._happens)  # cannot be taken back; quiet while `left` is None

    def _happens(self, event: str, arguments: tuple[object, ...]) -> None:
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_ACCMODE != os.O_RDONLY
        if self.left is None or not (writes or event in self.CHANGES):
            return
        if self.left <= 0:
            raise PowerCut(event)
        self.left -= 1


@pytest.mark.slow
def test_a_power_cut_at_any_moment_leaves_the_old_or_the_new_and_the_next_start_ends_the_work(tmp_path: Path) -> None:
    power = Power()
    old, new = VALID.replace(SECRET, "another-secret-0123456789-abcdefghij"), VALID
    for changes in range(100):
        folder = tmp_path / str(changes)
        folder.mkdir()
        bench = Bench(folder)
        bench.save(old)
        bench.inbox.take()
        bench.save(new)
        power.left = changes
        try:
            bench.inbox.take()
        except PowerCut:
            done = False
        else:
            done = True
        power.left = None
        assert bench.taken in (old, new)
        bench.inbox.take()
        assert bench.taken == new
        assert SECRET.encode() not in bench.lies()
        if done:
            break
    assert 4 < changes < 100, "the cuts were not counted"
