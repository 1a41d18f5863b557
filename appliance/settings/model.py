"""Every key of alto.yaml: its type, limits, default and what more or less of it does.

The models are frozen, refuse unknown keys, and are the one source of `config/alto.schema.json` and
`config/alto.reference.yaml` (tests regenerate both and compare). Descriptions are written for the person who edits
the file: unit, what more does, what less does.
"""

from __future__ import annotations

import re
import socket
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator
from pydantic_core import PydanticCustomError

EMBEDDED: Final = "embedded"
"""The `livekit.url` that makes alto run a LiveKit server of its own."""

MAX_VOLUME: Final = 4.0  # +12 dB: above, int16 speech only clips


class Section(BaseModel):
    """A mapping of alto.yaml: frozen, without room for typing errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, hide_input_in_errors=True)


def conflict(key: str, other: str, *, found: str, allowed: str) -> PydanticCustomError:
    """Two keys of one section that do not go together; `key` is the one to point at, if it is written at all."""
    context = {"key": key, "other": other, "found": found, "allowed": allowed}
    return PydanticCustomError("conflict", "{key}: found {found}; allowed: {allowed}", context)


class Mix(StrEnum):
    """How several voices become one."""

    AVERAGE = "average"
    SUM = "sum"


class Duplex(StrEnum):
    """Who may speak when."""

    FULL = "full"
    DUCKING = "ducking"
    HALF = "half"


class Channel(StrEnum):
    """Which of a microphone's channels is sent."""

    MIX = "mix"
    LEFT = "left"
    RIGHT = "right"


class LogFormat(StrEnum):
    """How log lines look."""

    AUTO = "auto"
    JSON = "json"
    CONSOLE = "console"


class LogLevel(StrEnum):
    """The least severe line that is written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Form:
    """A check of how a text is written: the pattern for programs, the words for people. Raises ValueError."""

    def __init__(self, pattern: str, words: str) -> None:
        self.pattern = pattern  # of the whole text, in what Python's and JavaScript's expressions have in common
        self.words = words

    def __call__(self, value: str) -> str:
        if re.fullmatch(self.pattern, value) is None:
            raise ValueError(self.words)
        return value


_HOST: Final = r"([^\s/@?#:\[\]]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?"

# No "@": a password in an address would be in every log line that names the server. No "?": the SDK adds its own.
SERVER_URL: Final = Form(
    r"embedded|(wss?|https?)://" + _HOST + r"(/[^\s?#]*)?",
    "a wss:// or ws:// address such as wss://intercom.example.org, or the word embedded",
)
ENDPOINT_URL: Final = Form(r"https?://" + _HOST + r"(/\S*)?", "an https:// or http:// address")
_BYTE: Final = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
LISTEN: Final = Form(
    r"((" + _BYTE + r"\.){3}" + _BYTE + r"|\[[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*\]|localhost)"
    r":(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3})",
    "an address of this board and a port, such as 127.0.0.1:9477 or [::1]:9477",
)
VISIBLE: Final = Form(
    r"[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]*", "text of 1 to 128 characters, not only blanks"
)
LEVEL: Final = Form(
    r"(100|[0-9]{1,2})%|[+-]?[0-9]{1,2}(\.[0-9]{1,2})?dB", "a level such as 70% (of the control's range) or -6dB"
)

Name = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(VISIBLE)]
Volume = Annotated[float, Field(ge=0.0, le=MAX_VOLUME, strict=False)]
FilePath = Annotated[Path, Field(strict=False)]
BlockMs = Literal[5, 10, 20, 50]
OUTPUT_BLOCK_MS: Final = {10: 5}
"""The speaker's block that goes with an `audio.block_ms`; else the same. Who asks for 20 or 50 has a slow board."""


class EmbeddedServer(Section):
    """The LiveKit server that alto runs itself when `livekit.url` is `embedded`."""

    port: int = Field(7880, ge=1, le=65535, description="TCP port of the embedded server's signalling on 127.0.0.1.")
    rtc_udp_port: int = Field(7882, ge=1, le=65535, description="UDP port of its media on 127.0.0.1.")
    binary: str | None = Field(
        None, description="Path of livekit-server. Default: beside the alto command, then on PATH."
    )


