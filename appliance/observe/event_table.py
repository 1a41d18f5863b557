"""The events of the log, in the order of a station's life. Data for `events.py`."""

from __future__ import annotations

from typing import Final

from appliance.observe.events import Event

_REASON: Final = "the stable word for why, as in errors.py (unreachable, rejected, device_missing, …)"
_DETAIL: Final = "the sentence for a person"
_FIX: Final = "what to do about it"
_FOLDED: Final = "how many alike ones were left out before this one"
_LEG: Final = "input (microphone) or output (speaker)"
_STATES: Final = "starting, connecting, online, degraded, recovering, waiting, blocked, stopping or stopped"

_APPLIANCE: Final = (
    Event(
        "appliance.started",
        "info",
        "The process runs with valid settings; nothing is open yet.",
        {
            "identity": "this station's name",
            "room": "the room it will join",
            "version": "of alto",
            "pid": "process id",
            "restarted": "whether it took another process's place (appliance.restarting)",
        },
        "once for each boot or update; more often: something restarts it",
    ),
    Event(
        "process.priority",
        "info",
        "Which precedence over other programs the kernel granted.",
        {
            "policy": "rr (real time), nice or normal",
            "value": "the real-time priority, or the niceness",
            "locked": "whether what is in memory stays there; takes CAP_IPC_LOCK or LimitMEMLOCK=infinity",
            "fix": "how to get real time; empty when it is granted or nice is",
        },
        "rr; normal: gaps under load",
    ),
    Event(
        "appliance.restarting",
        "warning",
        "Too much memory is in use, or a sound driver does not answer: a fresh process takes over, under the same pid.",
        {
            "reason": "memory_above_limit: in a quiet minute; memory_far_above_limit: there was none; device_stuck: a "
            "call that opens or closes a sound device has not returned for half a minute",
            "rss_mb": "memory in use, MiB",
            "limit_mb": "supervisor.restart_rss_mb",
            "stuck_s": "how long that call had lasted; 0: there was none",
        },
        "never, or weeks apart; daily: the connection breaks hundreds of times a day, or a sound card is broken",
    ),
    Event(
        "appliance.stopping",
        "info",
        "Somebody asked it to end.",
        {"reason": "who asked: sigterm or sigint"},
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
        "watchdog.bit",
        "error",
        "The run before stood still for 15 s and was ended. Told by the next start; please report it with this line.",
        {"stack": "where each thread stood, the main thread last", "fix": _FIX},
        "never",
    ),
    Event(
        "state.changed",
        "info|warning|debug",
        "The supervisor entered another state. The repeats of a retry are debug.",
        {"from": "state before", "to": f"state now: {_STATES}", "reason": _REASON, "detail": _DETAIL},
        "to online, and then nothing for weeks",
    ),
)

