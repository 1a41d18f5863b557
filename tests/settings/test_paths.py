"""Where alto keeps what it makes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from appliance.settings.model import Settings
from appliance.settings.paths import file_stem, runtime_dir, state_dir, status_socket


def settings(**more: object) -> Settings:
    return Settings.model_validate({"livekit": {"url": "embedded"}, "identity": "kitchen"} | more)


def test_the_directories_of_systemd_come_first() -> None:
    env = {"RUNTIME_DIRECTORY": "/run/alto:/run/other", "STATE_DIRECTORY": "/var/lib/alto", "XDG_RUNTIME_DIR": "/x"}
    assert runtime_dir(env) == Path("/run/alto")
    assert state_dir(env) == Path("/var/lib/alto")


def test_root_uses_the_systems_directories(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert runtime_dir({}) == Path("/run/alto")
    assert state_dir({}) == Path("/var/lib/alto")


def test_a_user_has_directories_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("HOME", "/home/pi")
    assert runtime_dir({"XDG_RUNTIME_DIR": "/run/user/1000"}) == Path("/run/user/1000/alto")
    assert runtime_dir({}) == Path("/tmp/alto-1000/alto")  # noqa: S108 (only named)
    assert state_dir({"XDG_STATE_HOME": "/state"}) == Path("/state/alto")
    assert state_dir({}) == Path("/home/pi/.local/state/alto")


@pytest.mark.parametrize(
    ("identity", "stem"), [("kitchen", "kitchen"), ("../../etc/x", "_.._etc_x"), ("..", "_"), ("a b/ü", "a_b__")]
)
def test_no_identity_leads_out_of_the_directory(identity: str, stem: str) -> None:
    assert file_stem(identity) == stem


def test_the_socket_is_named_after_the_station_or_where_the_file_says() -> None:
    env = {"RUNTIME_DIRECTORY": "/run/alto"}
    assert status_socket(settings(), env) == Path("/run/alto/kitchen.sock")
    assert status_socket(settings(status={"socket": "/run/mine.sock"}), env) == Path("/run/mine.sock")
