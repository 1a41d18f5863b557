"""Flags, environment, file, credentials, defaults: who wins, and who is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.errors import ConfigError
from appliance.settings import load as load_module
from appliance.settings.load import find_config, load
from appliance.settings.secrets import Right
from tests.settings.loading import EMBEDDED, SECRET, SERVER, loaded, refusals, write

KEY_PAIR = SERVER + f"  api_key: file-key\n  api_secret: {SECRET}\n"


def test_a_flag_beats_the_environment_which_beats_the_file_which_beats_the_default(tmp_path: Path) -> None:
    text = KEY_PAIR + "room: from-file\nidentity: from-file\n"
    env = {"LIVEKIT_URL": "wss://environment.example.org"}
    found = loaded(tmp_path, text, env=env)
    assert (found.settings.room, str(found.origins["room"])) == ("from-file", f"{tmp_path}/alto.yaml:5")
    assert found.settings.livekit.url == "wss://environment.example.org"
    assert str(found.origins["livekit.url"]) == "environment LIVEKIT_URL"
    flags = {"room": "demo", "identity": "alice", "livekit.url": "wss://flag.example.org", "audio.input.device": None}
    found = loaded(tmp_path, text, env=env, flags=flags)
    assert (found.settings.room, found.settings.identity) == ("demo", "alice")
    assert (found.settings.livekit.url, str(found.origins["livekit.url"])) == (
        "wss://flag.example.org",
        "flag --livekit.url",
    )
    assert str(found.origins["audio.input.device"]) == "default", "a flag that was not given is no value"


def test_a_flag_is_named_as_it_is_spelled(tmp_path: Path) -> None:
    path = write(tmp_path, EMBEDDED)
    found = load(path, flags={"room": "demo"}, env={}, flag_names={"room": "--room-name"})
    assert str(found.origins["room"]) == "flag --room-name"


@pytest.mark.parametrize(
    ("key", "value", "meant"),
    [
        ("audio.block_ms", "20", 20),
        ("audio.block_ms", 20, 20),
        ("audio.output.volume", "0.5", 0.5),
        ("audio.output.volume", 2, 2.0),
        ("audio.input.enabled", "no", False),
        ("audio.input.enabled", False, False),
        ("audio.volumes.bob.smith", "1.5", 1.5),
        ("log.level", "debug", "debug"),
        ("room", "012", "012"),
        ("room", "null", "null"),
        ("status.socket", "/run/x.sock", Path("/run/x.sock")),
    ],
)
def test_a_flag_may_be_text_or_what_argparse_made_of_it(tmp_path: Path, key: str, value: object, meant: object) -> None:
    settings = loaded(tmp_path, EMBEDDED, flags={key: value}).settings.model_dump()
    if key.startswith("audio.volumes"):
        assert settings["audio"]["volumes"] == {"bob.smith": meant}
        return
    for name in key.split("."):
        settings = settings[name]
    assert settings == meant


@pytest.mark.parametrize(
    ("key", "value", "found", "fix"),
    [
        ("romm", "x", "unknown key", 'did you mean "room"?'),
        ("audio.blok_ms", "5", "unknown key", 'did you mean "block_ms"?'),
        ("audio", "5", "unknown key", "name one of its keys"),
        ("audio.output.volume", "loud", 'found: "loud"', "write a number in decimal digits, such as 0.5"),
        ("audio.output.volume", 9.0, "found: 9", "write 4 or less"),
        ("audio.output.volume", True, 'found: "True"', "give a number from 0 to 4"),
        ("audio.output.volume", float("nan"), 'found: "nan"', "write a number from 0 to 4"),
        ("room", "", 'found: ""', "write something, or delete the line"),
        ("room", 12, "found: 12", "write a name that people can read"),
    ],
)
def test_a_bad_flag_is_refused_like_a_bad_line(tmp_path: Path, key: str, value: object, found: str, fix: str) -> None:
    (said,) = refusals(tmp_path, EMBEDDED, flags={key: value})
    assert said.startswith(f"flag --{key}: {key}: {found}; allowed: ")
    assert said.endswith(f"; {fix}")


def test_the_problems_of_flags_and_environment_follow_those_of_the_file(tmp_path: Path) -> None:
    said = refusals(tmp_path, KEY_PAIR + "rooom: x\n", flags={"audio.mix": "smu"}, env={"LIVEKIT_URL": "example.org"})
    assert [line.split(": ")[0] for line in said] == ["alto.yaml:5:1", "flag --audio.mix", "environment LIVEKIT_URL"]
    assert said[2].endswith('did you mean "wss://example.org"?')


def test_an_empty_variable_is_no_variable(tmp_path: Path) -> None:
    found = loaded(tmp_path, KEY_PAIR, env={"LIVEKIT_URL": "", "LIVEKIT_TOKEN": " \n"})
    assert found.settings.livekit.url == "wss://intercom.example.org"
    assert found.right is Right.KEY_AND_SECRET


# ---- rights to join ----------------------------------------------------------------------------------------------


def test_a_token_in_the_environment_beats_the_key_pair_of_the_file_as_a_whole(tmp_path: Path) -> None:
    found = loaded(tmp_path, KEY_PAIR, env={"LIVEKIT_TOKEN": "eyJ.environment"})
    livekit = found.settings.livekit
    assert found.right is Right.TOKEN
    assert livekit.token is not None
    assert livekit.token.get_secret_value() == "eyJ.environment"
    assert (livekit.api_key, livekit.api_secret) == (None, None), "no half of the loser stays behind"
    assert {key: str(origin) for key, origin in found.unused.items()} == {
        "livekit.api_key": f"{tmp_path}/alto.yaml:3",
        "livekit.api_secret": f"{tmp_path}/alto.yaml:4",
    }


def test_a_key_pair_in_the_environment_beats_the_token_of_the_file(tmp_path: Path) -> None:
    env = {"LIVEKIT_API_KEY": "env-key", "LIVEKIT_API_SECRET": SECRET}
    found = loaded(tmp_path, SERVER + "  token: eyJ.file\n", env=env)
    assert found.right is Right.KEY_AND_SECRET
    assert found.settings.livekit.token is None
    assert str(found.unused["livekit.token"]).endswith("alto.yaml:3")


def test_a_key_in_the_environment_takes_the_place_of_the_files_key_and_keeps_its_secret(tmp_path: Path) -> None:
    text = SERVER + f"  api_key_file: /etc/alto/api_key\n  api_secret: {SECRET}\n"
    found = loaded(tmp_path, text, env={"LIVEKIT_API_KEY": "env-key"})
    livekit = found.settings.livekit
    assert (livekit.api_key, livekit.api_key_file) == ("env-key", None)
    assert livekit.api_secret is not None
    assert livekit.api_secret.get_secret_value() == SECRET
    assert str(found.origins["livekit.api_key"]) == "environment LIVEKIT_API_KEY"
    assert str(found.origins["livekit.api_secret"]).endswith("alto.yaml:4")


def test_of_a_token_and_a_key_pair_in_one_environment_the_token_counts(tmp_path: Path) -> None:
    env = {"LIVEKIT_API_KEY": "env-key", "LIVEKIT_API_SECRET": SECRET, "LIVEKIT_TOKEN": "eyJ.environment"}
    found = loaded(tmp_path, SERVER, env=env)
    assert found.right is Right.TOKEN
    assert {key: str(origin) for key, origin in found.unused.items()} == {
        "livekit.api_key": "environment LIVEKIT_API_KEY",
        "livekit.api_secret": "environment LIVEKIT_API_SECRET",
    }


def test_a_secret_that_is_nowhere_is_missed_where_its_key_is(tmp_path: Path) -> None:
    (said,) = refusals(tmp_path, SERVER, env={"LIVEKIT_API_KEY": "env-key"})
    assert said.startswith("environment LIVEKIT_API_KEY: livekit.api_secret: missing; allowed: api_secret or")


def test_a_flag_beats_every_other_right(tmp_path: Path) -> None:
    env = {"LIVEKIT_TOKEN": "eyJ.environment"}
    found = loaded(tmp_path, KEY_PAIR, env=env, flags={"livekit.token_endpoint": "https://example.org/token"})
    assert found.right is Right.ENDPOINT
    assert set(found.unused) == {"livekit.api_key", "livekit.api_secret", "livekit.token"}


def test_credentials_of_systemd_come_after_the_file_and_before_nothing(tmp_path: Path) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "alto.api_key").write_text("credential-key")
    (credentials / "alto.api_secret").write_text(SECRET)
    env = {"CREDENTIALS_DIRECTORY": str(credentials)}
    found = loaded(tmp_path, SERVER, env=env)
    assert found.right is Right.KEY_AND_SECRET
    assert found.settings.livekit.api_secret_file == credentials / "alto.api_secret"
    assert str(found.origins["livekit.api_secret_file"]) == "credential alto.api_secret"
    found = loaded(tmp_path, SERVER + "  api_key: file-key\n", env=env)
    assert (found.settings.livekit.api_key, found.settings.livekit.api_key_file) == ("file-key", None)
    assert found.settings.livekit.api_secret_file == credentials / "alto.api_secret"
    found = loaded(tmp_path, SERVER + "  token_file: /t\n", env=env)
    assert found.right is Right.TOKEN_FILE
    assert set(found.unused) == {"livekit.api_key_file", "livekit.api_secret_file"}


def test_the_embedded_server_needs_no_right_and_uses_none(tmp_path: Path) -> None:
    found = loaded(tmp_path, EMBEDDED, env={"LIVEKIT_TOKEN": "eyJ.environment"})
    assert found.right is Right.EMBEDDED
    assert found.settings.livekit.token is None
    assert set(found.unused) == {"livekit.token"}


def test_a_url_in_the_environment_turns_an_embedded_server_into_a_real_one(tmp_path: Path) -> None:
    env = {"LIVEKIT_URL": "wss://intercom.example.org", "LIVEKIT_TOKEN": "eyJ.environment"}
    assert loaded(tmp_path, EMBEDDED, env=env).right is Right.TOKEN
    (said,) = refusals(tmp_path, EMBEDDED, env={"LIVEKIT_URL": "wss://intercom.example.org"})
    assert said.startswith("alto.yaml:1:1: livekit: found: no right to join")


def test_a_file_with_two_rights_is_refused_whatever_the_environment_says(tmp_path: Path) -> None:
    (said,) = refusals(tmp_path, KEY_PAIR + "  token: eyJ.file\n", env={"LIVEKIT_TOKEN": "eyJ.environment"})
    assert said.startswith("alto.yaml:5:10: livekit.token: found: a second right to join beside api_key")


def test_a_file_of_comments_works_with_an_environment_that_says_the_rest(tmp_path: Path) -> None:
    env = {"LIVEKIT_URL": "wss://intercom.example.org", "LIVEKIT_TOKEN": "eyJ.environment"}
    assert loaded(tmp_path, "# all defaults\n", env=env).settings.room == "home"


# ---- which file --------------------------------------------------------------------------------------------------


def test_the_named_file_is_taken_before_the_variable_before_what_lies_around(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, EMBEDDED)
    env = {"ALTO_CONFIG": "/somewhere/else.yaml"}
    assert find_config(Path("mine.yaml"), env) == Path("mine.yaml")
    assert find_config(None, env) == Path("/somewhere/else.yaml"), "even when it is not there: it was asked for"
    assert find_config(None, {}) == Path("alto.yaml")
    assert find_config(None, {"ALTO_CONFIG": ""}) == Path("alto.yaml")


def test_the_usual_places_are_tried_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = tuple(tmp_path / name for name in ("here.yaml", "boot/firmware.yaml", "etc/alto.yaml"))
    monkeypatch.setattr(load_module, "SEARCHED", places)
    places[2].parent.mkdir()
    places[2].write_text(EMBEDDED)
    assert find_config(None, {}) == places[2]
    places[1].parent.mkdir()
    places[1].symlink_to("nowhere")
    assert find_config(None, {}) == places[1], "a dangling link is said to be one, not passed over"


def test_no_file_anywhere_is_an_error_that_lists_where_it_looked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(load_module, "SEARCHED", (Path("alto.yaml"), tmp_path / "none.yaml"))
    with pytest.raises(ConfigError) as caught:
        find_config(None, {})
    assert str(caught.value) == (
        "alto.yaml:1:1: found: no configuration file; create /etc/alto/alto.yaml, or name the file with -c; "
        f"looked in $ALTO_CONFIG, ./alto.yaml, {tmp_path}/none.yaml"
    )