_CONFIGURATION: Final = (
    Event(
        "config.loaded",
        "info",
        "The configuration that this run starts with.",
        {"file": "path of alto.yaml", "warnings": "list: file:line:column: key: what was found, the fix"},
        "no warnings",
    ),
    Event(
        "config.rejected",
        "error",
        "A file has errors. The running one stays; a start takes the last good one, or ends when there is none (78).",
        {"file": "its path", "problems": "list: file:line:column: key: what was found, what is allowed, the fix"},
        "never",
    ),
    Event(
        "config.fallback",
        "warning",
        "alto.yaml could not be used at the start: the station runs with the last configuration that worked.",
        {
            "file": "path of alto.yaml",
            "since": "when the configuration that is used was kept",
            "warnings": "list, as in config.loaded",
            "fix": _FIX,
        },
        "never",
    ),
    Event(
        "config.not_kept",
        "warning",
        "The configuration could not be kept for a start with a broken alto.yaml. Once until it works again.",
        {"file": "where it should be kept", "detail": _DETAIL, "fix": _FIX},
        "never",
    ),
    Event(
        "config.applied",
        "info",
        "A changed file is in force.",
        {"file": "its path", "changes": "list of the keys that changed", "how": "live, devices or reconnect"},
        "after you saved the file",
    ),
    Event(
        "card.taken",
        "info",
        "A new alto.yaml was taken from the card (alto-card.service).",
        {"file": "its path", "blanked": "whether secrets were taken off the card", "warnings": "list: line: key: …"},
        "after you changed the card",
    ),
    Event(
        "card.rejected",
        "error",
        "alto.yaml on the card has mistakes; what was taken before stays in force (alto-card.service).",
        {"file": "its path", "problems": "list: line: key: what was found, what is allowed, the fix"},
        "never",
    ),
    Event(
        "card.stuck",
        "warning",
        "The card cannot be written, not be made read-only again, or has to keep its secrets (alto-card.service).",
        {"detail": "the sentence for a person"},
        "never; again and again: the card is dying",
    ),
    Event(
        "config.secret_changed",
        "info",
        "A file with a token, key or secret has a new content; joining is tried again.",
        {},
        "when you, or who renews tokens, replaced it",
    ),
)

_ROOM: Final = (
    Event(
        "clock.not_set",
        "warning",
        "This device's clock says a time before alto was made, and no server has told a better one yet.",
        {"detail": _DETAIL, "fix": _FIX},
        "at most once after each boot, on boards without a clock of their own",
    ),
    Event(
        "clock.wrong",
        "warning",
        "This device's clock differs from the server's by more than a minute; tokens are made and judged by its time.",
        {"offset_s": "seconds that the server's clock is ahead", "detail": _DETAIL, "fix": _FIX},
        "at most once after each boot, until the clock is set",
    ),
    Event("clock.set", "info", "This device's clock is right (again).", {}, "soon after clock.not_set or clock.wrong"),
    Event(
        "room.connected",
        "info",
        "In the room; the microphone is published.",
        {
            "room": "its name",
            "url": "the server, or embedded",
            "participants": "how many others are there",
            "took_s": "seconds that joining, or mending the connection, took",
            "resumed": "whether the SDK mended a broken connection by itself",
            "outage_s": "seconds without a room before; null at the first time",
        },
        "took_s below 1 in a LAN, below 3 over the Internet",
    ),
    Event(
        "room.disconnected",
        "info|warning",
        "Not in the room any more; info when it was on purpose. Once for each outage.",
        {"reason": _REASON, "detail": _DETAIL, "session_s": "seconds that the stay had lasted"},
        "only at a stop or a server's restart",
    ),
    Event(
        "room.retry",
        "warning|debug",
        "Joining failed and will be tried again. The first of a reason is a warning, its repeats are debug.",
        {
            "in_s": "seconds until the next attempt",
            "attempt": "number of the attempt that failed, from 1",
            "reason": _REASON,
            "detail": _DETAIL,
            "fix": _FIX,
        },
        "rare; attempt small",
    ),
    Event(
        "participant.joined",
        "info",
        "Somebody else came into the room, or was there already.",
        {"identity": "who", "participants?": "how many others are there now"},
        "as people come",
    ),
    Event(
        "participant.left",
        "info",
        "Somebody left the room.",
        {"identity": "who", "participants?": "how many others are there now"},
        "as people go",
    ),
    Event(
        "stream.started",
        "info",
        "A participant's microphone is subscribed, or not muted any more, and will be heard.",
        {"identity": "whose", "stream": "its id in the mixer"},
        "one for each participant who talks",
    ),
    Event(
        "stream.stopped",
        "info",
        "A participant's microphone is gone, or muted: then it costs nothing.",
        {
            "identity": "whose",
            "stream": "its id in the mixer",
            "seconds": "that it was there",
            "frames": "10 ms frames that came",
        },
        "when the participant leaves or mutes; frames close to 100 × seconds",
    ),
    Event(
        "stream.parked",
        "info",
        "A participant's microphone is not played: there are more than audio.max_streams, and the others spoke later. "
        "It costs nothing; stream.started tells when it is played.",
        {"identity": "whose", "stream": "the server's id of the track", "most": "audio.max_streams"},
        "never in a room that is no larger; else as people begin to speak",
    ),
    Event(
        "crossing.unknown",
        "warning",
        "The SDK is another one than alto was made for: its sound takes the public way, which costs more processor.",
        {"reason": "what was not found in it"},
        "never",
    ),
    Event(
        "stream.renewed",
        "info",
        "A quiet voice is subscribed anew: the SDK still held it back for a trouble that is over.",
        {"stream": "the server's id of the track", "buffer_ms": "how long its sound waited"},
        "once, seconds after a bad network got well",
    ),
    Event(
        "stream.failed",
        "error",
        "A participant's microphone cannot be heard because of a fault in alto. Please report it with this line.",
        {"identity": "whose", "stream": "its id in the mixer"},
        "never",
    ),
    Event(
        "stream.refused",
        "warning",
        "The server did not let us hear a participant's microphone.",
        {"identity": "whose", "stream": "the server's id of the track", "reason": "the server's words"},
        "never",
    ),
    Event(
        "microphone.republished",
        "warning",
        "After a mended connection the microphone was not in the room; it is published again.",
        {},
        "rare",
    ),
    Event(
        "microphone.surplus",
        "warning",
        "After a mended connection the microphone was in the room twice; one is taken back.",
        {"track": "the server's id of the one that goes"},
        "never",
    ),
    Event(
        "capture.ended",
        "debug",
        "The microphone is not sent any more: the session is over.",
        {"reason": _REASON},
        "at each end",
    ),
    Event(
        "connect.late", "debug", "An attempt to join that was given up succeeded after all, and is closed.", {}, "rare"
    ),
    Event("room.leave_late", "debug", "The SDK took too long to leave the room; it goes on doing so.", {}, "rare"),
    Event("native.failed", "debug", "Cleaning up inside the SDK failed.", {"error": "class of the error"}, "rare"),
)

