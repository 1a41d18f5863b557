"""All checks, side by side, each bounded in time: looks first, then the decisions of `checks` and `box`."""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import errno
import os
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from appliance.doctor import box, checks
from appliance.doctor.probes import Machine
from appliance.doctor.results import Result, fail, ok, skip, warn
from appliance.errors import AltoError, ConfigError
from appliance.observe import client
from appliance.observe.values import error_text
from appliance.ports import DeviceInfo, Direction, Grant
from appliance.settings.load import Loaded
from appliance.settings.model import EMBEDDED, Settings

DEADLINE_S: Final = 3.0
LOOKS: Final = 6
ANSWER_BYTES: Final = 4096  # of an HTTP answer; LiveKit's are a few words
LOOK_S: Final = 0.2  # six looks: a second of listening

T = TypeVar("T")


async def http_get(url: str) -> box.Answer:
    """Ask an HTTP server. Raises OSError, TimeoutError."""
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=DEADLINE_S)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url, allow_redirects=False) as answer:
            text = (await answer.content.read(ANSWER_BYTES)).decode("utf-8", "replace")
            return box.Answer(answer.status, text, _date(answer.headers.get("Date")))
    except aiohttp.ClientError as error:
        raise OSError(error_text(error)) from error


def look_at_station(path: Path) -> list[dict[str, Any]]:
    """About a second of the running station. Raises StationError."""
    with contextlib.closing(client.watch(path, interval_s=LOOK_S)) as looks:  # type: ignore[type-var]
        return list(islice(looks, LOOKS))


@dataclass(frozen=True)
class Context:
    """Everything that the doctor asks. What blocks is called on threads that nobody waits for too long."""

    load: Callable[[], Loaded]
    """Reads alto.yaml; raises ConfigError."""
    socket: Callable[[], Path]
    """The running station's status socket."""
    devices: Callable[[], Sequence[DeviceInfo]]
    grant: Callable[[Settings], Awaitable[Grant]]
    """What the room would be joined with; raises NetworkError."""
    embedded_binary: Callable[[Settings], object]
    """The livekit-server that would be run; raises AltoError."""
    state_dir: Path
    station: Callable[[Path], Sequence[dict[str, Any]]] = look_at_station
    get: Callable[[str], Awaitable[box.Answer]] = http_get
    machine: Machine = field(default_factory=Machine)
    now: Callable[[], float] = time.time


async def run_checks(context: Context) -> list[Result]:
    """Every check's results, in order of likelihood. Never raises; takes a few seconds at most."""
    return await _Examination(context).results()


