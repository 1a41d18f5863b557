"""One booted guest for all its tests, and one house around it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.guest.boot import HOW_TO_GET_ONE, KERNEL_VARIABLE, Guest
from tests.guest.house import House
from tests.harness.netns import NEEDS_ROOT, Switch, may_make_networks


@pytest.fixture(scope="package")
def switch() -> Iterator[Switch | None]:
    """The network between the guest and what runs outside; None where nobody may make one."""
    if may_make_networks():
        with Switch() as made:
            yield made
    else:
        yield None


@pytest.fixture(scope="package")
def guest(switch: Switch | None) -> Iterator[Guest]:
    """A kernel with sound cards; without one these scenarios cannot run here, and say so."""
    if not os.environ.get(KERNEL_VARIABLE):
        pytest.skip(HOW_TO_GET_ONE)
    with Guest(machine=switch.machine() if switch else None) as booted:
        yield booted


@pytest.fixture(scope="module")
def house(guest: Guest, switch: Switch | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A peer and a server outside, and the ends of the sound cards' cables, for the tests of one file."""
    if switch is None:
        pytest.skip(NEEDS_ROOT)
    with House(guest, switch, tmp_path_factory.mktemp("house")) as made:
        yield made
