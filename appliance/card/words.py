"""`alto.status.txt`: what became of alto.yaml and how the station is doing, for somebody who holds the card. Pure.

Nothing in it changes while nothing changes: it is written to a card that a power cut can hurt.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, Final

from appliance.card.inbox import Outcome, Verdict
from appliance.settings.problems import printable

WIDTH: Final = 78  # Windows' Notepad, unmaximised
NEWLINE: Final = "\r\n"  # for Notepad; every other editor copes
WRITTEN: Final = "Written "

_TALKING: Final = ("online", "degraded")

_MEANS: Final = {
    "online": "in its room, microphone and loudspeaker run",
    "degraded": "in its room, but a part of it does not work",
    "recovering": "mending a connection that broke",
    "connecting": "joining its room",
    "starting": "starting",
    "waiting": "not in its room; it tries again by itself",
    "blocked": "not in its room, and somebody has to do something",
    "stopping": "stopping",
    "stopped": "stopped",
}


def status_file(verdict: Verdict, status: Mapping[str, Any] | None, *, written: str) -> bytes:
    """The whole file. `status` is the station's own report; None when it does not answer."""
    lines = [
        *_file(verdict),
        "",
        *_station(status),
        "",
        f"{WRITTEN}{written}. This file is only written, never read.",
        "",
    ]
    return NEWLINE.join(lines).encode("utf-8")


def same_news(one: bytes, other: bytes) -> bool:
    """Whether two status files say the same; when they were written is no news."""
    return _without_date(one) == _without_date(other)


def _without_date(data: bytes) -> list[bytes]:
    return [line for line in data.splitlines() if not line.startswith(WRITTEN.encode())]


# ---- the file ----------------------------------------------------------------------------------------------------


def _file(verdict: Verdict) -> Iterator[str]:
    match verdict.outcome:
        case Outcome.ABSENT:
            yield from _paragraph("SETTINGS: there is no alto.yaml on this card.")
            yield from _paragraph("The station runs with the last good settings that it has, if it has any.")
        case Outcome.REJECTED:
            count = "a mistake" if len(verdict.problems) == 1 else f"{len(verdict.problems)} mistakes"
            yield from _paragraph(f"SETTINGS: {verdict.name} has {count} and is not used.")
            yield from _paragraph("The station goes on with the last good settings, if it has any.")
            yield from _list(verdict.problems)
        case _:
            yield from _paragraph(f"SETTINGS: {verdict.name} is valid and in use.")
            yield from _list(verdict.warnings)
    if verdict.blanked:
        yield from _paragraph("Its secrets were taken off the card. To change one, write the new one in its place.")
    if verdict.stuck:
        yield from _paragraph(f"What is secret is still on the card: {verdict.stuck}")


# ---- the station -------------------------------------------------------------------------------------------------


def _station(status: Mapping[str, Any] | None) -> Iterator[str]:
    if status is None:
        yield from _paragraph("STATION: it does not run.")
        yield from _paragraph("What to do: correct the mistakes above. None there? Take the power off and on again.")
        return
    state = str(status.get("state", ""))
    name, room = status.get("identity", "alto"), status.get("room", "?")
    yield from _paragraph(f"STATION: {name} is {state}: {_MEANS.get(state, 'see its log')}.")
    yield from _paragraph(f'Room: "{room}" at {status.get("url", "?")}')
    if state not in _TALKING:
        yield from _trouble(status)
    for leg, name in (("input", "Microphone"), ("output", "Loudspeaker")):
        yield from _leg(name, (status.get("legs") or {}).get(leg))
    yield from _paragraph(f"alto {status.get('version', '?')}")


def _trouble(told: Mapping[str, Any]) -> Iterator[str]:
    if why := told.get("detail") or told.get("reason"):
        yield from _paragraph(f"Why: {why}", indent="  ")
    if fix := told.get("fix"):
        yield from _paragraph(f"What to do: {fix}", indent="  ")


def _leg(name: str, leg: Mapping[str, Any] | None) -> Iterator[str]:
    match (leg or {}).get("state"):
        case "ok":
            yield from _paragraph(f"{name}: {(leg or {}).get('device') or 'works'}")
        case "off":
            yield from _paragraph(f"{name}: switched off in alto.yaml")
        case "missing":
            yield from _paragraph(f"{name}: missing")
            yield from _trouble(leg or {})


# ---- pieces ------------------------------------------------------------------------------------------------------


def _list(items: tuple[str, ...]) -> Iterator[str]:
    for item in items:
        yield from _paragraph(item, indent="  ")


def _paragraph(text: str, indent: str = "") -> list[str]:
    clean = printable(" ".join(text.split()))
    return textwrap.wrap(clean, WIDTH, initial_indent=indent, subsequent_indent=f"{indent}  ", break_on_hyphens=False)
