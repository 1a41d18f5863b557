"""Decisions about the station itself, its sound and its configuration. Pure: facts in, results out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from appliance.audio.devices import can, resolve
from appliance.doctor.probes import SoundNode
from appliance.doctor.results import CONFIGURATION, Result, fail, ok, skip, warn
from appliance.errors import AudioError, ConfigError
from appliance.observe.client import NoStation, StationError
from appliance.observe.meter import SILENT_DBFS
from appliance.observe.view import duration
from appliance.orchestrator import treatment
from appliance.ports import DeviceInfo, Direction
from appliance.settings.load import Loaded
from appliance.settings.model import Duplex, Settings
from appliance.settings.problems import Problem

LOSS_RATIO: Final = 0.05  # above, Opus with its redundancy begins to sound broken
ECHO: Final = "echo"
ECHO_FIX: Final = "audio.input.processing.echo_cancellation: true, or audio.duplex: half on a slow board"
LEG_NAME: Final = {Direction.INPUT: "microphone", Direction.OUTPUT: "speaker"}

Looks = Sequence[Mapping[str, Any]]
"""What the running station said, a fraction of a second apart; oldest first."""


def configuration(loaded: Loaded | ConfigError) -> list[Result]:
    """alto.yaml itself."""
    if isinstance(loaded, ConfigError):
        return [fail(CONFIGURATION, *_told(problem)) for problem in loaded.problems]
    warnings = [warn(CONFIGURATION, *_told(problem)) for problem in loaded.warnings]
    return warnings or [ok(CONFIGURATION, f"{loaded.path} is valid")]


def _told(problem: object) -> tuple[str, str]:
    """What was found, and the fix."""
    if isinstance(problem, Problem) and problem.fix:
        return str(replace(problem, fix="")).removesuffix("; "), problem.fix
    return str(problem), "correct the file; alto check shows the same"


def station(looks: Looks | StationError) -> list[Result]:
    """What the running station says of itself."""
    if isinstance(looks, NoStation):
        return [warn("station", looks.message, looks.fix)]
    if isinstance(looks, StationError):
        return [fail("station", looks.message, looks.fix)]
    if not looks:
        return [fail("station", "the station answers nothing", 'restart it: "systemctl restart alto"')]
    return [*_state(looks[-1]), *_not_in_force(looks[-1])]


def _state(status: Mapping[str, Any]) -> Iterator[Result]:
    state, since = status.get("state"), duration(status.get("since_s"))
    if state == "online":
        here = len(status.get("participants") or [])
        yield ok("station", f"{status.get('identity')} is online for {since}, {here} other(s) in the room")
        return
    found = f"{status.get('identity')} is {state} for {since}: {status.get('detail') or status.get('reason')}"
    fix = str(status.get("fix") or "see the results below")
    if status.get("reason") == "evicted":
        fix = f"another device joins as {status.get('identity')!r}: give one of the two another identity"
    yield fail("station", found, fix)


def _not_in_force(status: Mapping[str, Any]) -> Iterator[Result]:
    for problem in status.get("config_problems") or []:
        yield fail(CONFIGURATION, f"the saved file is not in force: {problem}", "correct it; it is taken up at once")


def sound_devices(devices: Sequence[DeviceInfo], nodes: Sequence[SoundNode]) -> list[Result]:
    """Whether there is anything to hear and speak with."""
    locked = [node.path for node in nodes if not node.usable]
    if locked:
        return [
            fail(
                "sound devices",
                f"this user may not use {locked[0]}" + (f" and {len(locked) - 1} more" if len(locked) > 1 else ""),
                "sudo usermod -aG audio $USER, then log in again (a service: SupplementaryGroups=audio)",
            )
        ]
    if not devices:
        return [
            fail(
                "sound devices",
                "there is no sound device",
                "plug one in and look at aplay -l; a HAT needs its dtoverlay in /boot/firmware/config.txt",
            )
        ]
    names = [info.name or info.pcm for info in devices]
    return [ok("sound devices", f"{len(devices)}: {', '.join(names[:4])}{', …' * (len(names) > 4)}")]


def device(direction: Direction, settings: Settings, devices: Sequence[DeviceInfo], looks: Looks) -> list[Result]:
    """Whether the microphone or speaker of alto.yaml is there and free, or in the station's own hands."""
    name = LEG_NAME[direction]
    wanted = settings.audio.input if direction is Direction.INPUT else settings.audio.output
    if not wanted.enabled:
        return [skip(name, "off in alto.yaml")]
    leg: Mapping[str, Any] = ((looks[-1].get("legs") or {}).get(direction.value) or {}) if looks else {}
    if leg.get("state") == "ok":
        return [ok(name, f"{leg.get('device')}, open in the running station")]
    if not devices:
        return [skip(name, "see sound devices")]
    try:
        found = resolve(wanted.device, direction, devices)
    except AudioError as error:
        return [fail(name, error.message, error.fix or 'see "alto devices"')]
    if found.busy:
        return [fail(name, f"{found.pcm} is in use by {found.busy}", "end that program, or choose another device")]
    return [ok(name, f"{found.pcm} ({found.name})")]


def card_of(direction: Direction, settings: Settings, devices: Sequence[DeviceInfo]) -> str:
    """The card id that the leg would use; empty when there is none."""
    wanted = settings.audio.input if direction is Direction.INPUT else settings.audio.output
    try:
        found = resolve(wanted.device, direction, [info for info in devices if can(info, direction)])
    except AudioError:
        return ""
    return found.card_id if wanted.enabled else ""


