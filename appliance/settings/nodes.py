"""YAML text → a small tree that knows where everything is written.

PyYAML parses; what this composer adds is what it refuses: documents that explode, tags that build objects, keys
that are given twice. It goes on after an error where it can, so that one look shows them all. Nothing is
interpreted here: a scalar keeps the characters that were written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

import yaml
from yaml import events
from yaml.error import Mark, MarkedYAMLError, YAMLError

from appliance.settings import syntax
from appliance.settings.problems import GIVEN_TWICE, Problem

MAX_DEPTH: Final = 12  # alto.yaml nests four deep
MAX_NODES: Final = 3000  # aliases counted each time they are used; the full reference has some 100
MAX_RECOVERIES: Final = 8  # a file with more syntax errors is read again after these are mended
TAKEN_TAGS: Final = frozenset({None, "!", "tag:yaml.org,2002:str"})


@dataclass(frozen=True, slots=True)
class Place:
    """Line and column, from 1."""

    line: int
    column: int


@dataclass(slots=True)
class Scalar:
    """A value as it is written."""

    place: Place
    text: str
    plain: bool
    """Written without quotes (and without `!!str`)."""
    size: int = 1


@dataclass(slots=True)
class Sequence:
    """A list; its items are not kept, because no key takes one."""

    place: Place
    size: int = 1


@dataclass(slots=True)
class Mapping:
    """Keys and values, in file order; a key that is given twice is there once."""

    place: Place
    entries: list[tuple[Scalar, Node]] = field(default_factory=list)
    size: int = 1


Node = Scalar | Sequence | Mapping
Start = events.ScalarEvent | events.CollectionStartEvent
KeyPath = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Tree:
    """What a file holds."""

    root: Node | None
    """None: nothing but comments."""
    problems: list[Problem]
    complete: bool
    """False: a part of the file could not be read, so a missing key says nothing."""


def compose(text: str, file: str) -> Tree:
    """Read as much of the text as can be read. Never raises, whatever the text."""
    problems: list[Problem] = []
    readable = text
    for _ in range(MAX_RECOVERIES):
        composer = _Composer(readable, file)
        try:
            root = composer.document()
            return Tree(root, problems + composer.problems, complete=not problems and not composer.gave_up)
        except _Stop as stop:
            stopped = stop.problem
        except MarkedYAMLError as err:
            stopped = syntax.problem(err, readable, file)
        except (YAMLError, ValueError, OverflowError, RecursionError) as err:
            # PyYAML lets chr() and int() fail on "\UFFFFFFFF" or %YAML 1.999…9, with its place in the scanner.
            stopped = syntax.located(composer.mark(), "something that cannot be read", _fix(err), readable, file)
        problems.append(stopped)
        if composer.gave_up:
            break
        shorter = _without_rest_of_block(readable, stopped.line - 1)
        if shorter == readable:
            break
        readable = shorter
    return Tree(None, problems + composer.problems, complete=False)


def _fix(error: Exception) -> str:
    return "write it without escapes" if isinstance(error, (ValueError, OverflowError)) else "write the line anew"


def _without_rest_of_block(text: str, line: int) -> str:
    """The text with blank lines from `line` to the next line that begins in the first column."""
    lines = text.split("\n")
    end = line + 1
    while end < len(lines) and not re.match(r"[^\s#\-}\]]", lines[end]):
        end += 1
    return "\n".join([*lines[:line], *[""] * (end - line), *lines[end:]])


class _Stop(Exception):
    """Reading on makes no sense, or would take too long."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


