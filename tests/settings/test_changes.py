"""What a new file means for a running station."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from appliance.settings.changes import EFFECTS, Changes, changes
from appliance.settings.keys import root
from appliance.settings.model import Settings
from tests.settings.loading import EMBEDDED, SECRET, SERVER, loaded

FLAGS = [field.name for field in fields(Changes) if field.name != "keys"]


def between(folder: Path, old: str, new: str) -> Changes:
    return changes(loaded(folder, old).settings, loaded(folder, new).settings)


def effects(what: Changes) -> set[str]:
    return {name for name in FLAGS if getattr(what, name)}


def test_every_key_of_the_models_has_an_effect_and_no_effect_is_without_a_key() -> None:
    assert {key.dotted for key in root().leaves()} == set(EFFECTS), "a new key needs its line in changes.EFFECTS"


def test_the_same_settings_change_nothing() -> None:
    settings = Settings.model_validate({"livekit": {"url": "embedded"}})
    assert changes(settings, settings) == Changes()
    assert not Changes()


@pytest.mark.parametrize(
    ("line", "keys", "expected"),
    [
        ("room: office", ["room"], {"session"}),
        ("identity: cellar", ["identity"], {"session"}),
        ("name: Cellar", ["name"], {"session"}),
        ("audio: {input: {volume: 2}}", ["audio.input.volume"], {"volumes"}),
        ("audio: {output: {volume: 2}}", ["audio.output.volume"], {"volumes"}),
        ("audio: {volumes: {bob: 2}}", ["audio.volumes.bob"], {"volumes"}),
        ("audio: {input: {device: x}}", ["audio.input.device"], {"input_device"}),
        ("audio: {input: {enabled: false}}", ["audio.input.enabled"], {"session"}),
        ("audio: {output: {enabled: false}}", ["audio.output.enabled"], {"session"}),
        ("audio: {output: {device: x}}", ["audio.output.device"], {"output_device"}),
        ("audio: {output: {latency_ms: 50}}", ["audio.output.latency_ms"], {"output_device"}),
        ("audio: {block_ms: 20}", ["audio.block_ms"], {"input_device", "output_device"}),
        ("audio: {mix: sum}", ["audio.mix"], {"session"}),
        ("audio: {sample_rate_hz: 16000}", ["audio.sample_rate_hz"], {"session"}),
        ("log: {level: debug}", ["log.level"], {"log"}),
        ("metrics: {interval_s: 5}", ["metrics.interval_s"], {"metrics"}),
        ("metrics: {listen: 127.0.0.1:9477}", ["metrics.listen"], {"metrics"}),
        ("status: {socket: /x}", ["status.socket"], {"status"}),
        ("supervisor: {retry_max_s: 9}", ["supervisor.retry_max_s"], {"supervisor"}),
    ],
)
def test_a_changed_line_has_the_effect_of_its_key(
    tmp_path: Path, line: str, keys: list[str], expected: set[str]
) -> None:
    before = EMBEDDED if line.startswith("identity") else EMBEDDED + "identity: kitchen\n"
    after = before.replace("identity: kitchen\n", "") if line.startswith("identity") else before
    what = between(tmp_path, before, after + line + "\n")
    assert list(what.keys) == keys
    assert effects(what) == expected
    assert what


def test_another_server_or_right_needs_a_new_session_and_patience_does_not(tmp_path: Path) -> None:
    old = SERVER + f"  api_key: key\n  api_secret: {SECRET}\n"
    assert effects(between(tmp_path, old, old.replace("intercom", "other"))) == {"session"}
    assert effects(between(tmp_path, old, old + "  connect_timeout_s: 20\n  token_ttl_s: 90\n")) == {"supervisor"}
    what = between(tmp_path, old, SERVER + "  token: eyJ\n")
    assert what.keys == ("livekit.api_key", "livekit.api_secret", "livekit.token")


def test_a_renewed_secret_is_named_and_never_shown(tmp_path: Path) -> None:
    old = SERVER + f"  api_key: key\n  api_secret: {SECRET}\n  token_endpoint_headers: {{X: {SECRET}}}\n"
    what = between(tmp_path, old, old.replace("hush", "shhh"))
    assert what.keys == ("livekit.api_secret", "livekit.token_endpoint_headers.X")
    assert "hush" not in repr(what)
    assert "shhh" not in repr(what)


def test_participants_are_named_one_by_one_when_they_come_go_and_change(tmp_path: Path) -> None:
    old = EMBEDDED + "audio: {volumes: {bob: 1.5, charlie: 0.5, dora: 1}}\n"
    new = EMBEDDED + "audio: {volumes: {bob: 1.5, charlie: 0.6, emil: 1}}\n"
    assert between(tmp_path, old, new).keys == ("audio.volumes.charlie", "audio.volumes.dora", "audio.volumes.emil")


def test_what_is_written_otherwise_and_means_the_same_changes_nothing(tmp_path: Path) -> None:
    old = EMBEDDED + "audio: {output: {volume: 1}}\n"
    assert not between(tmp_path, old, "# moved\n" + EMBEDDED + "audio:\n  output:\n    volume: 1.0 # louder?\n")
