"""A value is what was written, never what YAML 1.1 makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.orchestrator import audio_config
from appliance.ports import Direction
from appliance.settings.model import LogLevel, Mix
from tests.settings.loading import EMBEDDED, SERVER, loaded, refusals, warnings


@pytest.mark.parametrize(
    ("written", "takes_it_for"),
    [
        *(("no", "true or false"), ("on", "true or false"), ("yes", "true or false"), ("False", "true or false")),
        *(("012", "a number"), ("0x10", "a number"), ("0o17", "a number"), ("0b1", "a number"), ("7", "a number")),
        *(
            ("1e3", "a number"),
            ("1_000", "a number"),
            ("12:30", "a number"),
            (".inf", "a number"),
            (".nan", "a number"),
        ),
        ("2026-11-24", "a date"),
    ],
)
def test_an_unquoted_text_stays_the_text_that_was_written_and_quotes_are_suggested(
    tmp_path: Path, written: str, takes_it_for: str
) -> None:
    text = EMBEDDED + f"identity: {written}\n"
    assert loaded(tmp_path, text).settings.identity == written
    (said,) = warnings(tmp_path, text)
    assert said.startswith("alto.yaml:2:11: identity: found: ")
    assert said.endswith(f"put the value in quotes: other programs take it for {takes_it_for}")
    assert warnings(tmp_path, EMBEDDED + f"identity: '{written}'\n") == []


@pytest.mark.parametrize(
    "written", ["kitchen", "Küche", "first floor", "a-b_c.d", "n", "no way", "12 b", "-", "💡", "a#b"]
)
def test_an_ordinary_text_needs_no_quotes(tmp_path: Path, written: str) -> None:
    text = EMBEDDED + f"identity: {written}\n" if written != "-" else EMBEDDED + "identity: '-'\n"
    assert loaded(tmp_path, text).settings.identity == written
    assert warnings(tmp_path, text) == []


def test_names_of_participants_stay_as_they_are_written(tmp_path: Path) -> None:
    text = EMBEDDED + "audio:\n  volumes:\n    no: 1\n    012: 0.5\n    bob.smith: 2\n"
    found = loaded(tmp_path, text)
    assert found.settings.audio.volumes == {"no": 1.0, "012": 0.5, "bob.smith": 2.0}
    assert str(found.origins["audio.volumes.bob.smith"]).endswith("alto.yaml:6")
    assert len(warnings(tmp_path, text)) == 2, "no and 012 should stand in quotes"


@pytest.mark.parametrize(
    ("written", "meant"), [("1", 1.0), ("0.5", 0.5), (".5", 0.5), ("1.", 1.0), ("1e0", 1.0), ("+2", 2.0), ("5e-1", 0.5)]
)
def test_a_volume_may_be_written_as_any_decimal_number(tmp_path: Path, written: str, meant: float) -> None:
    text = EMBEDDED + f"audio: {{output: {{volume: {written}}}}}\n"
    assert loaded(tmp_path, text).settings.audio.output.volume == meant


@pytest.mark.parametrize(
    "written", ["012", "0x1", "0b1", "0o1", "1_0", "1:30", ".inf", "1e999", "--1", "1e", "+", ".", "nan"]
)
def test_a_number_that_readers_of_yaml_read_differently_is_refused(tmp_path: Path, written: str) -> None:
    (said,) = refusals(tmp_path, EMBEDDED + f"metrics: {{interval_s: {written}}}\n")
    assert said.startswith("alto.yaml:2:23: metrics.interval_s: found: ")


@pytest.mark.parametrize(
    ("written", "meant"), [("true", True), ("yes", True), ("On", True), ("TRUE", True), ("no", False), ("off", False)]
)
def test_a_switch_takes_every_word_that_yaml_ever_took(tmp_path: Path, written: str, meant: bool) -> None:
    text = EMBEDDED + f"audio: {{input: {{enabled: {written}}}}}\n"
    assert loaded(tmp_path, text).settings.audio.input.enabled is meant


@pytest.mark.parametrize("nothing", ["", "~", "null"])
def test_a_section_with_every_line_commented_out_is_an_empty_section(tmp_path: Path, nothing: str) -> None:
    text = EMBEDDED + f"audio: {nothing}\n  #mix: sum\nlog: {nothing}\n"
    assert loaded(tmp_path, text).settings.audio.mix is Mix.AVERAGE


@pytest.mark.parametrize("nothing", ["", "~", "null", "#hw:0"])
def test_nothing_behind_a_key_that_has_no_value_by_default_is_the_default(tmp_path: Path, nothing: str) -> None:
    text = EMBEDDED + f"audio:\n  input:\n    device: {nothing}\n"
    assert loaded(tmp_path, text).settings.audio.input.device is None


def test_quotes_str_tags_and_small_aliases_are_read(tmp_path: Path) -> None:
    text = EMBEDDED + "room: !!str 012\nname: &n 'no'\nidentity: *n\nlog: {level: \"debug\"}\n"
    settings = loaded(tmp_path, text).settings
    assert (settings.room, settings.name, settings.identity) == ("012", "no", "no")
    assert settings.log.level is LogLevel.DEBUG


def test_typographic_quotes_are_part_of_the_text_and_pointed_out(tmp_path: Path) -> None:
    (said,) = warnings(tmp_path, EMBEDDED + "room: “home”\n")
    assert said.startswith("alto.yaml:2:7: room: found: typographic quotes, taken as part of the text")


def test_a_path_is_relative_to_the_file_that_names_it_and_knows_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/pi")
    text = SERVER + "  api_key_file: keys/api_key\n  api_secret_file: ~/secret\nstatus: {socket: /run/x.sock}\n"
    settings = loaded(tmp_path, text).settings
    assert settings.livekit.api_key_file == tmp_path / "keys/api_key"
    assert settings.livekit.api_secret_file == Path("/home/pi/secret")
    assert settings.status.socket == Path("/run/x.sock")


@pytest.mark.parametrize(
    "url", ["wss://a.example.org", "ws://127.0.0.1:7880", "https://a.b/c", "http://h:80", "ws://[::1]:7880"]
)
def test_a_server_is_named_by_any_of_livekits_schemes(tmp_path: Path, url: str) -> None:
    assert loaded(tmp_path, f"livekit: {{url: '{url}', token_file: /t}}\n").settings.livekit.url == url


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("9477", "127.0.0.1:9477"),
        ("':9100'", "127.0.0.1:9100"),
        ("board.local:9100", "127.0.0.1:9100"),
        ("127.0.0.1:70000", "127.0.0.1:9477"),
        ("127.0.0.256:9477", "127.0.0.1:9477"),
        ("'[zz]:9477'", "127.0.0.1:9477"),
        ("http://127.0.0.1:9477", "127.0.0.1:9477"),
    ],
)
def test_what_is_no_address_to_listen_at_is_refused_with_one_that_is(tmp_path: Path, written: str, meant: str) -> None:
    (said,) = refusals(tmp_path, EMBEDDED + f"metrics:\n  listen: {written}\n")
    assert said.startswith("alto.yaml:3:11: metrics.listen: found: ")
    assert said.endswith(f'did you mean "{meant}"?')


@pytest.mark.parametrize(
    ("written", "microphone", "speaker"),
    [("{}", 10, 5), ("{block_ms: 5}", 5, 5), ("{block_ms: 20}", 20, 20), ("{output: {block_ms: 10}}", 10, 10)],
)
def test_the_speaker_has_shorter_blocks_unless_somebody_asks_for_longer(
    tmp_path: Path, written: str, microphone: int, speaker: int
) -> None:
    config = audio_config(loaded(tmp_path, EMBEDDED + f"audio: {written}\n").settings)
    assert config.block_samples(Direction.INPUT) == microphone * 48
    assert config.block_samples(Direction.OUTPUT) == speaker * 48
