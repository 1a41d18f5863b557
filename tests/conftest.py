"""Fixtures that every test may ask for; what they hand out lives in tests/harness."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.harness.server import LiveKitServer
from tests.harness.sound import VirtualSound


@pytest.fixture(scope="session")
def livekit_server() -> Iterator[LiveKitServer]:
    """One real server for the whole run. Tests use rooms of their own in it, and never harm it."""
    with LiveKitServer() as server:
        yield server


@pytest.fixture
def fresh_livekit_server() -> Iterator[LiveKitServer]:
    """A real server for one test that kills, freezes or restarts it."""
    with LiveKitServer() as server:
        yield server


@pytest.fixture(scope="session")
def sound() -> Iterator[VirtualSound]:
    """Virtual sound devices for kitchen, porch, garden and cellar; this process and its children see them."""
    with VirtualSound() as virtual:
        os.environ.update(virtual.env)
        yield virtual


@pytest.fixture(scope="session", autouse=True)
def _sound_before_libasound(request: pytest.FixtureRequest) -> None:
    """libasound and PortAudio read their configuration once: where any test of the run needs the virtual devices,
    they are there before the first test that might load PortAudio for another reason."""
    if any("sound" in getattr(item, "fixturenames", ()) for item in request.session.items):
        request.getfixturevalue("sound")
