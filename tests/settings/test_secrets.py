"""A secret is read when it is used, from whatever lies there, and shown to nobody."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from pydantic import SecretStr

from appliance.errors import ConfigError, Policy, Rejected
from appliance.settings.load import load
from appliance.settings.model import LiveKitSettings, Settings
from appliance.settings.secrets import (
    Right,
    SecretUnreadable,
    api_key,
    api_secret,
    looks_secret,
    public_url,
    read_secret,
    ready_token,
    right_of,
)
from appliance.settings.show import as_json, render
from tests.settings.loading import SECRET, SERVER, write


@pytest.mark.parametrize(
    ("content", "meant"),
    [
        (SECRET.encode(), SECRET),
        (SECRET.encode() + b"\n", SECRET),
        (SECRET.encode() + b"\r\n", SECRET),
        (b"\xef\xbb\xbf" + SECRET.encode() + b"\r\n", SECRET),
        (b" blanks belong to it ", " blanks belong to it "),
    ],
)
def test_a_secret_is_its_file_without_byte_order_mark_and_line_end(tmp_path: Path, content: bytes, meant: str) -> None:
    (tmp_path / "secret").write_bytes(content)
    assert read_secret(tmp_path / "secret").get_secret_value() == meant


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "found nothing"),
        (b"\n", "found nothing"),
        (b"hush\nhush\n", "found several lines or control characters"),
        (b"hush\n\n", "found several lines or control characters"),
        (b"hush\0\0\0", "found several lines or control characters"),
        (b"h\xfcsh", "found bytes that are not UTF-8 text"),
        (b"x" * 20_000, "20000 bytes"),
    ],
)
def test_a_file_that_is_no_secret_is_refused_without_quoting_it(tmp_path: Path, content: bytes, found: str) -> None:
    (tmp_path / "secret").write_bytes(content)
    with pytest.raises(SecretUnreadable) as caught:
        read_secret(tmp_path / "secret")
    assert found in str(caught.value)
    assert caught.value.fix
    assert "sh" not in str(caught.value).replace(str(tmp_path), "").replace("secret", "")
    assert caught.value.policy is Policy.ASK_HUMAN


def test_a_secret_file_that_is_missing_or_a_pipe_says_so_at_once(tmp_path: Path) -> None:
    with pytest.raises(SecretUnreadable, match="no such file; create it"):
        read_secret(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SecretUnreadable, match="a named pipe"):
        read_secret(tmp_path / "pipe")


def test_parts_come_from_the_line_or_from_the_file_as_it_is_now(tmp_path: Path) -> None:
    inline = LiveKitSettings(url="wss://a.b", api_key="key", api_secret=SecretStr("inline"), token=SecretStr("eyJ"))
    assert api_key(inline) == "key"
    assert api_secret(inline).get_secret_value() == "inline"
    assert ready_token(inline).get_secret_value() == "eyJ"
    file = tmp_path / "part"
    filed = LiveKitSettings(url="wss://a.b", api_key_file=file, api_secret_file=file, token_file=file)
    for content in ("first", "renewed"):
        file.write_text(content)
        assert api_key(filed) == content
        assert api_secret(filed).get_secret_value() == content
        assert ready_token(filed).get_secret_value() == content


def test_parts_that_are_nowhere_are_asked_for() -> None:
    bare = LiveKitSettings(url="wss://a.b")
    for part in (api_key, api_secret, ready_token, right_of):
        with pytest.raises(Rejected, match="give "):
            part(bare)


@pytest.mark.parametrize(
    ("given", "right"),
    [
        ({"url": "embedded", "token": "eyJ"}, Right.EMBEDDED),
        ({"token": "eyJ"}, Right.TOKEN),
        ({"token_file": "/t"}, Right.TOKEN_FILE),
        ({"token_endpoint": "https://a.b"}, Right.ENDPOINT),
        ({"api_key": "k", "api_secret_file": "/s"}, Right.KEY_AND_SECRET),
        ({"api_key_file": "/k", "api_secret": "s"}, Right.KEY_AND_SECRET),
    ],
)
def test_the_right_to_join_is_told_from_what_is_given(given: dict[str, str], right: Right) -> None:
    assert right_of(LiveKitSettings.model_validate({"url": "wss://a.b"} | given)) is right


# ---- nowhere to be seen ------------------------------------------------------------------------------------------

EVERY_SECRET = (
    SERVER
    + f"""\
  token: {SECRET}
  token_endpoint_headers: {{Authorization: {SECRET}}}