_SPEAKERS: Final = ("master", "pcm", "speaker", "headphone", "headset", "digital", "line out", "playback")


def mixer(direction: Direction, card_id: str, said: str | None) -> list[Result]:
    """The card's own volume and mute switch, which alto leaves as they are."""
    check = f"{LEG_NAME[direction]} mixer"
    if not card_id or said is None:
        return [skip(check, "no sound card with a mixer of its own, or no amixer")]
    shut = [name for name, open_ in _controls(direction, said) if not open_]
    if not shut:
        return [ok(check, f"nothing is muted on card {card_id}")]
    verb = "80% cap" if direction is Direction.INPUT else "80% unmute"
    return [
        warn(
            check,
            f"{', '.join(shut)} of card {card_id} is muted or at 0 %",
            f"amixer -c {card_id} sset '{shut[0]}' {verb}, then sudo alsactl store",
        )
    ]


def _controls(direction: Direction, said: str) -> Iterator[tuple[str, bool]]:
    """(name, whether sound comes through) of the controls that matter for the direction."""
    way = "Capture" if direction is Direction.INPUT else "Playback"
    for part in said.split("Simple mixer control ")[1:]:
        name = part.partition("'")[2].partition("'")[0]
        states = [state for row in part.splitlines() if (state := _state_of(row, way)) is not None]
        if states and (direction is Direction.INPUT or name.lower().startswith(_SPEAKERS)):
            yield name, any(states)


def _state_of(row: str, way: str) -> bool | None:
    """`Mono: Playback 23 [74%] [-12.00dB] [off] Capture 19 [54%] [on]`: whether this way is open; None: not told."""
    found = re.search(rf"\b{way}\b(.*?)(?:\bPlayback\b|\bCapture\b|$)", row)
    if found is None or "[" not in found[1]:
        return None
    return "[off]" not in found[1] and "[0%]" not in found[1]


def levels(settings: Settings, looks: Looks) -> list[Result]:
    """Whether the open microphone hears anything at all, and whether the speaker is turned down."""
    return [*_microphone_level(looks), *_speaker_volume(settings)]


def _microphone_level(looks: Looks) -> Iterator[Result]:
    heard = [level for look in looks if isinstance(level := _figure(look, "input", "level_dbfs"), (int, float))]
    if not heard or not _figure(looks[-1], "input", "open"):
        yield skip("microphone level", "no running station with an open microphone")
    elif max(heard) < SILENT_DBFS:
        yield warn(
            "microphone level",
            f"not even noise comes from it ({max(heard):.0f} dBFS)",
            "its mute button, its switch in alsamixer (F4), or another device is the microphone",
        )
    else:
        yield ok("microphone level", f"{max(heard):.0f} dBFS")


def _speaker_volume(settings: Settings) -> Iterator[Result]:
    silenced = [who for who, volume in settings.audio.volumes.items() if volume == 0]
    if settings.audio.output.enabled and settings.audio.output.volume == 0:
        yield warn("speaker volume", "audio.output.volume is 0", "set it to 1.0")
    elif settings.audio.input.enabled and settings.audio.input.volume == 0:
        yield warn("microphone volume", "audio.input.volume is 0", "set it to 1.0")
    elif silenced:
        yield warn("speaker volume", f"audio.volumes silences {', '.join(silenced)}", "take the entry out")
    else:
        yield ok("speaker volume", f"{settings.audio.output.volume:g}")


def keeps_echo_away(settings: Settings) -> bool:
    """Whether alto.yaml has something done about the speaker's sound in the microphone."""
    treated = treatment(settings)
    return treated.processing.echo_cancellation or treated.duplex is not Duplex.FULL


def echo(settings: Settings) -> list[Result]:
    """Whether the others may hear themselves. Whether this microphone hears this speaker only a measurement tells."""
    if not (settings.audio.input.enabled and settings.audio.output.enabled):
        return [skip(ECHO, "none without both a microphone and a speaker")]
    if keeps_echo_away(settings):
        return [ok(ECHO, "kept away, as alto.yaml says")]
    return [
        skip(
            ECHO,
            "nothing is done about it, which is right with a headset, a handset, or a speakerphone that does it "
            f"itself. The others hear themselves, or it howls? {ECHO_FIX}. alto doctor --latency measures it",
        )
    ]


def quality(looks: Looks) -> list[Result]:
    """Whether the running call breaks up right now."""
    if len(looks) < 2:
        return [skip("sound quality", "no running station to listen to")]
    grown = {
        name: _number(_figure(looks[-1], *path)) - _number(_figure(looks[0], *path))
        for name, path in (("underruns", ("mixer", "underruns")), ("overruns", ("input", "overruns")))
    }
    lost = max(_number(_figure(looks[-1], "network", name)) for name in ("loss_in_ratio", "loss_out_ratio"))
    broken = [f"{count:g} {name} within a second" for name, count in grown.items() if count > 0]
    if broken:
        return [
            warn("sound quality", ", ".join(broken), "try audio.block_ms: 20, and end what else keeps the board busy")
        ]
    if lost > LOSS_RATIO:
        fix = "move closer to the access point, or use a cable"
        return [warn("sound quality", f"{lost * 100:.0f} % of the packets are lost", fix)]
    return [ok("sound quality", "no gaps while looking")]


def _figure(look: Mapping[str, Any], section: str, name: str) -> object:
    figures = (look.get("metrics") or {}).get(section)
    return figures.get(name) if isinstance(figures, Mapping) else None


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0
