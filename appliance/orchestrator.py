"""`AudioClientOrchestrator`: one stay in one room, from connect to disconnect."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Final, Self

from appliance.audio.config import AudioConfig, HardwareLevel
from appliance.audio.input_handler import AudioInputHandler
from appliance.audio.mixer import AudioMixer
from appliance.audio.output_handler import AudioOutputHandler
from appliance.audio.processing import ProcessedFrames, Treatment
from appliance.audio.worker import DeviceWorker
from appliance.clock import SystemClock
from appliance.errors import NetworkError, Rejected
from appliance.leg import AudioLeg, Handler, Losses, Reserves
from appliance.network.manager import LiveKitNetworkManager
from appliance.ports import (
    AudioBackend,
    BlockingCalls,
    Clock,
    Knock,
    Leg,
    LegReport,
    Link,
    Processing,
    Processor,
    ProcessorFactory,
    RoomConnection,
)
from appliance.settings.changes import Changes
from appliance.settings.model import Duplex, HardwareMixer, Settings

CONNECT_S: Final = 10.0  # the setting's default; long enough for a slow link, short enough that a retry comes soon


def audio_config(settings: Settings) -> AudioConfig:
    """The flat numbers of `AudioConfig` out of alto.yaml."""
    audio = settings.audio
    return AudioConfig(
        sample_rate=audio.sample_rate_hz,
        samples_per_channel=audio.sample_rate_hz * audio.block_ms // 1000,
        output_samples_per_channel=audio.sample_rate_hz * audio.output_block_ms // 1000,
        input_device=audio.input.device,
        output_device=audio.output.device,
        volume=audio.output.volume,
        input_channel=audio.input.channel.value,
        input_volume=audio.input.volume,
        no_capture=not audio.input.enabled,
        no_playback=not audio.output.enabled,
        mix=audio.mix.value,
        playout_ms=audio.playout_ms,
        max_streams=audio.max_streams,
        input_latency_ms=audio.input.latency_ms,
        output_latency_ms=audio.output.latency_ms,
        input_control=_hardware_level(audio.input.mixer),
        output_control=_hardware_level(audio.output.mixer),
    )


def _hardware_level(mixer: HardwareMixer) -> HardwareLevel | None:
    return HardwareLevel(mixer.control, mixer.level) if mixer.control is not None else None


def treatment(settings: Settings) -> Treatment:
    """What alto.yaml wants done to the microphone's sound; echo cannot be where nothing is played."""
    processing, audible = settings.audio.input.processing, settings.audio.output.enabled
    return Treatment(
        Processing(
            echo_cancellation=processing.echo_cancellation and audible,
            noise_suppression=processing.noise_suppression,
            gain_control=processing.gain_control,
            high_pass=processing.high_pass,
        ),
        settings.audio.duplex if audible else Duplex.FULL,
    )


