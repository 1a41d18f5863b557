"""Two LiveKit servers that share one Redis, and the front that stations know: LiveKit's own way to survive a machine.

Redis holds which node has which room. A client may speak to any node: that one passes the signalling on to the node
that has the room, and the sound goes to that node directly.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import shutil
import subprocess
import tempfile
import threading
from types import TracebackType
from typing import Final, Self

from tests.harness.ports import free_port
from tests.harness.processes import end, spawn
from tests.harness.server import LiveKitServer
from tests.harness.wait import until

ROOM: Final = "home"
READY_S: Final = 10.0
CONNECT_S: Final = 1.0
CHUNK: Final = 65_536


class Redis:
    """A Redis of its own, in memory only, on 127.0.0.1."""

    def __init__(self) -> None:
        self._directory: Final = tempfile.TemporaryDirectory(prefix="alto-redis-")
        self.port: Final = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, *words: str) -> str:
        """What redis-cli answers."""
        command = ["redis-cli", "-p", str(self.port), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=5.0, check=False).stdout.strip()

    def __enter__(self) -> Self:
        settings = {"port": str(self.port), "bind": "127.0.0.1", "save": "", "dir": self._directory.name}
        words = [word for key, value in settings.items() for word in (f"--{key}", value)]
        self._process = spawn([*_redis_server(), *words])
        until(lambda: self.ask("ping") == "PONG", READY_S, "Redis to answer")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._process is not None:
            end(self._process)
        self._directory.cleanup()


def _redis_server() -> list[str]:
    """Debian's redis-tools has the server too, under the name of its checker: which one it is, argv[0] says. The
    package redis-server would add a service that starts by itself on the machine of whoever runs the tests."""
    if found := shutil.which("redis-server"):
        return [found]
    if found := shutil.which("redis-check-rdb"):
        return ["bash", "-c", 'exec -a redis-server "$0" "$@"', found]
    raise FileNotFoundError("no redis-server: run deploy/dev setup")


class Node(LiveKitServer):
    """One server of the cluster."""

    def __init__(self, redis: Redis, api_key: str, api_secret: str) -> None:
        super().__init__()
        self.api_key = api_key  # type: ignore[misc]  # the same on all nodes
        self.api_secret = api_secret  # type: ignore[misc]
        self._redis = redis

    @property
    def holds_the_room(self) -> bool:
        """Whether Redis has the room on this node."""
        return self._redis.ask("hget", "room_node_map", ROOM) == self.node_id

    @property
    def node_id(self) -> str:
        """What it calls itself: another name each time that it starts."""
        starts = [json.loads(line) for line in self.log.splitlines() if '"starting LiveKit server"' in line]
        return str(starts[-1]["nodeID"])

    def _config(self) -> dict[str, object]:
        return {**super()._config(), "redis": {"address": f"127.0.0.1:{self._redis.port}"}}


class Balancer:
    """Stands for what a user puts in front: a TCP load balancer, or a DNS name with the addresses of both nodes. A
    connection goes to the first node that takes it, the turn moving on with each."""

    def __init__(self, *ports: int) -> None:
        self._ports: Final = ports
        self._turn = 0
        self._loop: Final = asyncio.new_event_loop()
        self._tasks: Final[set[asyncio.Task[None]]] = set()
        self.port: Final = free_port()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="balancer", daemon=True)
        self._thread.start()
        assert ready.wait(READY_S)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(READY_S)

    def _run(self, ready: threading.Event) -> None:
        self._server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", self.port))
        ready.set()
        self._loop.run_forever()
        self._server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0.01))
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            if (node := await self._open()) is None:
                return
            with contextlib.closing(node[1]):
                both = [asyncio.create_task(_pour(reader, node[1])), asyncio.create_task(_pour(node[0], writer))]
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
                for one in both:
                    one.cancel()

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        self._turn += 1
        for step in range(len(self._ports)):
            port = self._ports[(self._turn + step) % len(self._ports)]
            with contextlib.suppress(OSError, TimeoutError):
                return await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port), CONNECT_S)
        return None


async def _pour(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await source.read(CHUNK):
            sink.write(chunk)
            await sink.drain()


class Cluster:
    """Redis, two nodes and the front; all gone at the end."""

    def __init__(self) -> None:
        self.api_key: Final = f"test{secrets.token_hex(8)}"
        self.api_secret: Final = secrets.token_urlsafe(36)

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            redis = stack.enter_context(Redis())
            self.nodes = [stack.enter_context(Node(redis, self.api_key, self.api_secret)) for _ in range(2)]
            self.front = stack.enter_context(Balancer(*(node.port for node in self.nodes)))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stack.close()

    @property
    def url(self) -> str:
        """What stations have in their alto.yaml."""
        return self.front.url

    def holder(self) -> Node:
        """The node that the room is on; waits while it moves."""
        return until(lambda: next((node for node in self.nodes if node.holds_the_room), None), READY_S, "a room")
