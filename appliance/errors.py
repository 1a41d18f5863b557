"""Every way alto can fail, as one tree.

Each class carries its `policy`: what the supervisor does about it. The supervisor therefore has one branch for
errors, and a new error needs no new code there. `reason` is the stable word that logs, status and lamp show.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar


class Policy(StrEnum):
    """What to do about an error."""

    RETRY = "retry"
    """Passes by itself: try again after a jittered, growing pause."""
    RETRY_ON_EVENT = "retry_on_event"
    """A thing is missing: the session stays up, the part is tried again when the thing may be back."""
    ASK_HUMAN = "ask_human"
    """Somebody must act; said in log, status and lamp, and still tried, slowly."""
    EXIT = "exit"
    """Nothing to run: the process ends (exit code 78)."""


class AltoError(Exception):
    """A failure with a name, a cause and a cure.

    `str()` is the whole sentence for a person: what happened, then the fix. `facts` are extra log fields; they
    never hold a secret.
    """

    policy: ClassVar[Policy] = Policy.RETRY
    reason: ClassVar[str] = "error"

    def __init__(self, message: str, *, fix: str = "", **facts: object) -> None:
        super().__init__(f"{message}; {fix}" if fix else message)
        self.message = message
        self.fix = fix
        self.facts = facts


class ConfigError(AltoError):
    """alto.yaml, a flag or an environment variable cannot be used. `problems` has them all, in file order."""

    policy = Policy.EXIT
    reason = "config"

    def __init__(self, problems: tuple[object, ...]) -> None:
        super().__init__("\n".join(str(p) for p in problems))
        self.problems = problems


class AudioError(AltoError):
    """A sound device failed."""

    policy = Policy.RETRY_ON_EVENT
    reason = "audio"


class DeviceMissing(AudioError):
    """No device of that name is there now."""

    reason = "device_missing"


class DeviceAmbiguous(AudioError):
    """The name fits several devices; only the person who wrote it knows which one is meant."""

    policy = Policy.ASK_HUMAN
    reason = "device_ambiguous"


class ControlMissing(AudioError):
    """The sound card has no volume control of that name, or it has no such level."""

    reason = "control_missing"


class DeviceBusy(AudioError):
    """Another program holds the device."""

    reason = "device_busy"


class DeviceLost(AudioError):
    """The device was open and stopped delivering (unplugged, or its driver hangs)."""

    reason = "device_lost"


class FormatUnsupported(AudioError):
    """The device is there and refuses every format that alto can use."""

    policy = Policy.ASK_HUMAN
    reason = "format_unsupported"


class NetworkError(AltoError):
    """The room cannot be reached or was left."""

    reason = "network"
    let_in = False
    """Whether the room had let us in before: that ends the session of another device with our identity."""


class Unreachable(NetworkError):
    """Nothing answers at the address (refused, no route, DNS, TLS, HTTP 5xx)."""

    reason = "unreachable"


class AttemptTimedOut(NetworkError):
    """Something accepted the connection and then stayed silent."""

    reason = "timed_out"


class ServerClosed(NetworkError):
    """The server ended the session (shut down, room deleted, signal lost for good)."""

    reason = "server_closed"


class Rejected(NetworkError):
    """The server, or the token endpoint, says no: wrong key, expired token, wrong room."""

    policy = Policy.ASK_HUMAN
    reason = "rejected"


class Evicted(NetworkError):
    """Another device joined under the same identity, or somebody removed this one."""

    policy = Policy.ASK_HUMAN
    reason = "evicted"


class EncryptionRefused(NetworkError):
    """The server would carry the audio in clear although encryption is configured."""

    policy = Policy.ASK_HUMAN
    reason = "encryption_refused"


class Stalled(AltoError):
    """Everything looks connected, yet frames stopped moving."""

    reason = "stalled"


class Unmended(Stalled):
    """The server answers again, and the broken session did not come back by itself."""

    reason = "unmended"