_SERVER: Final = (
    Event(
        "server.started",
        "info",
        "alto's own LiveKit server answers.",
        {"url": "its address", "took_s": "seconds until it answered"},
        "once for each run; took_s below 1",
    ),
    Event(
        "server.stopped", "info", "alto's own LiveKit server has ended.", {"exit_code": "of the server"}, "at the end"
    ),
    Event(
        "server.left_over",
        "warning",
        "A server of alto's own that outlived an earlier run held the port; it was ended.",
        {"pid": "its process id"},
        "never where setpriv (util-linux) is installed",
    ),
    Event(
        "server.died",
        "warning",
        "alto's own LiveKit server ended by itself and is started again.",
        {"exit_code": "of the server; negative: the signal that killed it", "detail": "its last words"},
        "never",
    ),
    Event(
        "server.log",
        "debug|warning",
        "A line of alto's own LiveKit server; warning when the server calls it an error.",
        {"message": "what it says", "error": "what went wrong, if anything"},
        "few warnings",
    ),
    Event(
        "server.no_interface",
        "warning",
        "No network interface is up beside the loopback: a call on this machine cannot connect.",
        {"fix": _FIX},
        "never",
    ),
)

_SOUND: Final = (
    Event(
        "audio.opened",
        "info",
        "A sound device runs.",
        {
            "leg": _LEG,
            "device": "the ALSA name that was opened",
            "rate_hz": "the device's rate",
            "channels": "the device's channels",
            "latency_ms": "delay that the device layer grants",
        },
        "twice for each session; latency_ms below 50",
    ),
    Event(
        "audio.lost",
        "warning",
        "A sound device is missing or stopped.",
        {"leg": _LEG, "device": "the ALSA name, or as configured", "reason": _REASON, "detail": _DETAIL, "fix": _FIX},
        "never",
    ),
    Event(
        "audio.still_lost",
        "info",
        "The sound device is still missing, for another reason than before.",
        {"leg": _LEG, "reason": _REASON, "detail": _DETAIL, "fix": _FIX},
        "rare: plugged in, but busy",
    ),
    Event(
        "audio.recovered",
        "info",
        "The sound device is back.",
        {"leg": _LEG, "device": "the ALSA name that was opened", "outage_s": "seconds without it"},
        "outage_s close to how long it was unplugged",
    ),
    Event(
        "audio.ran_dry",
        "warning",
        "The device ran dry (input: was not read in time) again and again; it is opened anew with a buffer twice as "
        "long, unless alto.yaml names its length.",
        {
            "leg": _LEG,
            "device": "the ALSA name",
            "before_ms": "the buffer that was asked for",
            "latency_ms": "what is asked for from now on, until the settings change or alto starts anew; the same: "
            "alto.yaml names it",
            "fix": _FIX,
        },
        "never; once or twice after a start: this hardware needs it",
    ),
    Event(
        "audio.level_failed",
        "warning",
        "The sound card's own volume could not be set; the sound goes on as loud as it is.",
        {"leg": _LEG, "device": "the ALSA name", "detail": _DETAIL, "fix": _FIX},
        "never",
    ),
    Event(
        "processing.failed",
        "error",
        "The microphone's processing ended; its sound goes on untreated until the settings change.",
        {"detail": _DETAIL},
        "never",
    ),
    Event(
        "audio.close_stuck",
        "warning",
        "The driver does not let go of a device; alto goes on without waiting.",
        {"leg": _LEG, "device": "the ALSA name"},
        "never; if it comes back, the driver or the device is faulty",
    ),
)

