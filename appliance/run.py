"""`alto run`: one process, from what it was given to an exit code."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from typing import Final

import structlog

from appliance import __version__, realtime
from appliance.afresh import HeldSignals, is_replacement, replace_process
from appliance.app import EX_SOFTWARE, Appliance, end_soon
from appliance.errors import ConfigError
from appliance.network.crossing import keep_to_one_thread
from appliance.network.lookup import ask_often
from appliance.observe.log import LogPipe, configure
from appliance.observe.watchdog import Watchdog
from appliance.settings.kept import LastGood
from appliance.settings.load import Loaded
from appliance.settings.model import Settings
from appliance.settings.paths import file_stem, state_dir
from appliance.settings.sources import Sources

log = structlog.get_logger()

EX_CONFIG: Final = 78

Problems = tuple[object, ...]


def run(sources: Sources) -> int:
    """Be a station until SIGTERM or SIGINT; returns the exit code. Once in a process."""
    try:
        loaded, problems = _load(sources)
    except ConfigError as error:
        configure(level="info")
        _say_rejected(error.problems)
        return EX_CONFIG
    precedence = realtime.claim()
    ask_often()
    keep_to_one_thread()
    # Not asyncio.run: it cancels every task at its end, and a cancelled native connect that comes in later panics
    # the SDK. What still runs then ends with the process.
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    pipe = _log(loaded.settings)
    if problems:
        _say_rejected(problems)
    watchdog = _watchdog(loaded.settings)
    replaces = is_replacement()
    appliance = Appliance(loaded, problems, sources, pipe, watchdog, replaces=replaces)
    appliance.listen(loop)
    _say_started(loaded.settings, replaces)
    precedence.tell()
    _say_loaded(loaded)
    pipe.watch_loop(loop)
    # What was loaded stays for good: a full collection then looks at 7,000 objects instead of 77,000, for 1 ms instead
    # of 34 (ten times that on a small board), during which no audio thread runs either.
    gc.freeze()
    gc.enable()
    loop.run_until_complete(appliance.run())
    watchdog.close()
    code = 0 if appliance.held is None else _start_afresh(appliance.held, pipe)
    log.info("appliance.stopped", code=code, took_s=round(time.monotonic() - appliance.asked_to_stop_at, 3))
    pipe.flush()
    end_soon(code)
    return code


def _load(sources: Sources) -> tuple[Loaded, Problems]:
    """The configuration, or the last good one and what is wrong with alto.yaml. Raises ConfigError: neither does."""
    try:
        return sources.load(), ()
    except ConfigError as error:
        kept = LastGood(state_dir()).find()
        instead = sources.load_kept(kept) if kept is not None else None
        if instead is None:
            raise
        return instead, error.problems


def _log(settings: Settings) -> LogPipe:
    pipe = configure(level=settings.log.level.value, format=settings.log.format.value)
    pipe.bind(station=settings.identity)
    return pipe


def _watchdog(settings: Settings) -> Watchdog:
    """Armed, after it told what it saw last."""
    watchdog = Watchdog(state_dir() / f"{file_stem(settings.identity)}.last-words")
    watchdog.tell()
    watchdog.feed()
    return watchdog


def _start_afresh(held: HeldSignals, pipe: LogPipe) -> int:
    """Returns only, with the exit code, when the process ends after all."""
    pipe.flush()
    if reason := held.asked_to_end():
        log.info("appliance.stopping", reason=reason)
        return 0
    try:
        replace_process()
    except OSError as error:
        pipe.report_bug("restart", error)
    return EX_SOFTWARE


# ---- what is said ------------------------------------------------------------------------------------------------


def _say_rejected(problems: Problems) -> None:
    file = str(getattr(problems[0], "file", "")) if problems else ""
    log.error("config.rejected", file=file, problems=[str(problem) for problem in problems])


def _say_started(settings: Settings, replaces: bool) -> None:
    log.info(
        "appliance.started",
        identity=settings.identity,
        room=settings.room,
        version=__version__,
        pid=os.getpid(),
        restarted=replaces,
    )


def _say_loaded(loaded: Loaded) -> None:
    warnings = [str(warning) for warning in loaded.warnings]
    if loaded.kept_at is None:
        log.info("config.loaded", file=loaded.path, warnings=warnings)
        return
    log.warning(
        "config.fallback",
        file=loaded.path,
        since=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(loaded.kept_at)),
        warnings=warnings,
        fix=f"repair {loaded.path}: it is taken up when it is saved; alto check tells what is wrong",
    )
