"""What the SDK's and the server's words mean: pure functions from texts to errors with a cure.

The SDK raises one untyped error with a text, and the text of a refusal carries the server's answer, which quotes the
whole access token. So no text leaves here unscrubbed, and no error keeps the SDK's as its cause.

The texts were collected from livekit 1.2.1 against livekit-server 1.13.5 and small HTTP servers; the contract tests
ask for each of them again, so that an update that words them differently is noticed.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final
from urllib.parse import urlsplit

from appliance.errors import AttemptTimedOut, Evicted, NetworkError, Rejected, ServerClosed, Unreachable

_TOKEN: Final = re.compile(r"eyJ[\w-]+\.[\w-]+(\.[\w-]*)?|(?<=access_token=)[^&\s]+|(?<=Bearer )\S+")
LONGEST_TEXT: Final = 200  # of somebody else's words in our log lines

CHECK_URL: Final = "check livekit.url"
CHECK_KEYS: Final = "check livekit.api_key and livekit.api_secret against the server's"
CHECK_CLOCK: Final = "check the clocks of this device and of the server"

_REFUSALS: Final = (
    # what the text contains, what it means, what helps
    ("signature is invalid", "the server does not accept the token's signature: the API secret is wrong", CHECK_KEYS),
    ("invalid API key", "the server does not know the API key", CHECK_KEYS),
    ("is expired", "the server says that the token has expired", f"get a new token, or {CHECK_CLOCK}"),
    ("not valid yet", "the server says that the token is not valid yet", CHECK_CLOCK),
    ("permissions denied", "the token does not allow to join this room", "make one with roomJoin for this room"),
    ("invalid authorization", "the server does not recognise the token as one", "check livekit.token"),
    ("invalid characters", "the token contains characters that no token has", "check livekit.token"),
    ("unsupported scheme", "this is no address of a server", CHECK_URL),
    ("failed to parse the url", "this is no address of a server", CHECK_URL),
)

_SILENCES: Final = ("timed out", "JoinResponse", "timeout")


class Obstacle(Enum):
    """Why nobody answers at an address: what it means, and what helps."""

    REFUSED = ("nothing listens there", "start the server, or " + CHECK_URL)
    NO_NAME = ("the name cannot be resolved", "check the network and DNS, and " + CHECK_URL)
    NO_ROUTE = ("there is no route", "check the network")
    NO_CONNECTION = (
        "nobody answers",
        f"check cable and network, whether the server runs, and {CHECK_URL}; a firewall may swallow what is sent",
    )
    HUNG_UP = ("it hangs up without an answer", "look into the log of the server, or of the proxy before it")
    NO_TLS = ("it does not speak TLS", "use ws:// instead of wss://, or the server's TLS port")
    NO_TRUST = ("its TLS certificate is not trusted", "add the CA to this machine's trust store")
    NO_LIVEKIT = ("something answers, but no LiveKit server", CHECK_URL)
    WEB_PAGE = ("a web page answers, but no LiveKit server", f"{CHECK_URL}; is there a sign-in page?")
    TLS_ONLY = ("it sends whoever comes without TLS away", "use wss:// instead of ws://")
    SERVER_FAULT = ("the server, or the proxy before it, has a fault", "look into its log")
    TOO_MANY = ("the server asks to come back later", "wait")


_OBSTACLES: Final = (
    # what the SDK's text contains
    ("Connection refused", Obstacle.REFUSED),
    ("failed to lookup address", Obstacle.NO_NAME),
    ("InvalidContentType", Obstacle.NO_TLS),
    ("certificate", Obstacle.NO_TRUST),
    ("unreachable", Obstacle.NO_ROUTE),
    ("404", Obstacle.NO_LIVEKIT),
    ("handshake error", Obstacle.WEB_PAGE),
    ("WebSocket protocol error", Obstacle.NO_LIVEKIT),
    ("server error", Obstacle.SERVER_FAULT),
    ("429", Obstacle.TOO_MANY),
)


def redact(text: str) -> str:
    """`text` without anything that looks like a token."""
    return _TOKEN.sub("<token>", text)


def scrub(text: str) -> str:
    """`text` as one short line without anything that looks like a token."""
    line = " ".join(redact(text).split())
    return line if len(line) <= LONGEST_TEXT else line[: LONGEST_TEXT - 1] + "…"


def address(url: str) -> str:
    """The part of a URL that may be shown: no query, no user, no password."""
    try:
        parts = urlsplit(url)
    except ValueError:  # nobody can tell where its password ends
        return f"{url.partition('://')[0]}://…"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"


def span(seconds: float) -> str:
    """A length of time for a person: in the largest unit of which there are two at least."""
    for size_s, word in ((31_536_000, "years"), (86_400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size_s:
            return f"{seconds / size_s:.0f} {word}"
    return f"{seconds:.0f} seconds"


def signal_url(url: str) -> str:
    """Where the SDK would knock, for a plain HTTP question: http for ws and https for wss."""
    return re.sub(r"^ws", "http", url).rstrip("/") + "/rtc"


def connect_failure(text: str, url: str) -> NetworkError:
    """The error that the SDK's ConnectError stands for."""
    where, said = address(url), scrub(text).removeprefix("engine: signal failure: ")
    for part, meaning, fix in _REFUSALS:
        if part in text:
            return Rejected(f"{where}: {meaning}", fix=fix, said=said)
    if "401" in text or "403" in text:
        return Rejected(f"{where}: the server refused the token ({said})", fix=CHECK_KEYS, said=said)
    for part in _SILENCES:
        if part in text:
            return silence(url, said=said)
    for part, obstacle in _OBSTACLES:
        if part in text:
            return unreachable(url, obstacle, said=said)
    return Unreachable(f"{where}: {said}", fix=CHECK_URL, said=said)


def unreachable(url: str, obstacle: Obstacle, *, said: str = "") -> Unreachable:
    """Nobody who could be a LiveKit server answers at `url`; `said` is the system's or somebody else's words."""
    meaning, fix = obstacle.value
    return Unreachable(f"{address(url)}: {meaning}", fix=fix, said=scrub(said))


def silence(url: str, *, after_s: float | None = None, said: str = "") -> AttemptTimedOut:
    """Something accepted the connection and the join did not come to an end."""
    span = "" if after_s is None else f" within {after_s:g} s"
    return AttemptTimedOut(
        f"{address(url)}: no complete answer{span}",
        fix="the server may hang, or a firewall may block its media ports",
        said=said,
    )


def session_end(reason: str) -> NetworkError:
    """The error for the SDK's disconnect reason (its enum's name). Two of them need a person."""
    if reason == "DUPLICATE_IDENTITY":
        return Evicted(
            "another device joined under the same identity", fix="give each station its own identity", said=reason
        )
    if reason == "PARTICIPANT_REMOVED":
        return Evicted("somebody removed this station from the room", fix="ask who runs the server", said=reason)
    return ServerClosed(_ENDS.get(reason, f"the session ended ({reason})"), said=reason)


_ENDS: Final = {
    "SERVER_SHUTDOWN": "the server is shutting down",
    "ROOM_DELETED": "the room was deleted",
    "ROOM_CLOSED": "the room was closed",
    "STATE_MISMATCH": "the server no longer knows this session",
    "JOIN_FAILURE": "the media connection did not come up",
    "SIGNAL_CLOSE": "the connection to the server was lost",
    "CONNECTION_TIMEOUT": "the connection to the server timed out",
    "MEDIA_FAILURE": "the media connection failed",
    "UNKNOWN_REASON": "the connection was lost and did not come back",
}
