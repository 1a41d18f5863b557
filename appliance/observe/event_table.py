"""The events of the log, in the order of a station's life. Data for `events.py`."""

from __future__ import annotations

from typing import Final

from appliance.observe.events import Event

_REASON: Final = "the stable word for why, as in errors.py (unreachable, rejected, device_missing, …)"

EVENTS: Final[tuple[Event, ...]] = (
    # ---- the appliance -------------------------------------------------------------------------------------------
    Event(
        "appliance.started",
        "info",
        "The process runs with valid settings; nothing is open yet.",
        {"identity": "this station's name", "room": "the room it will join", "version": "of alto", "pid": "process id"},
        "once for each boot or update; more often: something restarts it",
    ),
    Event(
        "appliance.stopping",
        "info",
        "Somebody asked it to end.",
        {"reason": "what asked: sigterm, sigint, or an error's reason"},
        "only when you stopped it",
    ),
    Event(
        "appliance.stopped",
        "info",
        "Everything is closed; the last line of a run.",
        {"code": "exit code", "took_s": "seconds from stopping to stopped"},
        "code 0, took_s below 2",
    ),
    Event(
        "state.changed",
        "info|warning|error",
        "The supervisor entered another state.",
        {
            "from": "state before",
            "to": "state now: starting, connecting, online, degraded, recovering, waiting, blocked, stopping, stopped",
            "reason": _REASON,
            "detail?": "the sentence for a person",
            "fix?": "what to do about it",
            "after_s?": "seconds spent in the state before",
        },
        "to: online, and then nothing for weeks",
    ),
    # ---- configuration -------------------------------------------------------------------------------------------
    Event(
        "config.loaded",
        "info",
        "The configuration that this run starts with.",
        {"file": "path of alto.yaml, or none", "warnings": "list of sentences, each with its fix"},
        "no warnings",
    ),
    Event(
        "config.rejected",
        "error|warning",
        "A changed file has errors; the running configuration stays in force.",
        {"file": "path", "problems": "list: file:line:column: key: what was found, what is allowed, the fix"},
        "never",
    ),
    Event(
        "config.applied",
        "info",
        "A changed file is in force.",
        {"file": "path", "changes": "list of the keys that changed", "how?": "live, devices or reconnect"},
        "after you saved the file",
    ),
    # ---- the room ------------------------------------------------------------------------------------------------
    Event(
        "room.connected",
        "info",
        "In the room; the microphone is published.",
        {"room": "its name", "url": "the server, without secrets", "took_s": "seconds that joining took"},
        "took_s below 1 in a LAN, below 3 over the Internet",
    ),
    Event(
        "room.disconnected",
        "info|warning",
        "Not in the room any more.",
        {"reason": _REASON, "detail?": "the sentence for a person", "session_s?": "seconds that it had lasted"},
        "only at a stop or a server's restart",
    ),
    Event(
        "room.retry",
        "warning|debug",
        "Joining failed and will be tried again. The first is a warning, its repeats are debug.",
        {
            "in_s": "seconds until the next attempt",
            "attempt": "number of the attempt that failed, from 1",
            "reason": _REASON,
            "detail?": "the sentence for a person",
            "fix?": "what to do about it",
        },
        "rare; attempt small",
    ),
    Event(
        "participant.joined",
        "info",
        "Somebody else came into the room, or was there already.",
        {"identity": "who"},
        "as people come",
    ),
    Event("participant.left", "info", "Somebody left the room.", {"identity": "who"}, "as people go"),
    Event(
        "stream.started",
        "info",
        "A participant's microphone is subscribed and will be heard.",
        {"identity": "who", "stream": "id of the stream in the mixer", "sid?": "the server's id of the track"},
        "one for each participant who talks",
    ),
    Event(
        "stream.stopped",
        "info",
        "A participant's microphone is gone.",
        {"identity": "who", "stream": "id of the stream in the mixer", "frames?": "10 ms frames that were received"},
        "when the participant leaves",
    ),
    # ---- sound devices -------------------------------------------------------------------------------------------
    Event(
        "audio.opened",
        "info",
        "A sound device runs.",
        {
            "leg": "input (microphone) or output (speaker)",
            "device": "the ALSA name that was opened",
            "rate_hz": "the device's rate",
            "channels": "the device's channels",
            "latency_ms": "delay that the device layer grants",
        },
        "latency_ms below 50; rate_hz 48000 saves resampling",
    ),
    Event(
        "audio.lost",
        "warning|error",
        "A sound device is missing or stopped. Said once; the repeats are debug.",
        {
            "leg": "input or output",
            "device": "as configured",
            "reason": _REASON,
            "detail?": "the sentence for a person",
            "fix?": "what to do about it",
        },
        "never",
    ),
    Event(
        "audio.recovered",
        "info",
        "The sound device is back.",
        {"leg": "input or output", "device": "the ALSA name that was opened", "outage_s": "seconds without it"},
        "outage_s close to how long it was unplugged",
    ),
    # ---- figures and self-observation ----------------------------------------------------------------------------
    Event(
        "metrics",
        "info",
        "The periodic figures, see below.",
        {
            "network?": "section, see below",
            "input?": "section, see below",
            "output?": "section, see below",
            "mixer?": "section, see below",
            "process": "section, see below",
            "*": "other sections, when there are more parts",
        },
        "one every metrics.interval_s",
    ),
    Event(
        "metrics.failed",
        "error",
        "A part could not be asked for its figures; the line of figures goes without them. Once until it works again.",
        {"error": "what was raised"},
        "never: it is a bug",
    ),
    Event(
        "status.listening",
        "info",
        "alto status, record and doctor can reach this station.",
        {"path": "of the Unix socket"},
        "once for each run",
    ),
    Event(
        "status.unavailable",
        "warning",
        "The status socket could not be made; the station runs without it.",
        {"path": "of the Unix socket", "detail": "the sentence for a person", "fix?": "what to do about it"},
        "never",
    ),
    Event(
        "status.client_dropped",
        "debug",
        "A client of the status socket was disconnected.",
        {"reason": "slow, busy, bad_request, silent or failed", "command?": "what it had asked for"},
        "rare",
    ),
    Event(
        "log.dropped",
        "warning",
        "Nobody read standard output for a while; this many lines are missing right here.",
        {"lines": "number of lines that are missing"},
        "never",
    ),
    Event(
        "library.log",
        "debug|info|warning|error|critical",
        "A library's own log line (livekit, aiohttp, asyncio, Python warnings).",
        {
            "logger": "who says it",
            "message": "what it says",
            "folded?": "how many alike ones were left out before this one",
        },
        "few; errors of livekit around a lost connection are normal",
    ),
    Event(
        "bug",
        "error",
        "Something that alto does not expect; it goes on. Please report it with this line.",
        {
            "where": "which thread, task or hook caught it",
            "error": "class and text",
            "message?": "what the hook said about it",
            "folded?": "how many alike ones were left out before this one",
        },
        "never",
    ),
)
