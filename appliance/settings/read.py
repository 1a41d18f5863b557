"""A tree of nodes → the values for the keys of alto.yaml, and everything in it that does not fit."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from appliance.settings import scalars
from appliance.settings.keys import Key, KeyPath, Kind, some
from appliance.settings.nodes import Mapping, Node, Place, Scalar, Tree, displayed
from appliance.settings.problems import UNKNOWN_KEY, Problem, Severity
from appliance.settings.suggest import suggestion

_ONE_LINE = "write it as indented lines below the key"


@dataclass(slots=True)
class Written:
    """What a file says."""

    values: dict[KeyPath, object] = field(default_factory=dict)
    """One for each leaf key that has a usable value."""
    places: dict[KeyPath, Place] = field(default_factory=dict)
    """Where the value of a leaf, or the key of a section, is written; unusable ones included."""
    problems: list[Problem] = field(default_factory=list)
    refused: set[KeyPath] = field(default_factory=set)
    """Keys that are misspelled, or written with a value that is not usable: their problem is in `problems`."""


def read_tree(tree: Tree, root: Key, file: str) -> Written:
    """Hold the tree against the keys. Never raises."""
    reader = _Reader(file)
    reader.written.problems += tree.problems
    if tree.root is None:
        return reader.written
    if isinstance(tree.root, Mapping):
        reader.written.places[()] = tree.root.place
        reader.section(root, tree.root)
    elif tree.complete:
        reader.say(tree.root.place, "", _described(tree.root), '"key: value" lines', _top_fix(tree.root))
    return reader.written


class _Reader:
    def __init__(self, file: str) -> None:
        self.file = file
        self.written = Written()

    def section(self, section: Key, mapping: Mapping) -> None:
        """Every entry of a section."""
        for name, node in mapping.entries:
            key = section.children.get(name.text)
            if key is None:
                self._unknown(section, name)
                continue
            self.written.places[key.path] = name.place
            self._value(key, node)

    def _value(self, key: Key, node: Node) -> None:
        if key.kind in (Kind.SECTION, Kind.MAPPING):
            self._nested(key, node)
        else:
            self._leaf(key, node)

    def _nested(self, key: Key, node: Node) -> None:
        if isinstance(node, Scalar) and scalars.is_null(node.text, node.plain):
            return  # `audio:` with every line below it commented out
        if not isinstance(node, Mapping):
            self._refuse(key, node.place, _described(node), _ONE_LINE)
        elif key.kind is Kind.SECTION:
            self.section(key, node)
        else:
            self._entries(key, node)

    def _entries(self, key: Key, mapping: Mapping) -> None:
        assert key.entry is not None
        for name, node in mapping.entries:
            entry = key.entry.named(name.text)
            self._warn_of_other_reading(entry, name, "name")
            self._leaf(entry, node)

    def _leaf(self, key: Key, node: Node) -> None:
        self.written.places[key.path] = node.place
        if not isinstance(node, Scalar):
            self._refuse(key, node.place, _described(node), f"write one value behind {key.name}:")
            return
        try:
            self.written.values[key.path] = scalars.read(key, node.text, plain=node.plain)
        except scalars.Unfit as unfit:
            self._refuse(key, node.place, unfit.found or scalars.shown(key, node.text, plain=node.plain), unfit.fix)
        else:
            self._warn_of_other_reading(key, node, "value")

    def _warn_of_other_reading(self, key: Key, scalar: Scalar, what: str) -> None:
        """A text that other programs (and the editor's check) read as something else should stand in quotes."""
        as_text = key.kind in (Kind.TEXT, Kind.SECRET, Kind.PATH) or what == "name"
        if not (as_text and scalar.plain) or scalars.is_null(scalar.text, scalar.plain):
            return
        shown = scalars.shown(key, scalar.text) if what == "value" else scalars.shown(_NAME, scalar.text)
        if other := scalars.other_reading(scalar.text):
            fix = f"put the {what} in quotes: other programs take it for {other}"
            self.say(scalar.place, key.dotted, f"{shown}, taken as text", "", fix, Severity.WARNING)
        elif scalar.text[:1] in "“”„‘’«»":
            fix = "use straight quotes if they are meant to surround the text"
            self.say(
                scalar.place, key.dotted, "typographic quotes, taken as part of the text", "", fix, Severity.WARNING
            )

    def _unknown(self, section: Key, name: Scalar) -> None:
        dotted = ".".join((*section.path, displayed(name.text)))
        fix = suggestion(section, name.text)
        if meant := re.fullmatch(r'did you mean "(\w+)"\?', fix):
            self.written.refused.add((*section.path, meant[1]))  # misspelled is not missing
        elif meant := re.fullmatch(r'did you mean "(\w+)" at the beginning of a line\?', fix):
            self.written.refused.add((meant[1],))  # nor is what only stands in the wrong place
        most = 8 if "did you mean" in fix else len(section.children)
        self.say(name.place, dotted, UNKNOWN_KEY, some(section.children, most), fix)

    def _refuse(self, key: Key, place: Place, found: str, fix: str) -> None:
        self.written.refused.add(key.path)
        self.say(place, key.dotted, found, key.allowed, fix)

    def say(
        self, place: Place, key: str, found: str, allowed: str, fix: str, severity: Severity = Severity.ERROR
    ) -> None:
        """Note a problem at a place of this file."""
        problem = Problem(self.file, place.line, place.column, key, found, allowed, fix, severity)
        self.written.problems.append(problem)


_NAME = Key(path=("name",), kind=Kind.TEXT)


def _described(node: Node) -> str:
    match node:
        case Scalar():
            return "a single value"
        case Mapping():
            return "a section"
        case _:
            return "a list"


def _top_fix(node: Node) -> str:
    if isinstance(node, Scalar):
        return 'write "key: value" lines, such as "room: home"'
    return "delete the - at the beginning of the lines"
