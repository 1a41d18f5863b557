"""What works and is said all the same."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from appliance.settings.load import load
from tests.settings.loading import EMBEDDED, SECRET, SERVER, loaded, warnings, write

INLINE = SERVER + f"  api_key: key\n  api_secret: {SECRET}\n"


@pytest.mark.parametrize(("mode", "who"), [(0o644, "everybody"), (0o604, "everybody"), (0o640, "its group")])
def test_a_secret_in_a_file_that_others_can_read_is_a_warning_with_its_fix(tmp_path: Path, mode: int, who: str) -> None:
    path = write(tmp_path, INLINE, mode)
    os.chown(path, -1, 1 if os.geteuid() == 0 else -1)  # not the group that the tests run in
    (said,) = [str(warning) for warning in load(path, env={}).warnings]
    assert said == (
        f"{path}:4:15: livekit.api_secret: found: a secret in a file that {who} can read; "
        f"chmod 600 {path}, or keep it in api_secret_file"
    )


def test_a_file_of_roots_that_the_services_group_can_read_is_how_it_should_be(tmp_path: Path) -> None:
    path = write(tmp_path, INLINE, 0o640)
    if os.geteuid() == 0:
        os.chown(path, 0, os.getegid())
        assert load(path, env={}).warnings == ()


def test_a_file_without_a_secret_may_be_read_by_everybody(tmp_path: Path) -> None:
    assert warnings(tmp_path, EMBEDDED, mode=0o644) == []
    assert warnings(tmp_path, SERVER, mode=0o644, env={"LIVEKIT_TOKEN": "eyJ.environment"}) == []


def test_headers_for_the_token_endpoint_are_secrets_too(tmp_path: Path) -> None:
    text = SERVER + f"  token_endpoint: https://a.example.org\n  token_endpoint_headers: {{Authorization: {SECRET}}}\n"
    (said,) = warnings(tmp_path, text, mode=0o644)
    assert "livekit.token_endpoint_headers.Authorization: found: a secret in a file that everybody can read" in said
    assert SECRET not in said


def test_a_secret_file_that_is_missing_or_open_is_a_warning_not_an_error(tmp_path: Path) -> None:
    text = SERVER + "  api_key: key\n  api_secret_file: secret\n"
    (said,) = warnings(tmp_path, text)
    assert said == (
        "alto.yaml:4:20: livekit.api_secret_file: found: no such file (secret); create it, or check the path secret"
    )
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / "secret").chmod(0o644)
    (said,) = warnings(tmp_path, text)
    assert said.endswith("found: a secret in a file that everybody can read; chmod 600 secret")
    (tmp_path / "secret").chmod(0o600)
    assert warnings(tmp_path, text) == []


def test_a_short_secret_is_a_warning_that_does_not_show_it(tmp_path: Path) -> None:
    (said,) = warnings(tmp_path, SERVER + "  api_key: devkey\n  api_secret: secret\n")
    assert "livekit.api_secret: found: (hidden), shorter than 32 characters" in said


@pytest.mark.parametrize("url", ["ws://intercom.example.org", "http://8.8.8.8:7880", "ws://[2001:4860:4860::8888]"])
def test_a_token_that_crosses_the_internet_in_clear_is_a_warning(tmp_path: Path, url: str) -> None:
    (said,) = warnings(tmp_path, f"livekit: {{url: '{url}'}}\n", env={"LIVEKIT_TOKEN": "eyJ.environment"})
    assert (
        said
        == f'alto.yaml:1:16: livekit.url: found: "{url}", which sends the token over the internet in clear; use wss://'
    )


@pytest.mark.parametrize(
    "url",
    [
        *("ws://127.0.0.1:7880", "ws://localhost:7880", "ws://192.168.1.5", "ws://server", "ws://[::1]", "ws://[fd00::1]"),
        *("ws://pi.local", "ws://hub.lan", "http://10.1.2.3", "wss://intercom.example.org", "https://intercom.example.org"),
    ],
)  # fmt: skip
def test_a_server_in_the_house_may_be_spoken_to_in_clear(tmp_path: Path, url: str) -> None:
    assert warnings(tmp_path, f"livekit: {{url: '{url}'}}\n", env={"LIVEKIT_TOKEN": "eyJ.environment"}) == []


def test_a_token_endpoint_in_clear_is_a_warning(tmp_path: Path) -> None:
    (said,) = warnings(tmp_path, SERVER + "  token_endpoint: http://a.example.org/token?key=1\n")
    assert said.endswith(
        'found: "http://a.example.org/token", which sends the token over the internet in clear; use https://'
    )


def test_a_right_beside_an_embedded_server_is_pointed_out(tmp_path: Path) -> None:
    said = warnings(tmp_path, f"livekit:\n  url: embedded\n  api_key: key\n  api_secret: {SECRET}\n")
    assert [line.split(";")[0] for line in said] == [
        "alto.yaml:3:12: livekit.api_key: found: a right to join, not used with url: embedded",
        "alto.yaml:4:15: livekit.api_secret: found: a right to join, not used with url: embedded",
    ]


def test_a_station_that_neither_hears_nor_speaks_is_pointed_out(tmp_path: Path) -> None:
    text = EMBEDDED + "audio:\n  input: {enabled: false}\n  output: {enabled: false}\n"
    (said,) = warnings(tmp_path, text)
    assert said.startswith("alto.yaml:4:21: audio.output.enabled: found: neither microphone nor speaker")


def test_warnings_come_in_file_order_and_leave_the_file_usable(tmp_path: Path) -> None:
    text = "identity: no\nlivekit: {url: 'ws://a.example.org', api_key: k, api_secret: short}\nroom: 12\n"
    found = loaded(tmp_path, text)
    assert [warning.line for warning in found.warnings] == [1, 2, 2, 3]
    assert found.settings.room == "12"


@pytest.mark.parametrize("listen", ["0.0.0.0:9477", "192.168.1.5:9477", "[::]:9477"])
def test_figures_that_everybody_may_read_are_a_warning(tmp_path: Path, listen: str) -> None:
    (said,) = warnings(tmp_path, EMBEDDED + f'metrics: {{listen: "{listen}"}}\n')
    assert said.startswith(f'alto.yaml:2:19: metrics.listen: found: "{listen}", where everybody who reaches it reads')


@pytest.mark.parametrize("listen", ["127.0.0.1:9477", "[::1]:9477", "localhost:9477"])
def test_figures_for_this_board_only_are_no_news(tmp_path: Path, listen: str) -> None:
    assert warnings(tmp_path, EMBEDDED + f'metrics: {{listen: "{listen}"}}\n') == []