class LiveKitSettings(Section):
    """Which server, and by what right."""

    url: Annotated[str, AfterValidator(SERVER_URL)] = Field(
        description="The server's address (wss://…; ws:// only inside a trusted network), or the word embedded: "
        "alto then runs a LiveKit server itself, on this machine."
    )
    api_key: str | None = Field(
        None,
        min_length=1,
        description="API key of the server. With it and the secret, this station makes its own tokens.",
    )
    api_secret: SecretStr | None = Field(
        None, min_length=1, description="The secret that belongs to api_key. Better kept in api_secret_file."
    )
    api_key_file: FilePath | None = Field(None, description="A file that holds only the API key.")
    api_secret_file: FilePath | None = Field(
        None, description="A file, readable by alto only, that holds the API secret."
    )
    token: SecretStr | None = Field(
        None, min_length=1, description="A ready access token (JWT). It ends one day; a token_file can be replaced."
    )
    token_file: FilePath | None = Field(
        None, description="A file that holds a ready token; read again whenever it changes."
    )
    token_endpoint: Annotated[str, AfterValidator(ENDPOINT_URL)] | None = Field(
        None, description="LiveKit's standard token endpoint: asked by POST for a token and the server's address."
    )
    token_endpoint_headers: dict[str, SecretStr] = Field(
        default_factory=dict, description="Headers sent to the token endpoint, e.g. Authorization. Kept secret."
    )
    token_ttl_s: int = Field(
        21600,
        ge=60,
        le=604800,
        description="Life of a token that this station makes, in seconds. Shorter limits what a stolen one is good "
        "for; longer survives a clock that is wrong by more.",
    )
    connect_timeout_s: float = Field(
        10.0,
        ge=1.0,
        le=60.0,
        strict=False,
        description="How long one attempt to join may take before it counts as failed. Longer helps slow links.",
    )
    embedded: EmbeddedServer = Field(default_factory=EmbeddedServer, description="Used with url: embedded only.")

    @model_validator(mode="after")
    def _one_of_each(self) -> LiveKitSettings:
        for inline, file in (("api_key", "api_key_file"), ("api_secret", "api_secret_file"), ("token", "token_file")):
            if getattr(self, inline) is not None and getattr(self, file) is not None:
                raise conflict(file, inline, found=f"{file} beside {inline}", allowed="one of the two")
        return self


class HardwareMixer(Section):
    """A volume control of the sound card itself."""

    control: str | None = Field(
        None,
        min_length=1,
        max_length=64,
        description="The control's name as alsamixer shows it, e.g. Mic, Capture, Speaker or PCM. Set whenever the "
        "device is opened, and switched on. Default: the card is left as it is.",
    )
    level: Annotated[str, AfterValidator(LEVEL)] = Field(
        "100%",
        description="What the control is set to: 0% to 100% of its range, or decibels such as -6dB where the card "
        "knows them.",
    )


class ProcessingSettings(Section):
    """What is done to the microphone's sound."""

    echo_cancellation: bool = Field(
        False,
        description="Takes what the speaker plays out of what the microphone hears. true for a speaker and a "
        "microphone in one room; needless with a headset or a handset. Costs about 1 % of a processor on a PC, far "
        "more on a small board: see duplex for the cheap ways.",
    )
    noise_suppression: bool = Field(
        False, description="Takes steady noise (fans, traffic) away; other sounds than speech suffer."
    )
    gain_control: bool = Field(
        False, description="Makes soft and distant voices louder and loud ones softer; raises the noise with them."
    )
    high_pass: bool = Field(False, description="Takes rumble below 100 Hz away.")


class InputSettings(Section):
    """The microphone."""

    enabled: bool = Field(True, description="false makes a listen-only station.")
    device: str | None = Field(
        None,
        min_length=1,
        max_length=256,
        description='The microphone: a string from "alto devices", a card id, or part of a name. Default: the '
        "system's default.",
    )
    channel: Channel = Field(
        Channel.MIX,
        strict=False,
        description="mix: both channels of a stereo device are averaged, and of more than two the first is taken; "
        "left or right: that one alone, for a device whose microphone is on one side (mix makes it 6 dB softer).",
    )
    volume: Volume = Field(
        1.0, description="Gain of the microphone, 0.0 to 4.0; 1.0 leaves it as it is, 2.0 is +6 dB. Too much clips."
    )
    latency_ms: float | None = Field(
        None,
        ge=1,
        le=1000,
        strict=False,
        description="Buffer asked of the sound card, in ms. Less delay when small, clicks when too small. Default: "
        "twice the block, and no less than 15; more once the device ran dry again and again.",
    )
    mixer: HardwareMixer = Field(
        default_factory=HardwareMixer, description="The sound card's own control for the microphone."
    )
    processing: ProcessingSettings = Field(
        default_factory=ProcessingSettings,
        description="What is done to the microphone's sound; each may be switched while a call runs.",
    )


