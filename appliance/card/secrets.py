"""Secrets in the text of alto.yaml: found, blanked where the file stays on the card, and put back in from before. Pure.

Only the characters of the secrets change: comments, order and layout are the owner's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

import yaml

from appliance.settings.keys import KeyPath, Kind, root
from appliance.settings.nodes import compose
from appliance.settings.problems import Problem

TAKEN: Final = "(taken by alto)"
"""Stands on the card where a secret was. No secret: it has blanks and parentheses."""


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a secret, or its stand-in, is written."""

    path: KeyPath
    start: int
    """Index of its first character in the text, quotes included."""
    end: int
    value: str
    line: int
    """From 1."""
    column: int
    tail: str = ""
    """What has to follow a value that is written in place of this one: a block takes its line's end along."""


def known(text: str) -> dict[KeyPath, str]:
    """The secrets in a text, by key; stand-ins are none."""
    return {spot.path: spot.value for spot in spots(text) if spot.value != TAKEN}


def blanked(text: str) -> str:
    """The text with `TAKEN` in place of each secret."""
    return _replaced(text, {spot: f'"{TAKEN}"' for spot in spots(text) if spot.value != TAKEN})


def filled(text: str, secrets: Mapping[KeyPath, str]) -> str:
    """The text with the secrets that are known in place of their stand-ins."""
    return _replaced(text, {spot: _quoted(secrets[spot.path]) for spot in _stand_ins(text) if spot.path in secrets})


def orphans(text: str, file: str) -> list[Problem]:
    """Stand-ins that are left: this station never had the secret, another one took it."""
    fix = "write the secret here again: the station that took it keeps it to itself"
    return [
        Problem(file, spot.line, spot.column, ".".join(spot.path), TAKEN, "the secret itself", fix)
        for spot in _stand_ins(text)
    ]


def spots(text: str) -> list[Spot]:
    """Every secret that has a value, in file order. Empty for a text that is not whole: nothing of it is taken."""
    if not compose(text, "").complete:  # it bounds what the text may do; PyYAML's own composer does not
        return []
    document = yaml.compose(text, Loader=yaml.SafeLoader)
    return sorted((_without_properties(spot, text) for spot in _below(document, ())), key=lambda spot: spot.start)


def _without_properties(spot: Spot, text: str) -> Spot:
    """The value alone: an anchor before it stays, because an alias may name it."""
    match = re.match(r"(?:[&!]\S*\s+)*", text[spot.start : spot.end])
    return replace(spot, start=spot.start + match.end()) if match else spot


def _quoted(value: str) -> str:
    """In double quotes, which hold in every place of a YAML file, between braces too."""
    return yaml.safe_dump(value, default_style='"', allow_unicode=True, width=len(value) * 8 + 80).rstrip("\n")


def _stand_ins(text: str) -> list[Spot]:
    return [spot for spot in spots(text) if spot.value == TAKEN]


def _below(node: yaml.Node | None, path: KeyPath) -> Iterator[Spot]:
    key = root().at(path)
    if key is None:
        return
    if isinstance(node, yaml.MappingNode) and key.kind in (Kind.SECTION, Kind.MAPPING):
        for name, value in node.value:
            if isinstance(name, yaml.ScalarNode):
                yield from _below(value, (*path, name.value))
    elif isinstance(node, yaml.ScalarNode) and key.kind is Kind.SECRET and node.value.strip():
        mark, end = node.start_mark, node.end_mark
        tail = "\n" if node.style in ("|", ">") else ""
        yield Spot(path, mark.index, end.index, node.value.strip(), mark.line + 1, mark.column + 1, tail)


def _replaced(text: str, by: Mapping[Spot, str]) -> str:
    """From the end to the beginning, so that places stay true; an alias is where its anchor is, and is done once."""
    done: set[int] = set()
    for spot in sorted(by, key=lambda spot: spot.start, reverse=True):
        if spot.start not in done:
            done.add(spot.start)
            text = text[: spot.start] + by[spot] + spot.tail + text[spot.end :]
    return text