"""
)


def test_a_secret_is_in_nothing_that_is_shown(tmp_path: Path) -> None:
    found = load(write(tmp_path, EVERY_SECRET, 0o644), env={})
    shown = [render(found), json.dumps(as_json(found)), repr(found), str(found.settings), *map(str, found.warnings)]
    shown += [found.settings.model_dump_json()]
    assert len(found.warnings) == 2
    for text in shown:
        assert SECRET not in text
    assert "token: (hidden)" in shown[0]


@pytest.mark.parametrize(
    "line",
    [
        *(f"token: [{SECRET}]", f"token: {{{SECRET}: 1}}", f"token: '{SECRET}\\", f"token: \"{SECRET}\\d\""),
        *(f"token: !x {SECRET}", f"token: |\n    {SECRET}\n    {SECRET}", f"token: {SECRET}: x", f"token={SECRET}"),
        *(f"? token={SECRET}\n  : x", f"token: {SECRET}\n  token: {SECRET}", f"token: &{SECRET} x\n  name: *{SECRET}x"),
        *(f"token_endpoint_headers: {SECRET}", f"token_endpoint_headers: {{A: [{SECRET}]}}"),
        f"api_secret: {SECRET}\t: x",
        *(f"tokn: {SECRET}", f"embedded: {SECRET}", f"token_ttl_s: {SECRET}", f"api_key: x\n  token: {SECRET}"),
        *(f"token_endpoint: https://u:{SECRET}@a.b", f"token_endpoint: 'http://a b?t={SECRET}'"),
        f"token_endpoint: {SECRET}",
    ],
)  # fmt: skip
def test_a_secret_on_a_line_that_is_refused_is_not_in_the_refusal(tmp_path: Path, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, SERVER + f"  {line}\n"), env={})
    assert SECRET not in str(caught.value)
    assert SECRET not in repr([problem.as_dict() for problem in caught.value.problems])  # type: ignore[attr-defined]
    assert SECRET not in repr(caught.value.__cause__)


def test_a_secret_in_the_wrong_variable_is_not_in_the_refusal(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, SERVER), env={"LIVEKIT_URL": SECRET.replace("-", ""), "LIVEKIT_TOKEN": "eyJ"})
    assert "environment LIVEKIT_URL: livekit.url: found: (hidden)" in str(caught.value)


def test_pydantics_own_words_hide_what_was_given() -> None:
    with pytest.raises(ValueError, match="livekit") as caught:
        Settings.model_validate({"livekit": {"url": "embedded", "api_secret": [SECRET]}})
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "public"),
    [
        ("wss://a.example.org/x", "wss://a.example.org/x"),
        ("wss://user:hush@a.example.org/x", "wss://(hidden)@a.example.org/x"),
        ("wss://a@b:hush@a.example.org", "wss://(hidden)@a.example.org"),
        ("https://a.example.org/t?key=hush#hush", "https://a.example.org/t?(hidden)"),
        ("https://a.example.org/t#hush", "https://a.example.org/t?(hidden)"),
    ],
)
def test_an_address_is_shown_without_user_and_query(url: str, public: str) -> None:
    assert public_url(url) == public


def test_tokens_and_long_keys_look_secret_and_names_do_not() -> None:
    assert looks_secret("eyJhbGciOiJIUzI1NiJ9.e30.abc")
    assert looks_secret("0123456789abcdefghijklmnopqrstuvwxyz")
    assert not looks_secret("plughw:CARD=Device")
    assert not looks_secret("intercom.example.org")
    assert not looks_secret("kitchen-on-the-first-floor")
