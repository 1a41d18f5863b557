"""Which right to join wins when several places offer one.

A right wins as a whole: a token from the environment is never joined with half of a key pair from the file. The
place that comes first (flag, environment, file, credential) decides the kind; the parts of a key pair are then taken
from wherever they come first, so that a key in the environment works with the secret's file in alto.yaml.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Final

from appliance.settings.keys import KeyPath
from appliance.settings.model import EMBEDDED
from appliance.settings.problems import MISSING, Origin, Problem, Severity, Source


@dataclass(frozen=True, slots=True)
class Value:
    """A value with its origin."""

    value: object
    origin: Origin


Layer = Mapping[KeyPath, Value]
"""What one place says."""

URL: Final[KeyPath] = ("livekit", "url")

_Part = tuple[KeyPath, ...]
"""Two ways to give the same thing: inline, or the name of a file."""

_TOKEN: Final[_Part] = (("livekit", "token"), ("livekit", "token_file"))
_ENDPOINT: Final[_Part] = (("livekit", "token_endpoint"),)
_KEY: Final[_Part] = (("livekit", "api_key"), ("livekit", "api_key_file"))
_SECRET: Final[_Part] = (("livekit", "api_secret"), ("livekit", "api_secret_file"))
_RIGHTS: Final[tuple[tuple[_Part, ...], ...]] = ((_TOKEN,), (_ENDPOINT,), (_KEY, _SECRET))
"""The kinds, each with its parts. Within one place the first wins: a ready token is the most particular."""

ALLOWED: Final = "api_key with api_secret (or their _file), token, token_file or token_endpoint"


@dataclass(frozen=True, slots=True)
class Joined:
    """All layers as one."""

    values: Mapping[KeyPath, Value]
    unused: Mapping[KeyPath, Origin]
    """Parts of rights that lost, and where they are written."""
    problems: list[Problem]


def join(layers: Sequence[Layer], *, livekit: Origin, known: set[KeyPath], complete: bool) -> Joined:
    """Lay the layers over each other, first one on top.

    `livekit` is where the section is written, `known` are keys that are written but unusable (no second complaint
    about these), `complete` says whether a key that is not there is really missing.
    """
    values: dict[KeyPath, Value] = {}
    for layer in reversed(layers):
        values |= layer
    offered = {path: value for path, value in values.items() if path in _ALL}
    problems = [problem for layer in layers for problem in _contradictions(layer)]
    url = values.get(URL)
    if url is not None and url.value == EMBEDDED:
        kept: dict[KeyPath, Value] = {}
        problems += _needless(offered)
    else:
        parts = _winner(layers)
        kept = dict(found for part in parts if (found := _topmost(layers, part)) is not None)
        if complete and not known & _ALL and url is not None and not nearly_embedded(str(url.value)):
            problems += _gaps(parts, kept, livekit)
    values = {path: value for path, value in values.items() if path not in _ALL} | kept
    unused = {path: value.origin for path, value in offered.items() if path not in kept and value.value is not None}
    return Joined(values, unused, problems)


def nearly_embedded(url: str) -> bool:
    """Whether somebody meant the word embedded."""
    return SequenceMatcher(None, url.lower(), EMBEDDED).ratio() > 0.8


_ALL: Final = frozenset(path for right in _RIGHTS for part in right for path in part)


def _given(layer: Layer, part: _Part) -> list[KeyPath]:
    return [path for path in part if path in layer and layer[path].value is not None]


def _winner(layers: Sequence[Layer]) -> tuple[_Part, ...]:
    for layer in layers:
        for right in _RIGHTS:
            if any(_given(layer, part) for part in right):
                return right
    return ()


def _topmost(layers: Sequence[Layer], part: _Part) -> tuple[KeyPath, Value] | None:
    for layer in layers:
        if given := _given(layer, part):
            return given[0], layer[given[0]]
    return None


def _contradictions(layer: Layer) -> Iterator[Problem]:
    """Two rights, or a value and its file, in one place that somebody wrote by hand."""
    if any(value.origin.source not in (Source.FILE, Source.FLAG) for value in layer.values()):
        return  # the environment may have been made for several programs: there the order decides
    for right in _RIGHTS:
        for part in right:
            if len(given := _given(layer, part)) > 1:
                first, second = _by_place(layer, given)
                found, fix = f"{second[-1]} beside {first[-1]}", f"delete {first[-1]} or {second[-1]}"
                yield layer[second].origin.problem(".".join(second), found, "one of the two", fix)
    firsts = [given[0] for right in _RIGHTS if (given := [path for part in right for path in _given(layer, part)])]
    if len(firsts) > 1:
        first, *others = _by_place(layer, firsts)
        for other in others:
            found, fix = f"a second right to join beside {first[-1]}", f"delete {first[-1]} or {other[-1]}"
            yield layer[other].origin.problem(".".join(other), found, f"one of: {ALLOWED}", fix)


def _by_place(layer: Layer, paths: list[KeyPath]) -> list[KeyPath]:
    return sorted(paths, key=lambda path: (layer[path].origin.line, layer[path].origin.column))


def _needless(offered: Layer) -> Iterator[Problem]:
    for path, value in offered.items():
        if value.origin.source is Source.FILE and value.value is not None:
            fix = "delete it, or give the url of the server that it belongs to"
            found = "a right to join, not used with url: embedded"
            yield value.origin.problem(".".join(path), found, "", fix, Severity.WARNING)


def _gaps(parts: tuple[_Part, ...], kept: Layer, livekit: Origin) -> Iterator[Problem]:
    if not parts:
        fix = "add api_key and api_secret_file (or use url: embedded to try alto on one machine)"
        yield livekit.problem("livekit", "no right to join", ALLOWED, fix)
        return
    for part in parts:
        if not any(path in kept for path in part):
            beside = next(iter(kept.items()))
            allowed = " or ".join(path[-1] for path in part)
            fix = f"add {part[-1][-1]}: it belongs to {beside[0][-1]}"
            yield beside[1].origin.problem(".".join(part[0]), MISSING, allowed, fix)
