"""What systemd hears, on a real datagram socket."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.observe.systemd import Notifier


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """(systemd's end, the value of NOTIFY_SOCKET)."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@alto-test-{os.getpid()}-{id(tmp_path)}"
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    channel.bind("\0" + name[1:] if name.startswith("@") else name)
    channel.settimeout(5)
    yield channel, name
    channel.close()


def test_systemd_hears_each_step_of_a_service(systemd: tuple[socket.socket, str]) -> None:
    channel, name = systemd
    notifier = Notifier(env={"NOTIFY_SOCKET": name})
    assert notifier.enabled
    assert notifier.ready("in the room\nhome")
    assert channel.recv(1000) == b"READY=1\nSTATUS=in the room home"
    assert notifier.reloading(lambda: 5_000_000)
    assert channel.recv(1000) == b"RELOADING=1\nMONOTONIC_USEC=5000"
    assert notifier.status("waiting for küche " + "x" * 500)
    assert len(channel.recv(1000).decode()) == len("STATUS=") + 200
    assert notifier.watchdog()
    assert channel.recv(1000) == b"WATCHDOG=1"
    assert notifier.stopping()
    assert channel.recv(1000) == b"STOPPING=1"


def test_without_systemd_nothing_happens() -> None:
    notifier = Notifier(env={})
    assert not notifier.enabled
    assert not any((notifier.ready(), notifier.status("x"), notifier.stopping(), notifier.watchdog()))


def test_an_empty_status_is_not_sent(systemd: tuple[socket.socket, str]) -> None:
    assert not Notifier(env={"NOTIFY_SOCKET": systemd[1]}).status("  ")


def test_a_socket_that_is_gone_or_no_socket_loses_the_message_only(tmp_path: Path) -> None:
    for name in (str(tmp_path / "gone"), "vsock:2:1234", "@", "/" + "x" * 200, "/dev/null"):
        assert not Notifier(env={"NOTIFY_SOCKET": name}).ready()


def test_a_systemd_that_does_not_read_holds_nothing_up(systemd: tuple[socket.socket, str]) -> None:
    notifier = Notifier(env={"NOTIFY_SOCKET": systemd[1]})
    assert not all(notifier.watchdog() for _ in range(10_000)), "the queue of a datagram socket is short"


def test_the_watchdog_is_due_only_for_the_process_that_systemd_means() -> None:
    assert Notifier(env={"WATCHDOG_USEC": "20000000"}).watchdog_s == 20.0
    assert Notifier(env={"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": "7"}, pid=7).watchdog_s == 20.0
    assert Notifier(env={"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": "8"}, pid=7).watchdog_s is None
    assert Notifier(env={"WATCHDOG_USEC": "soon"}).watchdog_s is None
    assert Notifier(env={}).watchdog_s is None
