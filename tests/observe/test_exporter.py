"""The exporter, between its real server and real clients."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable

import aiohttp
import pytest
import structlog

from appliance.observe import exporter as module
from appliance.observe.exporter import MOST_CLIENTS, Exporter
from tests.harness.aio import run
from tests.harness.ports import free_ports
from tests.harness.wait import until_async

Lines = list[dict[str, object]]


def with_exporter(address: str | None, story: Callable[[Exporter, Lines], Awaitable[None]]) -> None:
    async def told() -> None:
        exporter = Exporter(address=address, render=lambda: b"alto_up 1\n")
        with structlog.testing.capture_logs() as lines:
            task = asyncio.create_task(exporter.run())
            try:
                await story(exporter, lines)  # type: ignore[arg-type]
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    run(told())


async def get(address: str, path: str = "/metrics", method: str = "GET") -> tuple[int, str, str]:
    """Status, content type and body."""
    async with aiohttp.ClientSession() as session, session.request(method, f"http://{address}{path}") as answer:
        return answer.status, answer.headers["Content-Type"], await answer.text()


async def serves(address: str) -> bool:
    with contextlib.suppress(aiohttp.ClientError):
        return (await get(address))[0] == 200
    return False


def events(lines: Lines) -> list[object]:
    return [line["event"] for line in lines if str(line["event"]).startswith("exporter.")]


def test_the_figures_are_served_as_prometheus_asks_for_them() -> None:
    address = f"127.0.0.1:{free_ports(1)[0]}"

    async def story(_: Exporter, lines: Lines) -> None:
        await until_async(lambda: serves(address), 5, "somebody answers")
        assert await get(address) == (200, "text/plain; version=0.0.4; charset=utf-8", "alto_up 1\n")
        assert (await get(address, method="HEAD"))[0] == 200
        assert (await get(address, "/"))[0] == 404
        assert (await get(address, method="POST"))[0] == 405
        assert lines == [{"event": "exporter.listening", "address": address, "log_level": "info"}]

    with_exporter(address, story)


def test_without_an_address_no_port_is_opened_until_there_is_one() -> None:
    first, second = (f"127.0.0.1:{port}" for port in free_ports(2))

    async def story(exporter: Exporter, lines: Lines) -> None:
        await asyncio.sleep(0)
        assert not lines
        exporter.set_address(first)
        await until_async(lambda: serves(first), 5, "somebody answers")
        exporter.set_address(second)
        await until_async(lambda: serves(second), 5, "somebody answers at the new address")
        assert not await serves(first)
        exporter.set_address(None)
        await until_async(lambda: _gone(second), 5, "nobody answers")
        assert events(lines) == ["exporter.listening"] * 2

    async def _gone(address: str) -> bool:
        return not await serves(address)

    with_exporter(None, story)


def test_an_address_that_cannot_be_had_is_told_once_and_taken_when_it_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"

        async def story(_: Exporter, lines: Lines) -> None:
            await until_async(lambda: events(lines), 5, "a warning")
            await asyncio.sleep(0.05)  # several tries
            assert events(lines) == ["exporter.unavailable"]
            assert "correct metrics.listen" in str(lines[0]["fix"])
            other.close()
            await until_async(lambda: serves(address), 5, "somebody answers")
            assert events(lines) == ["exporter.unavailable", "exporter.listening"]

        with_exporter(address, story)


def test_clients_that_hold_the_line_do_not_add_up() -> None:
    port = free_ports(1)[0]

    async def story(_: Exporter, lines: Lines) -> None:
        await until_async(lambda: events(lines), 5, "it listens")
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(MOST_CLIENTS)]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), 5) == b""
        for _, one in (*held, (reader, writer)):
            one.close()
        await until_async(lambda: serves(f"127.0.0.1:{port}"), 5, "there is room again")

    with_exporter(f"127.0.0.1:{port}", story)
