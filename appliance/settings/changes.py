"""What a new alto.yaml means for a station that is running: pure, no I/O.

Every key of the models has exactly one effect here; a test walks the models, so that a new key cannot be forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pydantic import BaseModel

from appliance.settings.keys import Kind, root
from appliance.settings.model import Settings


class Effect(StrEnum):
    """What must happen for a key's new value to count."""

    VOLUMES = "volumes"
    """Set on the running mixer, or in the room, without a click."""
    PROCESSING = "processing"
    """Taken up with the next frame of the microphone."""
    INPUT = "input"
    """The microphone is opened anew; the room is not left."""
    OUTPUT = "output"
    """The speaker is opened anew; the room is not left."""
    BOTH_DEVICES = "devices"
    """Microphone and speaker are opened anew; the room is not left."""
    SESSION = "session"
    """The room is left and joined again."""
    NEXT_ATTEMPT = "next_attempt"
    """Read whenever alto connects the next time; the running call goes on."""
    LOG = "log"
    METRICS = "metrics"
    STATUS = "status"
    """The status socket moves."""
    SUPERVISOR = "supervisor"
    """Pauses and deadlines that are read when they are needed."""


EFFECTS: Final[Mapping[str, Effect]] = {
    "identity": Effect.SESSION,
    "name": Effect.SESSION,
    "room": Effect.SESSION,
    "livekit.url": Effect.SESSION,
    "livekit.api_key": Effect.SESSION,
    "livekit.api_secret": Effect.SESSION,
    "livekit.api_key_file": Effect.SESSION,
    "livekit.api_secret_file": Effect.SESSION,
    "livekit.token": Effect.SESSION,
    "livekit.token_file": Effect.SESSION,
    "livekit.token_endpoint": Effect.SESSION,
    "livekit.token_endpoint_headers": Effect.SESSION,
    "livekit.token_ttl_s": Effect.NEXT_ATTEMPT,
    "livekit.connect_timeout_s": Effect.NEXT_ATTEMPT,
    "livekit.embedded.port": Effect.SESSION,
    "livekit.embedded.rtc_udp_port": Effect.SESSION,
    "livekit.embedded.binary": Effect.SESSION,
    # The track is published for a whole stay: a microphone that was switched off must be gone for everybody.
    "audio.input.enabled": Effect.SESSION,
    "audio.input.device": Effect.INPUT,
    "audio.input.channel": Effect.INPUT,
    "audio.input.volume": Effect.VOLUMES,
    "audio.input.latency_ms": Effect.INPUT,
    "audio.input.mixer.control": Effect.INPUT,
    "audio.input.mixer.level": Effect.INPUT,
    "audio.input.processing.echo_cancellation": Effect.PROCESSING,
    "audio.input.processing.noise_suppression": Effect.PROCESSING,
    "audio.input.processing.gain_control": Effect.PROCESSING,
    "audio.input.processing.high_pass": Effect.PROCESSING,
    "audio.output.enabled": Effect.SESSION,
    "audio.output.device": Effect.OUTPUT,
    "audio.output.volume": Effect.VOLUMES,
    "audio.output.latency_ms": Effect.OUTPUT,
    "audio.output.block_ms": Effect.OUTPUT,
    "audio.output.mixer.control": Effect.OUTPUT,
    "audio.output.mixer.level": Effect.OUTPUT,
    "audio.duplex": Effect.PROCESSING,
    "audio.volumes": Effect.VOLUMES,
    # The mixer, its rings and the published track are made for these three.
    "audio.mix": Effect.SESSION,
    "audio.sample_rate_hz": Effect.SESSION,
    "audio.playout_ms": Effect.SESSION,
    "audio.max_streams": Effect.VOLUMES,
    "audio.block_ms": Effect.BOTH_DEVICES,
    "log.level": Effect.LOG,
    "log.format": Effect.LOG,
    "metrics.interval_s": Effect.METRICS,
    "metrics.listen": Effect.METRICS,
    "status.socket": Effect.STATUS,
    "supervisor.retry_min_s": Effect.SUPERVISOR,
    "supervisor.retry_max_s": Effect.SUPERVISOR,
    "supervisor.blocked_retry_s": Effect.SUPERVISOR,
    "supervisor.recovery_patience_s": Effect.SUPERVISOR,
    "supervisor.device_retry_s": Effect.SUPERVISOR,
    "supervisor.watch_file": Effect.SUPERVISOR,
    "supervisor.restart_rss_mb": Effect.SUPERVISOR,
}


@dataclass(frozen=True, slots=True)
class Changes:
    """What a new file changes. False everywhere: nothing."""

    keys: tuple[str, ...] = ()
    """The dotted keys whose value changed, for the log; never their values."""
    volumes: bool = False
    processing: bool = False
    """Of the microphone's sound: its next frame is treated the new way."""
    input_device: bool = False
    """The microphone must be opened anew."""
    output_device: bool = False
    """The speaker must be opened anew."""
    session: bool = False
    """The room must be left and joined again (which opens the devices anew as well)."""
    log: bool = False
    metrics: bool = False
    status: bool = False
    supervisor: bool = False
    """Pauses and deadlines; nothing has to be done but to use the new settings."""

    def __bool__(self) -> bool:
        return bool(self.keys)


def changes(old: Settings, new: Settings) -> Changes:
    """Compare two configurations. Pure."""
    keys: list[str] = []
    effects: set[Effect] = set()
    for key in root().leaves():
        before, after = value_at(old, key.path), value_at(new, key.path)
        if before == after:
            continue
        effects.add(EFFECTS[key.dotted])
        keys += _changed_entries(key.dotted, before, after) if key.kind is Kind.MAPPING else [key.dotted]
    return Changes(
        keys=tuple(keys),
        volumes=Effect.VOLUMES in effects,
        processing=Effect.PROCESSING in effects,
        input_device=bool(effects & {Effect.INPUT, Effect.BOTH_DEVICES}),
        output_device=bool(effects & {Effect.OUTPUT, Effect.BOTH_DEVICES}),
        session=Effect.SESSION in effects,
        log=Effect.LOG in effects,
        metrics=Effect.METRICS in effects,
        status=Effect.STATUS in effects,
        supervisor=bool(effects & {Effect.SUPERVISOR, Effect.NEXT_ATTEMPT}),
    )


def value_at(settings: BaseModel, path: tuple[str, ...]) -> object:
    """The value that the settings hold under a path of the key tree."""
    value: object = settings
    for name in path:
        value = getattr(value, name)
    return value


def _changed_entries(dotted: str, before: object, after: object) -> list[str]:
    assert isinstance(before, dict)
    assert isinstance(after, dict)
    names = [*before, *(name for name in after if name not in before)]
    return [f"{dotted}.{name}" for name in names if before.get(name) != after.get(name)]
