"""One booted guest for the tests of one file, never two at once; and a house around it where a station runs in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.guest.boot import HOW_TO_GET_ONE, KERNEL_VARIABLE, Guest
from tests.guest.house import House
from tests.harness.netns import NEEDS_ROOT, Switch, may_make_networks

STATION_PROCESSORS: Final = 2  # with one, a station on a busy host stutters when a card is pulled


@pytest.fixture(scope="module")
def switch() -> Iterator[Switch]:
    """The network between a board and what runs outside of it."""
    if not may_make_networks():
        pytest.skip(NEEDS_ROOT)
    with Switch() as made:
        yield made


@pytest.fixture(scope="module")
def guest() -> Iterator[Guest]:
    """A kernel with sound cards; without one these scenarios cannot run here, and say so."""
    with Guest(_kernel()) as booted:
        yield booted


@pytest.fixture(scope="module")
def board(switch: Switch) -> Iterator[Guest]:
    """The same with a network, and processors for a whole station."""
    with Guest(_kernel(), processors=STATION_PROCESSORS, machine=switch.machine()) as booted:
        yield booted


@pytest.fixture(scope="module")
def house(board: Guest, switch: Switch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A peer and a server outside, and the ends of the sound cards' cables, for the tests of one file."""
    with House(board, switch, tmp_path_factory.mktemp("house")) as made:
        yield made


def _kernel() -> Path:
    if not os.environ.get(KERNEL_VARIABLE):
        pytest.skip(HOW_TO_GET_ONE)
    return Path(os.environ[KERNEL_VARIABLE])