class AudioClientOrchestrator:
    """Brings up mixer, room, track, microphone and speaker in that order; takes them down in reverse.

    `AudioClientOrchestrator(url, token, config)` is a whole client, as in the description; what the appliance hands
    in by keyword are the ports. With `tolerant` a sound device that fails does not fail `connect()`: the leg is
    reported MISSING and `tend()` tries it again; `losses` and `reserves` are those of the session before. Loop thread
    only.
    """

    def __init__(
        self,
        url: str,
        token: str,
        config: AudioConfig,
        *,
        backend: AudioBackend | None = None,
        new_room: Callable[[], RoomConnection] | None = None,
        knock: Knock | None = None,
        new_processor: ProcessorFactory | None = None,
        worker: BlockingCalls | None = None,
        clock: Clock | None = None,
        volumes: Mapping[str, float] | None = None,
        treated: Treatment | None = None,
        tolerant: bool = False,
        connect_s: float = CONNECT_S,
        device_retry_s: float = 1.0,
        losses: Losses | None = None,
        reserves: Reserves | None = None,
        on_change: Callable[[], None] = lambda: None,
        on_rejected: Callable[[], None] = lambda: None,
    ) -> None:
        self.config = config
        self._url = url
        self._token = token
        self._tolerant = tolerant
        self._connect_s = connect_s
        self._on_rejected = on_rejected
        clock = clock or SystemClock()
        backend = backend or _real_backend()
        worker = worker or DeviceWorker()
        self.mixer = AudioMixer(
            config.sample_rate,
            config.num_channels,
            volume=config.volume,
            mix=config.mix,
            playout_ms=config.playout_ms,
            clock=clock,
        )
        for identity, volume in (volumes or {}).items():
            self.mixer.set_stream_volume(identity, volume)
        self.input = AudioInputHandler(config=config, backend=backend, clock=clock)
        self.output = AudioOutputHandler(config=config, backend=backend, clock=clock, source=self.mixer)
        self.microphone = ProcessedFrames(
            source=self.input.timed,
            reference=self.output.reference,
            rate_hz=config.sample_rate,
            new_processor=new_processor or _real_processor,
            set_duck=self.mixer.set_duck,
        )
        self.microphone.use(treated or Treatment())
        self.network = LiveKitNetworkManager(
            room_factory=new_room or _real_room(config.sample_rate),
            sink=self.mixer,
            frames=None if config.no_capture else self.microphone,
            sample_rate=config.sample_rate,
            max_streams=config.max_streams,
            clock=clock,
            knock=knock or _real_knock(),
            on_change=on_change,
        )
        enabled = {Leg.INPUT: not config.no_capture, Leg.OUTPUT: not config.no_playback}
        handlers: dict[Leg, Handler] = {Leg.INPUT: self.input, Leg.OUTPUT: self.output}
        self._legs = {
            leg: AudioLeg(
                leg,
                handlers[leg],
                enabled=enabled[leg],
                worker=worker,
                clock=clock,
                retry_s=device_retry_s,
                on_change=on_change,
                losses=losses,
                reserves=reserves,
            )
            for leg in Leg
        }
        self._made: contextlib.AsyncExitStack | None = None

    async def connect(self) -> None:
        """Join, publish, open the legs. Raises AltoError after everything made so far was undone, in reverse."""
        if self._made is not None:
            raise RuntimeError("connect() was called twice")
        async with contextlib.AsyncExitStack() as made:
            made.push_async_callback(self.network.disconnect)
            await self._join()
            for leg in self._legs.values():
                made.push_async_callback(leg.close)
                await (leg.open_or_wait() if self._tolerant else leg.open())
            self._made = made.pop_all()

    async def _join(self) -> None:
        try:
            await self.network.connect(self._url, self._token, deadline_s=self._connect_s)
        except Rejected:
            self._on_rejected()  # a cached token must not be tried for ever
            raise
        try:
            await self.network.publish()
        except NetworkError as error:
            error.let_in = True
            raise

    async def disconnect(self) -> None:
        """Take everything down in reverse. Idempotent, bounded, never raises."""
        made, self._made = self._made, None
        if made is not None:
            await made.aclose()

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.disconnect()

    # ---- while the call runs ----

    def set_stream_volume(self, identity: str, volume: float) -> None:
        """How loud one participant plays, 0.0 to 4.0; kept when it leaves and comes back. Raises ValueError."""
        self.mixer.set_stream_volume(identity, volume)

    def tend(self) -> None:
        """See `ports.Session.tend`."""
        for leg in self._legs.values():
            leg.tend()

    def apply(self, settings: Settings, changes: Changes) -> None:
        """See `ports.Session.apply`."""
        self.config = audio_config(settings)
        self.mixer.master_volume = self.config.volume
        self.input.set_volume(self.config.input_volume)
        self.network.set_max_streams(self.config.max_streams)
        for identity in set(self.mixer.stream_volumes) - set(settings.audio.volumes):
            self.mixer.set_stream_volume(identity, 1.0)
        for identity, volume in settings.audio.volumes.items():
            self.mixer.set_stream_volume(identity, volume)
        self.microphone.use(treatment(settings))
        for leg, handler, changed in (
            (Leg.INPUT, self.input, changes.input_device),
            (Leg.OUTPUT, self.output, changes.output_device),
        ):
            handler.config = self.config
            self._legs[leg].retry_s = settings.supervisor.device_retry_s
            if changed:
                self._legs[leg].reopen()

    async def knock(self) -> None:
        """See `ports.Session.knock`."""
        await self.network.knock()

    @property
    def link(self) -> Link:
        """How the connection to the room is doing."""
        return self.network.link

    @property
    def recovering_why(self) -> str:
        """See `ports.Session.recovering_why`."""
        return self.network.recovering_why

    @property
    def closed_by(self) -> Exception | None:
        """Why `link` is CLOSED."""
        return self.network.error

    @property
    def legs(self) -> Mapping[Leg, LegReport]:
        """How microphone and speaker are doing."""
        return {leg: one.report for leg, one in self._legs.items()}

    @property
    def participants(self) -> tuple[str, ...]:
        """Identities of the others who are in the room now."""
        return self.network.participants

    @property
    def parked(self) -> tuple[str, ...]:
        """Those of them who are not played, because others spoke later."""
        return self.network.parked

    def get_metrics(self) -> Mapping[str, Mapping[str, object]]:
        """Sections `network`, `input`, `output`, `mixer`, `processing`; fields and units: `observe/EVENTS.md`."""
        return {
            "network": self.network.get_metrics(),
            "input": self.input.get_metrics(),
            "output": self.output.get_metrics(),
            "mixer": self.mixer.get_metrics(),
            "processing": self.microphone.get_metrics(),
        }


# The real parts, for callers that hand in none: imported only then, so that a test on fakes loads neither PortAudio
# nor the SDK.


def _real_backend() -> AudioBackend:
    from appliance.audio.portaudio import PortAudioBackend

    return PortAudioBackend()


def _real_room(sample_rate: int) -> Callable[[], RoomConnection]:
    from appliance.network.livekit_room import LiveKitRoom

    return lambda: LiveKitRoom(sample_rate=sample_rate)


def _real_knock() -> Knock:
    from appliance.network.knock import knock

    return knock


def _real_processor(processing: Processing, rate_hz: int) -> Processor:
    from appliance.network.processing import SdkProcessor

    return SdkProcessor(processing, rate_hz)
