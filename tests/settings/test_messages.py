"""The sentences that a person reads about a bad file, word for word (`messages.txt`)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from appliance.errors import ConfigError
from appliance.settings.load import load
from appliance.settings.problems import Origin, Problem, Source

TABLE = Path(__file__).with_name("messages.txt")
SIGNS = {"→": "\t", "⎵": "\u00a0"}


class Case(NamedTuple):
    name: str
    lines: tuple[str, ...]
    messages: tuple[str, ...]

    @property
    def text(self) -> str:
        return "".join(f"{line}\n" for line in self.lines)


def cases() -> Iterator[Case]:
    for block in re.split(r"\n(?=# )", TABLE.read_text("utf-8"))[1:]:
        name, *rest = block.strip("\n").split("\n")
        lines = tuple(line[2:] for line in rest if line.startswith("|"))
        yield Case(name[2:], lines, tuple(line for line in rest if not line.startswith("|")))


def messages(text: str, env: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """What `alto check` says about a file in the working directory."""
    for sign, meant in SIGNS.items():
        text = text.replace(sign, meant)
    Path("alto.yaml").write_text(text, "utf-8")
    try:
        load(Path("alto.yaml"), env=env or {})
    except ConfigError as error:
        return tuple(str(problem) for problem in error.problems)
    return ()


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("case", list(cases()), ids=lambda case: case.name)
def test_a_bad_file_is_answered_with_exactly_these_words(case: Case) -> None:
    assert messages(case.text) == case.messages


def test_the_table_has_a_case_for_everything_that_goes_wrong_often() -> None:
    assert len(list(cases())) >= 80


GOOD = "livekit: {url: embedded}\n"


def test_a_number_of_5000_digits_is_counted_not_converted() -> None:
    (said,) = messages(GOOD + f"audio: {{playout_ms: {'9' * 5000}}}")
    assert "playout_ms: found: a number of 5000 digits; allowed: a whole number from 10 to 200" in said


def test_a_name_that_is_too_long_is_measured() -> None:
    (said,) = messages(GOOD + f"room: {'my room ' * 20}")
    assert said.endswith("allowed: text of 1 to 128 characters, not only blanks; shorten it: it has 159 characters")
    assert len(said) < 250, "the name itself is cut"


def test_brackets_5000_deep_are_refused_where_they_begin() -> None:
    (said,) = messages("x: " + "[" * 5000)
    assert said.startswith("alto.yaml:1:16: found: more than 12 levels of nesting")


def test_errors_of_every_kind_come_in_one_go_and_in_file_order() -> None:
    said = messages(
        """\
        rooom: x
        livekit: {url: intercom.example.org, api_key: a, api_key_file: b, token_ttl_s: 1}
        audio:
          input: {volume: 9, device: [a]}
          output: {volume: loud}
          mix: smu
          →block_ms: 5
        supervisor: {retry_min_s: 9, retry_max_s: 1, watch_file: maybe}
        """.replace("        ", "")
    )
    lines = [int(line.split(":")[1]) for line in said]
    assert lines == sorted(lines)
    keys = [re.sub(r"alto.yaml:\d+:\d+: (\S+): .*", r"\1", line) for line in said]
    assert keys[:2] == ["rooom", "livekit.url"]
    assert set(keys[2:]) >= {
        *("livekit.api_key_file", "livekit.token_ttl_s", "audio.input.volume", "audio.input.device"),
        *("audio.output.volume", "audio.mix", "supervisor.retry_max_s", "supervisor.watch_file"),
    }
    assert "alto.yaml:7:3: found: a tab" in "\n".join(said)


def test_a_problem_reads_file_line_column_key_found_allowed_fix() -> None:
    problem = Problem("alto.yaml", 7, 3, "audio.mix", '"loud"', "average, sum", "write one of them")
    assert str(problem) == 'alto.yaml:7:3: audio.mix: found: "loud"; allowed: average, sum; write one of them'


def test_a_problem_of_a_flag_has_no_line() -> None:
    origin = Origin(Source.FLAG, "--room")
    assert (
        str(origin.problem("room", '""', "text", "write it")) == 'flag --room: room: found: ""; allowed: text; write it'
    )


def _take_over() -> None:
    """Write the table anew with what the loader says now."""
    head = TABLE.read_text("utf-8").split("\n# ")[0]
    blocks = [
        "\n".join([f"# {case.name}", *(f"| {line}".rstrip() for line in case.lines), *messages(case.text)])
        for case in cases()
    ]
    TABLE.write_text("\n\n".join([head.rstrip("\n"), *blocks]) + "\n", "utf-8")


if __name__ == "__main__":
    import os
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        _take_over()