class OutputSettings(Section):
    """The loudspeaker."""

    enabled: bool = Field(True, description="false makes a talk-only station.")
    device: str | None = Field(
        None,
        min_length=1,
        max_length=256,
        description='The speaker: a string from "alto devices", a card id, or part of a name. Default: the system\'s '
        "default.",
    )
    volume: Volume = Field(
        1.0, description="Master volume of the speaker, 0.0 (silent) to 4.0; 1.0 leaves it as it is."
    )
    latency_ms: float | None = Field(
        None,
        ge=1,
        le=1000,
        strict=False,
        description="Buffer asked of the sound card, in ms. Less delay when small, gaps when too small. Default: "
        "twice the block, and no less than 15; more once the device ran dry again and again.",
    )
    block_ms: BlockMs | None = Field(
        None,
        description="Length of a block of the speaker in ms. Default: 5 where audio.block_ms is 10, "
        "which is 10 ms less delay for a tenth more work; else audio.block_ms.",
    )
    mixer: HardwareMixer = Field(
        default_factory=HardwareMixer, description="The sound card's own control for the speaker."
    )


class AudioSettings(Section):
    """Sound: devices, volumes, block size, mixing."""

    input: InputSettings = Field(default_factory=InputSettings, description="The microphone.")
    output: OutputSettings = Field(default_factory=OutputSettings, description="The loudspeaker.")
    volumes: dict[Name, Volume] = Field(
        default_factory=dict,
        description="Volume of single participants by their identity, 0.0 to 4.0; who is not named plays at 1.0.",
    )
    mix: Mix = Field(
        Mix.AVERAGE,
        strict=False,
        description="average: the voices that sound are averaged, which never clips; sum: they are added, which keeps "
        "each as loud as alone, and a limiter catches the peaks.",
    )
    duplex: Duplex = Field(
        Duplex.FULL,
        strict=False,
        description="full: everybody may speak at any time; ducking: the speaker is 18 dB softer while somebody speaks "
        "here; half: the microphone is silent while the speaker sounds. The latter two keep echo away on a board that "
        "is too slow for echo_cancellation.",
    )
    block_ms: BlockMs = Field(
        10,
        description="Length of a device block in ms. Shorter is less delay and more CPU; longer is safer on a slow "
        "board.",
    )
    sample_rate_hz: Literal[16000, 24000, 32000, 48000] = Field(
        48000, description="Rate of the audio inside alto. Lower saves some CPU and sounds duller."
    )
    playout_ms: int = Field(
        20,
        ge=10,
        le=200,
        description="Sound held back for each voice before it plays, in ms. More rides over a busy board's hiccups, "
        "less is less delay.",
    )
    max_streams: int = Field(
        8,  # nobody follows more; on a Pi Zero 2 W, an eighth of a PC's core, they take most of one of its four
        ge=1,
        le=1000,
        description="How many voices are played at once. In a larger room these are the ones that spoke last; who "
        "begins to speak, louder than the server's audio.active_level (-35 dBFS), is heard within a second, in the "
        "place of whoever has been silent longest. Each one more costs about 1 % of a processor on a PC, far more on "
        "a small board.",
    )

    @property
    def output_block_ms(self) -> int:
        """Length of a block of the speaker: `output.block_ms`, or what goes with `block_ms`."""
        return self.output.block_ms or OUTPUT_BLOCK_MS.get(self.block_ms, self.block_ms)


class LogSettings(Section):
    """What is written to standard output."""

    level: LogLevel = Field(
        LogLevel.INFO, strict=False, description="debug, info, warning or error: the least severe line written."
    )
    format: LogFormat = Field(
        LogFormat.AUTO,
        strict=False,
        description="json: one object a line; console: for people; auto: console on a terminal, else json.",
    )


