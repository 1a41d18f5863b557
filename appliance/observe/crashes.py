"""Whatever nobody caught becomes one event `bug`, on one line, wherever it happened.

A process that lives for months on a wall has nobody at its terminal: a traceback on standard error is lost, one in a
field is found by `journalctl -p err`.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import sys
import threading
from collections.abc import Callable
from typing import Any

from appliance.observe.folding import Folder
from appliance.observe.library import Emit
from appliance.observe.values import error_text

LoopHandler = Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object]


class BugReporter:
    """Emits `bug` (`where`, `error`, `traceback`); the same one a few times a minute at most."""

    def __init__(self, *, emit: Emit, monotonic: Callable[[], float]) -> None:
        self._emit = emit
        self._monotonic = monotonic
        self._folder = Folder()
        self._lock = threading.RLock()  # a finalizer may report in the middle of a report

    def report(self, where: str, error: BaseException | None, said: str = "") -> None:
        """Log one bug. `where` names the hook that caught it. Any thread. Never raises."""
        text = said if error is None else error_text(error)
        with self._lock:
            folded = self._folder.admit(f"{where} {text}", self._monotonic())
        if folded is None:
            return
        fields: dict[str, Any] = {"where": where, "error": text}
        if said and error is not None:
            fields["message"] = said
        if folded:
            fields["folded"] = folded
        if error is not None:
            fields["exc_info"] = error
        self._emit("error", "bug", fields)

    def install(self) -> None:
        """Take the interpreter's hooks: the main thread, other threads, finalizers, and fatal signals (stderr)."""
        sys.excepthook = lambda _kind, error, _trace: self._main(error)
        threading.excepthook = self._thread
        sys.unraisablehook = self._unraisable
        with contextlib.suppress(Exception):  # no standard error: native crashes then leave no stack
            faulthandler.enable()

    def watch_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take the loop's hook: tasks that failed and that nobody awaited, callbacks that raised."""
        loop.set_exception_handler(self._loop)

    def _main(self, error: BaseException) -> None:
        if not isinstance(error, KeyboardInterrupt):
            self.report("main thread", error)

    def _thread(self, args: threading.ExceptHookArgs) -> None:
        if not isinstance(args.exc_value, SystemExit):
            self.report(f"thread {args.thread.name if args.thread else '?'}", args.exc_value)

    def _unraisable(self, args: sys.UnraisableHookArgs) -> None:
        self.report(f"finalizer {getattr(args.object, '__qualname__', type(args.object).__name__)}", args.exc_value)

    def _loop(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        owner = context.get("task") or context.get("future")
        name = owner.get_name() if isinstance(owner, asyncio.Task) else "event loop"
        self.report(f"task {name}" if owner else name, context.get("exception"), str(context.get("message", "")))
