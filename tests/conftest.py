"""Fixtures that every test may ask for; what they hand out lives in tests/harness."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.harness.server import LiveKitServer


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