_OBSERVATION: Final = (
    Event(
        "metrics",
        "info",
        "The periodic figures, see below. Without a session there are only network and process.",
        {
            "network?": "section, see below",
            "input?": "section, see below",
            "output?": "section, see below",
            "mixer?": "section, see below",
            "processing?": "section, see below",
            "process": "section, see below",
            "*": "other sections, when there are more parts",
        },
        "one every metrics.interval_s",
    ),
    Event(
        "metrics.failed",
        "error",
        "A part could not be asked for its figures; the line goes without them. Once until it works again.",
        {"error": "class and text"},
        "never: it is a bug",
    ),
    Event(
        "exporter.listening",
        "info",
        "The figures are served for Prometheus (metrics.listen).",
        {"address": "where, host:port; the path is /metrics"},
        "once after the start and after each change of metrics.listen",
    ),
    Event(
        "exporter.unavailable",
        "warning",
        "The address of metrics.listen cannot be had; it is tried again every 5 s. Once for each cause.",
        {"address": "metrics.listen", "detail": _DETAIL, "fix": _FIX},
        "never, or once at a start before the network is up",
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
        {"path": "of the Unix socket", "detail": _DETAIL, "fix": _FIX},
        "never",
    ),
    Event(
        "status.client_dropped",
        "debug",
        "A client of the status socket was disconnected.",
        {"reason": "slow, busy, bad_request, silent or failed", "command": "what it had asked for", "detail?": "more"},
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
        {"logger": "who says it", "message": "what it says", "folded?": _FOLDED},
        "few; errors of livekit around a lost connection are normal",
    ),
    Event(
        "bug",
        "error",
        "Something that alto does not expect; it goes on. Please report it with this line.",
        {
            "where": "which thread, task or hook caught it",
            "error?": "class and text",
            "message?": "what the hook said about it",
            "folded?": _FOLDED,
        },
        "never",
    ),
)

EVENTS: Final[tuple[Event, ...]] = (
    *_APPLIANCE,
    *_CONFIGURATION,
    *_ROOM,
    *_SERVER,
    *_SOUND,
    *_OBSERVATION,
)
