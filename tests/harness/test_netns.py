"""Machines on a switch of the tests' own reach each other, until their cable says no."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness.netns import NEEDS_ROOT, Machine, Switch, may_make_networks
from tests.harness.processes import end, is_running, spawn

pytestmark = pytest.mark.skipif(not may_make_networks(), reason=NEEDS_ROOT)


@pytest.fixture
def switch() -> Iterator[Switch]:
    with Switch() as one:
        yield one


def test_machines_of_one_switch_reach_each_other_and_the_test_stays_outside(switch: Switch) -> None:
    one, other = switch.machine(), switch.machine()
    ours = os.readlink("/proc/self/ns/net")
    with Switch() as elsewhere, _listening(one) as listener:
        assert _reaches(other, listener)
        assert not _reaches(elsewhere.machine(), listener)  # its own address there
    assert os.readlink("/proc/self/ns/net") == ours


@pytest.mark.slow  # a neighbour that was asked for in vain is asked for again after a second
@pytest.mark.parametrize(
    ("break_it", "mend_it"),
    [(Machine.unplug, Machine.plug), (Machine.down, Machine.up), (Machine.deafen, Machine.undeafen)],
)
def test_a_broken_link_carries_nothing_until_it_is_mended(
    switch: Switch, break_it: Callable[[Machine], None], mend_it: Callable[[Machine], None]
) -> None:
    one, other = switch.machine(), switch.machine()
    with _listening(one) as listener:
        break_it(other)
        assert not _reaches(other, listener, timeout_s=0.05)
        mend_it(other)
        assert _reaches(other, listener)


def test_a_program_runs_inside_under_its_own_process_id(switch: Switch) -> None:
    machine = switch.machine()
    process = spawn([*machine.words, "sleep", "infinity"])
    try:
        while Path(f"/proc/{process.pid}/comm").read_text().strip() != "sleep":
            assert is_running(process.pid)
        assert os.readlink(f"/proc/{process.pid}/ns/net") == os.readlink(f"/proc/{machine.pid}/ns/net")
    finally:
        end(process)


def test_nothing_is_left_of_a_network_that_is_closed() -> None:
    with Switch() as switch:
        holders = [switch.pid, switch.machine().pid]
    assert not any(is_running(pid) for pid in holders)


def _listening(machine: Machine) -> socket.socket:
    return machine.run(lambda: socket.create_server((machine.address, 0)))


def _reaches(machine: Machine, listener: socket.socket, timeout_s: float = 3.0) -> bool:
    def connect() -> bool:
        try:
            socket.create_connection(listener.getsockname(), timeout=timeout_s).close()
        except OSError:
            return False
        return True

    return machine.run(connect)
