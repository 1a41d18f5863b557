"""The models of `model.py` as a tree of keys: what each may hold, in words and in numbers.

Loader, `alto show`, JSON Schema and reference all walk this tree, so that a key that is added to the models appears
in every one of them.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, StrEnum
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, SecretStr
from pydantic.fields import FieldInfo

from appliance.settings.model import Form, Settings

KeyPath = tuple[str, ...]

REQUIRED: Final = object()
"""The default of a key that has none."""


class Kind(StrEnum):
    """What stands behind a key."""

    SECTION = "section"
    MAPPING = "mapping"
    TEXT = "text"
    SECRET = "secret"  # noqa: S105 (a word, not a secret)
    PATH = "path"
    INTEGER = "integer"
    NUMBER = "number"
    SWITCH = "switch"
    CHOICE = "choice"


@dataclass(frozen=True)
class Key:
    """One key of alto.yaml."""

    path: KeyPath
    kind: Kind = Kind.TEXT
    default: object = None
    """`REQUIRED` when it has none; for a default that is made when needed: what was made here and now."""
    computed_default: bool = False
    optional: bool = False
    """Whether nothing (null) may be written."""
    description: str = ""
    minimum: float | None = None
    maximum: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    choices: tuple[str | int, ...] = ()
    enum: type[Enum] | None = None
    form: Form | None = None
    children: Mapping[str, Key] = field(default_factory=dict)
    """Of a section: its keys by name, in the model's order."""
    entry: Key | None = None
    """Of a mapping: what every value in it must be; its path ends in `*`."""
    entry_name: Key | None = None
    """Of a mapping: what every key in it must be."""

    @property
    def dotted(self) -> str:
        """As people write it: `audio.input.volume`."""
        return ".".join(self.path)

    @property
    def name(self) -> str:
        """The last word of it."""
        return self.path[-1] if self.path else ""

    @property
    def secret(self) -> bool:
        """Whether its value must never be shown."""
        return self.kind is Kind.SECRET or (self.entry is not None and self.entry.secret)

    @property
    def allowed(self) -> str:
        """What may be written, in words."""
        match self.kind:
            case Kind.SECTION:
                return "indented lines below it: " + some(self.children)
            case Kind.MAPPING:
                return f"indented lines below it, each a name, a colon and {self.entry.allowed if self.entry else ''}"
            case Kind.SWITCH:
                return "true, false"
            case Kind.CHOICE:
                return ", ".join(str(choice) for choice in self.choices)
            case Kind.INTEGER:
                return f"a whole number{self._range}"
            case Kind.NUMBER:
                return f"a number{self._range}"
            case Kind.PATH:
                return "the path of a file"
            case _:
                return self.form.words if self.form else f"text{self._lengths}"

    @property
    def _range(self) -> str:
        if self.minimum is None or self.maximum is None:
            return ""
        return f" from {number(self.minimum)} to {number(self.maximum)}"

    @property
    def _lengths(self) -> str:
        return f" of 1 to {self.max_length} characters" if self.max_length else ""

    def at(self, path: KeyPath) -> Key | None:
        """The key at `path` below this one; an entry of a mapping included."""
        here: Key | None = self
        for name in path:
            if here is None:
                return None
            here = here.entry.named(name) if here.entry else here.children.get(name)
        return here

    def named(self, name: str) -> Key:
        """This entry under its real name instead of `*`."""
        return replace(self, path=(*self.path[:-1], name))

    def leaves(self) -> Iterator[Key]:
        """Every key below that holds a value (mappings count as one), in file order."""
        for child in self.children.values():
            if child.kind is Kind.SECTION:
                yield from child.leaves()
            else:
                yield child

    def sections(self) -> Iterator[Key]:
        """Every section below, outer before inner."""
        for child in self.children.values():
            if child.kind is Kind.SECTION:
                yield child
                yield from child.sections()


@cache
def root() -> Key:
    """alto.yaml as a whole. Cached: it depends on the program only, never on a file."""
    return _section(Settings, ())


def split(dotted: str) -> KeyPath:
    """`audio.volumes.bob.smith` → ("audio", "volumes", "bob.smith"): a mapping's names may hold dots."""
    path: KeyPath = ()
    words = dotted.split(".")
    while words:
        path = (*path, words.pop(0))
        key = root().at(path)
        if key is not None and key.kind is Kind.MAPPING and words:
            return (*path, ".".join(words))
    return path


def number(value: float) -> str:
    """As people write it: 4, 0.5, 604800."""
    return str(int(value)) if value == int(value) else repr(value)


def some(names: Mapping[str, object] | tuple[str, ...], most: int = 8) -> str:
    """The first few names, and a sign when there are more."""
    listed = list(names)
    return ", ".join(listed[:most]) + (", …" if len(listed) > most else "")


def _section(model: type[BaseModel], path: KeyPath) -> Key:
    children = {name: _field(info, (*path, name)) for name, info in model.model_fields.items()}
    return Key(path=path, kind=Kind.SECTION, children=children)


def _field(info: FieldInfo, path: KeyPath) -> Key:
    key = _with(_typed(info.annotation, path), info.metadata)
    default = REQUIRED if info.is_required() else info.get_default(call_default_factory=True, validated_data={})
    computed = info.default_factory is not None and key.kind not in (Kind.SECTION, Kind.MAPPING)
    return replace(key, description=info.description or "", default=default, computed_default=computed)


def _typed(annotation: Any, path: KeyPath) -> Key:
    """The key that a type makes, without the limits that stand beside the type."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _with(_typed(args[0], path), args[1:])
    if origin in (Union, types.UnionType):
        (inner,) = (arg for arg in args if arg is not type(None))
        return replace(_typed(inner, path), optional=True)
    if origin is Literal:
        return Key(path=path, kind=Kind.CHOICE, choices=args)
    if origin is dict:
        entry_path = (*path, "*")
        return Key(
            path=path, kind=Kind.MAPPING, entry_name=_typed(args[0], entry_path), entry=_typed(args[1], entry_path)
        )
    if issubclass(annotation, BaseModel):
        return _section(annotation, path)
    if issubclass(annotation, Enum):
        return Key(path=path, kind=Kind.CHOICE, choices=tuple(one.value for one in annotation), enum=annotation)
    return Key(path=path, kind=_KINDS[annotation])


_KINDS: Final[dict[type, Kind]] = {
    bool: Kind.SWITCH,
    int: Kind.INTEGER,
    float: Kind.NUMBER,
    str: Kind.TEXT,
    SecretStr: Kind.SECRET,
    Path: Kind.PATH,
}


_LIMITS: Final = {
    # pydantic's name of a limit → ours; strictness and the like are not limits of the value
    "ge": "minimum",
    "le": "maximum",
    "min_length": "min_length",
    "max_length": "max_length",
}


def _with(key: Key, metadata: Any) -> Key:
    """The key with the limits that pydantic was told."""
    for item in metadata:
        if isinstance(item, FieldInfo):
            key = _with(key, item.metadata)
        elif isinstance(item, AfterValidator) and isinstance(item.func, Form):
            key = replace(key, form=item.func)
        else:
            limits = {ours: getattr(item, theirs) for theirs, ours in _LIMITS.items() if hasattr(item, theirs)}
            key = replace(key, **limits)
    return key