class MetricsSettings(Section):
    """The periodic figures."""

    interval_s: float = Field(
        30,
        ge=1,
        le=3600,
        strict=False,
        description="Seconds between two metrics lines. Shorter shows more and fills the journal sooner.",
    )
    listen: Annotated[str, AfterValidator(LISTEN)] | None = Field(
        None,
        description="Address and port of this board at which Prometheus finds the figures, at /metrics. Whoever "
        "reaches it may read them, in clear: 127.0.0.1 is for this board only, 0.0.0.0 for every network it is in. "
        "Default: no port is opened.",
    )


class StatusSettings(Section):
    """Where `alto status` finds a running station."""

    socket: FilePath | None = Field(
        None,
        description="Path of the Unix socket (0660) that answers alto status, record and doctor. Default: "
        "<identity>.sock in alto's runtime directory.",
    )


class SupervisorSettings(Section):
    """How stubbornly, and how politely, alto comes back."""

    retry_min_s: float = Field(
        0.5, ge=0.1, le=60, strict=False, description="Pause before the first retry, before jitter."
    )
    retry_max_s: float = Field(
        5.0,
        ge=0.5,
        le=600,
        strict=False,
        description="Longest pause between two retries. Longer is kinder to a server with hundreds of stations; "
        "shorter brings the call back sooner.",
    )
    blocked_retry_s: float = Field(
        30.0,
        ge=1,
        le=3600,
        strict=False,
        description="Pause between tries while a person must act (wrong key, identity taken). The changed file is "
        "taken up at once all the same.",
    )
    recovery_patience_s: float = Field(
        25.0,
        ge=1,
        le=300,
        strict=False,
        description="How long the SDK may try to mend a broken connection before alto makes a new one.",
    )
    device_retry_s: float = Field(
        1.0, ge=0.2, le=60, strict=False, description="Pause between looks for a sound device that is missing."
    )
    watch_file: bool = Field(
        True, description="Apply alto.yaml when it is saved. false: only on SIGHUP (systemctl reload)."
    )
    restart_rss_mb: int = Field(
        180,  # a station begins with 92; on a board of 512 MB, 270 (half as much again) and the system still fit
        ge=0,
        le=65536,
        description="Memory in use, in MiB, above which alto starts itself afresh in a quiet minute (half as much "
        "again: at once), at most once an hour. Each reconnect uses up about half a MiB for good. 0: never.",
    )

    @model_validator(mode="after")
    def _ordered(self) -> SupervisorSettings:
        if self.retry_max_s < self.retry_min_s:
            found = f"{self.retry_max_s:g}, which is below retry_min_s ({self.retry_min_s:g})"
            raise conflict("retry_max_s", "retry_min_s", found=found, allowed=f"{self.retry_min_s:g} or more")
        return self


def default_identity() -> str:
    """The host name: two flashed cards that were given different names do not evict each other."""
    return socket.gethostname() or "alto"


class Settings(Section):
    """alto.yaml as a whole."""

    identity: Name = Field(
        default_factory=default_identity,
        description="This station's name in the room; no two stations may share one. Default: the host name.",
    )
    name: Name | None = Field(None, description="The name shown to people. Default: the identity.")
    room: Name = Field("home", description="The room to join; everybody in it hears everybody.")
    livekit: LiveKitSettings = Field(
        description="The server, and the right to join: api_key with api_secret, or a token, or a token_endpoint; with "
        "url: embedded none is needed.",
    )
    audio: AudioSettings = Field(
        default_factory=AudioSettings, description="Sound: devices, volumes, block size, mixing."
    )
    log: LogSettings = Field(default_factory=LogSettings, description="What is written to standard output.")
    metrics: MetricsSettings = Field(
        default_factory=MetricsSettings, description="The line of figures that is logged from time to time."
    )
    status: StatusSettings = Field(
        default_factory=StatusSettings, description="How alto status, record and doctor reach a running station."
    )
    supervisor: SupervisorSettings = Field(
        default_factory=SupervisorSettings,
        description="How stubbornly alto comes back; the defaults suit nearly everybody.",
    )