class _Examination:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._machine = context.machine
        self._server_date: float | None = None

    async def results(self) -> list[Result]:
        loaded = await self._looked(self._context.load, ConfigError)
        looks = await self._looked(lambda: self._context.station(self._context.socket()), client.StationError)
        settings = loaded.settings if isinstance(loaded, Loaded) else None
        seen: checks.Looks = looks if isinstance(looks, list) else []
        parts: list[Coroutine[Any, Any, list[Result]]] = [
            self._one("configuration", self._decided(loaded, checks.configuration)),
            self._one("station", self._decided(looks, checks.station)),
            self._one("sound devices", self._sound(settings, seen)),
            self._one("network", self._network()),
            self._one("server", self._server(settings, seen), deadline_s=4 * DEADLINE_S),
            self._one("board", self._board(settings)),
        ]
        return [result for part in await asyncio.gather(*parts) for result in part]

    # ---- the checks, in order ----

    async def _sound(self, settings: Settings | None, looks: checks.Looks) -> list[Result]:
        nodes = self._machine.sound_nodes()
        devices = await in_thread(self._context.devices)
        found = checks.sound_devices(devices, nodes)
        if settings is None:
            return found
        for direction in Direction:
            found += checks.device(direction, settings, devices, looks)
        found += checks.levels(settings, looks) + checks.quality(looks) + checks.echo(settings)
        for direction in Direction:
            card = checks.card_of(direction, settings, devices)
            said = await in_thread(partial(self._machine.mixer, card)) if card else None
            found += checks.mixer(direction, card, said)
        return found

    async def _network(self) -> list[Result]:
        return box.network(self._machine.interfaces_up())

    async def _server(self, settings: Settings | None, looks: checks.Looks) -> list[Result]:
        """Step by step: the first that fails explains the others."""
        if settings is None:
            return [skip("server", "needs a valid alto.yaml"), *self._clock()]
        if settings.livekit.url == EMBEDDED:
            return [*await self._embedded(settings), *self._clock()]
        url = settings.livekit.url
        steps = (self._resolves, self._connects, self._answers, self._accepts)
        found: list[Result] = []
        for step in steps:
            found += await step(settings, url)
            if any(result.verdict == "fail" for result in found):
                break
        return [*found, *self._clock()]

    async def _embedded(self, settings: Settings) -> list[Result]:
        try:
            where = await in_thread(lambda: self._context.embedded_binary(settings))
        except AltoError as error:
            return box.refused("server", error)
        return [ok("server", f"alto runs its own: {where}")]

    async def _resolves(self, _settings: Settings, url: str) -> list[Result]:
        host = urlsplit(url).hostname or ""
        try:
            await asyncio.wait_for(in_thread(lambda: socket.getaddrinfo(host, None)), DEADLINE_S)
        except TimeoutError:
            return [fail("server name", f"the name server does not answer for {host}", "check the network and DNS")]
        except OSError as error:
            return [fail("server name", f"{host}: {error.strerror}", "check livekit.url, the network and DNS")]
        return [ok("server name", f"{host} resolves")]

    async def _connects(self, _settings: Settings, url: str) -> list[Result]:
        parts = urlsplit(url)
        try:
            port = parts.port or (443 if parts.scheme in ("wss", "https") else 80)
        except ValueError:
            return [fail("server port", f"{url} has no usable port", "use 1 to 65535")]
        where = f"{parts.hostname}:{port}"
        try:
            _, writer = await asyncio.wait_for(asyncio.open_connection(parts.hostname, port), DEADLINE_S)
        except TimeoutError:
            return [fail("server port", f"{where} does not answer", "check the firewall and that the server runs")]
        except OSError as error:
            return [fail("server port", _not_connected(where, error), "start the server, or check livekit.url")]
        writer.transport.abort()
        return [ok("server port", f"{where} takes connections")]

    async def _answers(self, _settings: Settings, url: str) -> list[Result]:
        try:
            answer = await self._context.get(_http(url))
        except (OSError, TimeoutError, ValueError) as error:
            return [fail("server", f"no proper answer: {error_text(error)[:200]}", _tls_fix(url, error))]
        self._server_date = answer.date
        return box.server(url, answer)

    async def _accepts(self, settings: Settings, url: str) -> list[Result]:
        try:
            grant = await asyncio.wait_for(self._context.grant(settings), DEADLINE_S)
            answer = await self._context.get(f"{_http(grant.url)}/rtc/validate?access_token={grant.token}")
        except AltoError as error:
            return box.refused("token", error)
        except (OSError, TimeoutError, ValueError) as error:
            return [warn("token", f"it could not be tried: {type(error).__name__}", "see alto status")]
        return box.token(url, answer)

    def _clock(self) -> list[Result]:
        return box.clock(self._context.now(), self._machine.clock_synchronised(), self._server_date)

    async def _board(self, settings: Settings | None) -> list[Result]:
        machine = self._machine
        embedded = settings is not None and settings.livekit.url == EMBEDDED
        return [
            *box.power(await in_thread(machine.power_flags)),
            *box.temperature(machine.temperature_c()),
            *box.memory(machine.memory_available_bytes()),
            *box.state_directory(machine.disk(self._context.state_dir), needed=embedded),
            *box.software(machine.software()),
            *box.journal(await in_thread(machine.journal)),
        ]

    # ---- bounds ----

    async def _looked(self, look: Callable[[], T], expected: type[AltoError]) -> Any:
        """What the look found, the error it is known to raise, or any other error for `_decided`."""
        try:
            return await asyncio.wait_for(in_thread(look), DEADLINE_S)
        except expected as error:
            return error
        except Exception as error:
            return _Broken(error)

    async def _decided(self, found: Any, decide: Callable[[Any], list[Result]]) -> list[Result]:
        if isinstance(found, _Broken):
            raise found.error
        return decide(found)

    async def _one(
        self, name: str, check: Coroutine[Any, Any, list[Result]], deadline_s: float = DEADLINE_S
    ) -> list[Result]:
        try:
            return await asyncio.wait_for(check, deadline_s)
        except TimeoutError:
            return [warn(name, f"no answer within {deadline_s:g} s", "try again; something on this board hangs")]
        except AltoError as error:
            return box.refused(name, error)
        except Exception as error:
            return [warn(name, f"this check itself failed: {error_text(error)[:200]}", "please report this")]


@dataclass(frozen=True, slots=True)
class _Broken:
    error: Exception


async def in_thread(call: Callable[[], T]) -> T:
    """Run what blocks on a thread that dies with the process: one that hangs for ever must not hang the doctor."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(value: T | None, error: BaseException | None) -> None:
        if not future.done():
            future.set_exception(error) if error is not None else future.set_result(value)  # type: ignore[arg-type]

    def run() -> None:
        value, problem = None, None
        try:
            value = call()
        except BaseException as error:
            problem = error
        with contextlib.suppress(RuntimeError):  # the loop has gone meanwhile
            loop.call_soon_threadsafe(settle, value, problem)

    threading.Thread(target=run, name="doctor", daemon=True).start()
    return await future


def _http(url: str) -> str:
    """The HTTP address of a WebSocket address."""
    return ("http" + url.removeprefix("ws") if url.startswith("ws") else url).rstrip("/")


def _not_connected(where: str, error: OSError) -> str:
    if error.errno is None:  # several addresses were tried: asyncio joins their texts
        return f"no address of {where} takes the connection: {error}"
    if error.errno == errno.ECONNREFUSED:
        return f"nothing listens at {where} (connection refused)"
    return f"{where}: {os.strerror(error.errno)}"


def _tls_fix(url: str, error: BaseException) -> str:
    if "certificate" in str(error).lower():
        return "set the clock, or add the server's CA to this machine's trust store"
    if "ssl" in str(error).lower():
        return "the server does not speak TLS on this port: use ws:// or its TLS port"
    return "check livekit.url" + (", and whether the server wants wss://" if url.startswith("ws:") else "")


def _date(text: str | None) -> float | None:
    with contextlib.suppress(TypeError, ValueError):
        return email.utils.parsedate_to_datetime(text or "").timestamp()
    return None