class _Composer:
    def __init__(self, text: str, file: str) -> None:
        self.problems: list[Problem] = []
        self.gave_up = False
        self._file = file
        self._loader = yaml.SafeLoader(text)
        self._anchors: dict[str, Node | None] = {}
        self._nodes = 0

    def mark(self) -> Mark:
        """Where the scanner is."""
        return self._loader.get_mark()

    def document(self) -> Node | None:
        """The one document of the stream."""
        self._next()  # the stream's start
        if self._loader.check_event(events.StreamEndEvent):
            return None
        self._next()  # the document's start
        root = self._node(self._next(), ())
        self._next()  # the document's end
        event = self._next()
        if not isinstance(event, events.StreamEndEvent):
            self.gave_up = True
            fix = "keep one document: delete this line and what belongs to the other one"
            self._say(event, "", "a second document in the file", "one document", fix)
        return None if isinstance(root, Scalar) and root.plain and not root.text else root

    def _next(self) -> events.Event:
        event: events.Event = self._loader.get_event()  # type: ignore[no-untyped-call]
        return event

    def _node(self, event: events.Event, path: KeyPath) -> Node:
        if isinstance(event, events.AliasEvent):
            return self._count(self._aliased(event), event)
        if len(path) > MAX_DEPTH:
            raise self._stop(event, f"more than {MAX_DEPTH} levels of nesting", "write it flat, as in the reference")
        assert isinstance(event, events.ScalarEvent | events.CollectionStartEvent)
        self._check_tag(event)
        anchor = event.anchor
        if anchor is not None:
            self._anchors[anchor] = None  # not complete: an alias to it in here would never end
        node = self._count(self._fresh(event, path), event)
        if anchor is not None:
            self._anchors[anchor] = node
        return node

    def _fresh(self, event: Start, path: KeyPath) -> Node:
        match event:
            case events.ScalarEvent():
                return self._scalar(event)
            case events.SequenceStartEvent():
                return self._sequence(event, path)
            case _:
                return self._mapping(event, path)

    def _scalar(self, event: events.ScalarEvent) -> Scalar:
        plain = event.style is None and event.tag is None
        if plain and event.end_mark is not None and event.end_mark.line >= _place(event).line:
            fix = "write it on one line, or indent the next line like this one if it is a key of its own"
            self._say(event, "", "a value that goes on in the next line", syntax.ALLOWED, fix)
        text: str = event.value
        if any("\ud800" <= c <= "\udfff" for c in text):
            self._say(
                event, "", "half a character (\\uD800 to \\uDFFF)", "whole characters", "write the character itself"
            )
            text = "?"
        return Scalar(_place(event), text, plain)

    def _sequence(self, event: Start, path: KeyPath) -> Sequence:
        sequence = Sequence(_place(event))
        while not isinstance(item := self._next(), events.SequenceEndEvent):
            sequence.size += self._node(item, (*path, "-")).size
        return sequence

    def _mapping(self, event: Start, path: KeyPath) -> Mapping:
        mapping = Mapping(_place(event))
        lines: dict[str, int] = {}
        while not isinstance(at := self._next(), events.MappingEndEvent):
            key = self._node(at, (*path, "?"))
            below = (*path, displayed(key.text) if isinstance(key, Scalar) else "?")
            value = self._node(self._next(), below)
            mapping.size += key.size + value.size
            if self._check_key(key, at, below, lines):
                assert isinstance(key, Scalar)
                lines[key.text] = key.place.line
                mapping.entries.append((key, value))
        return mapping

    def _check_key(self, key: Node, event: events.Event, path: KeyPath, lines: dict[str, int]) -> bool:
        if not isinstance(key, Scalar):
            self._say(event, "", "a list or a section as a key", syntax.ALLOWED, "put a value that begins so in quotes")
        elif key.plain and key.text == "<<":
            self._say(
                event, ".".join((*path[:-1], "<<")), "a merge key", "keys of the section", "write the keys out here"
            )
        elif not key.text:
            self._say(event, ".".join(path[:-1]), "an empty key", syntax.ALLOWED, "write the key, or delete the line")
        elif key.text in lines:
            fix = f"delete one of them; the other is in line {lines[key.text]}"
            self._say(event, ".".join(path), GIVEN_TWICE, "each key once", fix)
        else:
            return True
        return False

    def _check_tag(self, event: Start) -> None:
        if event.tag not in TAKEN_TAGS:
            fix = "delete the tag, or put the value in quotes if it begins with !"
            self._say(event, "", "a tag (a word that begins with !)", "plain values", fix)

    def _aliased(self, event: events.AliasEvent) -> Node:
        if event.anchor not in self._anchors:
            raise self._stop(event, "a value that begins with *", "put the value in quotes")
        node = self._anchors[event.anchor]
        if node is None:
            raise self._stop(event, "an alias (*) inside the section that it stands for", "write the values out")
        return node

    def _count(self, node: Node, event: events.Event) -> Node:
        """Hold the tree to its bound, an aliased part counted as often as it is used."""
        self._nodes += node.size if isinstance(event, events.AliasEvent) else 1
        if self._nodes > MAX_NODES or node.size > MAX_NODES:
            self.gave_up = True
            raise self._stop(event, f"more than {MAX_NODES} entries", "is it the right file? write aliases (*) out")
        return node

    def _stop(self, event: events.Event, found: str, fix: str) -> _Stop:
        place = _place(event)
        return _Stop(Problem(self._file, place.line, place.column, "", found, syntax.ALLOWED, fix))

    def _say(self, event: events.Event, key: str, found: str, allowed: str, fix: str) -> None:
        place = _place(event)
        self.problems.append(Problem(self._file, place.line, place.column, key, found, allowed, fix))


def displayed(name: str) -> str:
    """A key that somebody typed, as a message may show it: `api_secret=Xyz` was one word, and is cut at the sign."""
    match = re.match(r"[\w.\- /]{1,40}", name)
    word = match.group() if match else ""
    return word if word == name else f"{word}…"


def _place(event: events.Event) -> Place:
    mark = event.start_mark
    return Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1)
