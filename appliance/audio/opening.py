"""From a name in alto.yaml to a running stream: which device is meant, and the first format that it takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, cast

import structlog

from appliance.audio.config import AudioConfig, HardwareLevel
from appliance.audio.devices import resolve
from appliance.errors import AudioError, FormatUnsupported
from appliance.ports import (
    AudioBackend,
    AudioStream,
    CaptureCallback,
    DeviceInfo,
    Direction,
    PlaybackCallback,
    StreamSpec,
)

log = structlog.get_logger()

COMMON_RATES_HZ: Final = (48000, 44100, 32000, 16000, 96000, 8000)
"""What sound hardware is built for, best first; tried when a device does not say what it runs at."""


def ladder(info: DeviceInfo, direction: Direction, config: AudioConfig, times: int = 1) -> tuple[StreamSpec, ...]:
    """The formats to try, best first: ours, then in stereo, then the device's own rates. Pure.

    Where one side of the microphone is wanted, stereo comes first: asked for one channel, ALSA would mix. `times`: as
    often as usual is the device to hold what is usual.
    """
    most = info.input_channels if direction is Direction.INPUT else info.output_channels
    one_side = direction is Direction.INPUT and config.input_channel != "mix"
    channels = ([2, 1] if one_side else [1, 2]) + ([most] if most > 2 else [])
    own = sorted(info.rates_hz, key=_preference) or COMMON_RATES_HZ
    rates = [config.sample_rate, *(rate for rate in own if rate != config.sample_rate)]
    block_s = config.block_s(direction)
    return tuple(
        StreamSpec(info.pcm, rate, count, max(1, round(block_s * rate)), config.latency_s(direction, times))
        for rate in rates
        for count in channels
    )


def _preference(rate_hz: int) -> int:
    """Where a device's rate stands among those to try: as in COMMON_RATES_HZ, the others after them."""
    return COMMON_RATES_HZ.index(rate_hz) if rate_hz in COMMON_RATES_HZ else len(COMMON_RATES_HZ)


def open_first(
    *,
    backend: AudioBackend,
    name: str | None,
    direction: Direction,
    config: AudioConfig,
    callback: CaptureCallback | PlaybackCallback,
    times: int = 1,
) -> AudioStream:
    """Open the device of that name in the first format it takes. On the device worker; blocks. `times`: see `ladder`.

    Raises DeviceMissing, DeviceAmbiguous, DeviceBusy, DeviceLost; FormatUnsupported when it refused them all.
    """
    info = resolve(name, direction, backend.devices())
    specs = ladder(info, direction, config, times)
    for spec in specs:
        try:
            return _opener(backend, direction, callback)(spec)
        except FormatUnsupported as error:
            refused = error
    tried = ", ".join(sorted({f"{spec.rate_hz} Hz" for spec in specs}))
    raise FormatUnsupported(
        f"{direction} device {info.pcm!r} refuses every format; tried {tried}, 1 and 2 channels",
        fix=f'name it as plughw:… so that ALSA converts; see "alto devices" ({_offers(info)})',
    ) from refused


def set_hardware_level(
    backend: AudioBackend, stream: AudioStream, direction: Direction, wanted: HardwareLevel | None
) -> None:
    """Set the card's own volume. One that cannot be set is told, and the sound goes on. On the device worker."""
    if wanted is None:
        return
    try:
        backend.set_level(stream.pcm, direction, wanted.control, wanted.level)
    except AudioError as error:
        log.warning("audio.level_failed", leg=direction, device=stream.pcm, detail=error.message, fix=error.fix)


def _opener(
    backend: AudioBackend, direction: Direction, callback: CaptureCallback | PlaybackCallback
) -> Callable[[StreamSpec], AudioStream]:
    if direction is Direction.INPUT:
        return lambda spec: backend.open_capture(spec, cast(CaptureCallback, callback))
    return lambda spec: backend.open_playback(spec, cast(PlaybackCallback, callback))


def _offers(info: DeviceInfo) -> str:
    rates = ", ".join(str(rate) for rate in info.rates_hz) or "not known"
    return f"it says: {rates} Hz, {info.input_channels} in, {info.output_channels} out"
