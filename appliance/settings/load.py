"""alto.yaml, flags and environment → `Settings`, with every problem in one go and the origin of every value.

Nothing is kept between two calls: a file that was half written gives problems now and settings a moment later.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

from pydantic import SecretStr

from appliance.errors import ConfigError
from appliance.settings import scalars
from appliance.settings.advice import advise
from appliance.settings.files import Unreadable, read_small_file
from appliance.settings.kept import Kept
from appliance.settings.keys import Key, KeyPath, Kind, root, split
from appliance.settings.model import Settings
from appliance.settings.nodes import Place, Scalar, Sequence, compose
from appliance.settings.problems import DEFAULT, UNKNOWN_KEY, Origin, Problem, Severity, Source, in_order
from appliance.settings.read import Written, read_tree
from appliance.settings.rights import Layer, Value, join
from appliance.settings.secrets import Right, right_of
from appliance.settings.suggest import suggestion
from appliance.settings.text import decode
from appliance.settings.validate import validate

__all__ = ["Loaded", "Origin", "Problem", "Severity", "Source", "find_config", "load"]

LIMIT_BYTES: Final = 64 * 1024  # ten times the reference with every comment; a larger file is the wrong file

SEARCHED: Final = (Path("alto.yaml"), Path("/boot/firmware/alto.yaml"), Path("/etc/alto/alto.yaml"))

_ENVIRONMENT: Final[Mapping[str, KeyPath]] = {
    # LiveKit's own names, as its SDKs and its command line use them
    "LIVEKIT_URL": ("livekit", "url"),
    "LIVEKIT_API_KEY": ("livekit", "api_key"),
    "LIVEKIT_API_SECRET": ("livekit", "api_secret"),
    "LIVEKIT_TOKEN": ("livekit", "token"),
}
_CREDENTIALS: Final[Mapping[str, KeyPath]] = {
    "alto.api_key": ("livekit", "api_key_file"),
    "alto.api_secret": ("livekit", "api_secret_file"),
    "alto.token": ("livekit", "token_file"),
}


@dataclass(frozen=True, slots=True)
class Loaded:
    """A usable configuration."""

    settings: Settings
    origins: Mapping[str, Origin]
    """Where each value came from, by dotted key; a mapping's entries one by one."""
    warnings: tuple[Problem, ...]
    path: Path
    right: Right
    """The one right to join that won."""
    unused: Mapping[str, Origin]
    """Parts of other rights, by dotted key: written, and not used because `right` won."""
    data: bytes = field(repr=False)
    """The file's content that all this was read from; it may hold secrets."""
    kept_at: float | None = None
    """When that content was kept, seconds since 1970; None: it is what lies at `path`."""


def find_config(explicit: Path | None, env: Mapping[str, str]) -> Path:
    """The file to load: the one that was named, or the first that exists. Raises ConfigError with where it looked."""
    if explicit is not None:
        return explicit
    if named := env.get("ALTO_CONFIG"):
        return Path(named)
    for path in SEARCHED:
        if _may_exist(path):
            return path
    looked = "$ALTO_CONFIG, " + ", ".join("./alto.yaml" if path == SEARCHED[0] else str(path) for path in SEARCHED)
    fix = f"create /etc/alto/alto.yaml, or name the file with -c; looked in {looked}"
    raise ConfigError((Problem("alto.yaml", 1, 1, "", "no configuration file", "", fix),))


def load(
    path: Path,
    *,
    flags: Mapping[str, object] = MappingProxyType({}),
    env: Mapping[str, str],
    flag_names: Mapping[str, str] = MappingProxyType({}),
    kept: Kept | None = None,
) -> Loaded:
    """Read everything and lay it over each other: flags, environment, file, credentials, defaults.

    `flags` has dotted keys; None counts as not given. `flag_names` says how a key's flag is spelled where that is
    not `--` and the key. `kept` has the file's content when it is not to be read. Raises ConfigError with all
    problems, those of the file first and in its order.
    """
    data, status = (kept.data, kept.status) if kept else _read(path)
    written, complete = _understood(data, path)
    problems = list(written.problems)
    layers = (_flags(flags, flag_names, problems), _environment(env), _file(written, path), _credentials(env))
    top = written.places.get((), Place(1, 1))
    livekit = _origin(path, written.places.get(("livekit",), top))
    joined = join(layers, livekit=livekit, known=written.refused, complete=complete)
    settings, broken = validate(joined.values, livekit=livekit, known=written.refused, complete=complete)
    problems += joined.problems + broken
    errors = [problem for problem in problems if problem.severity is Severity.ERROR]
    if errors or settings is None:
        raise ConfigError(in_order(errors))
    origins = {key: value.origin for key, value in joined.values.items()}
    problems += advise(settings, origins, path, status)
    return Loaded(
        settings=settings,
        origins=_all_origins(settings, origins),
        warnings=in_order(problems),
        path=path,
        right=right_of(settings.livekit),
        unused={".".join(key): origin for key, origin in joined.unused.items()},
        data=data,
        kept_at=kept.at if kept else None,
    )


def _may_exist(path: Path) -> bool:
    """A file that cannot even be looked at is taken: loading it says why, and the next one would be a surprise."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return path.is_symlink()
    except OSError:
        return True
    return True


# ---- the layers --------------------------------------------------------------------------------------------------


def _read(path: Path) -> tuple[bytes, os.stat_result]:
    """The file's content and its status. Raises ConfigError."""
    try:
        return read_small_file(path, limit_bytes=LIMIT_BYTES)
    except Unreadable as err:
        raise ConfigError((Problem(str(path), 1, 1, "", err.found, "a text file", err.fix),)) from err


def _understood(data: bytes, path: Path) -> tuple[Written, bool]:
    """The values and problems in the file's content, and whether all of it could be read. Raises ConfigError."""
    text, problems = decode(data, str(path))
    if text is None:
        raise ConfigError(in_order(problems))
    if not text.strip():
        fix = "write at least livekit: and below it url: (a power cut may have emptied the file)"
        raise ConfigError((Problem(str(path), 1, 1, "", "an empty file", '"key: value" lines', fix),))
    tree = compose(text, str(path))
    return read_tree(tree, root(), str(path)), tree.complete and not isinstance(tree.root, Scalar | Sequence)


def _origin(path: Path, place: Place) -> Origin:
    return Origin(Source.FILE, str(path), place.line, place.column)


def _file(written: Written, path: Path) -> Layer:
    """Paths in the file are relative to the file: a service's working directory is nobody's idea of a place."""
    return {
        key: Value(_beside(path, value) if isinstance(value, Path) else value, _origin(path, written.places[key]))
        for key, value in written.values.items()
    }


def _beside(path: Path, value: Path) -> Path:
    return path.parent / _expanded(value)


def _expanded(value: Path) -> Path:
    try:
        return value.expanduser()
    except RuntimeError:  # no such user, or a service without a home
        return value


def _environment(env: Mapping[str, str]) -> Layer:
    values = {name: env.get(name, "").strip() for name in _ENVIRONMENT}
    return {
        path: Value(_typed(path, values[name]), Origin(Source.ENVIRONMENT, name))
        for name, path in _ENVIRONMENT.items()
        if values[name]
    }


def _typed(path: KeyPath, text: str) -> object:
    key = root().at(path)
    return SecretStr(text) if key is not None and key.secret else text


def _credentials(env: Mapping[str, str]) -> Layer:
    """systemd's credentials, named as files: their content is read when it is used."""
    directory = env.get("CREDENTIALS_DIRECTORY", "")
    return {
        path: Value(Path(directory, name), Origin(Source.CREDENTIAL, name))
        for name, path in _CREDENTIALS.items()
        if directory and os.path.lexists(Path(directory, name))
    }


def _flags(flags: Mapping[str, object], names: Mapping[str, str], problems: list[Problem]) -> Layer:
    layer: dict[KeyPath, Value] = {}
    for dotted, value in flags.items():
        if value is None:
            continue
        origin = Origin(Source.FLAG, names.get(dotted, f"--{dotted}"))
        path = split(dotted)
        key = root().at(path)
        if key is None or key.kind in (Kind.SECTION, Kind.MAPPING):
            problems.append(_unknown_flag(path, origin))
            continue
        try:
            layer[path] = Value(_from_flag(key, value), origin)
        except scalars.Unfit as unfit:
            found = unfit.found or scalars.shown(key, str(value))
            problems.append(origin.problem(dotted, found, key.allowed, unfit.fix))
    return layer


def _from_flag(key: Key, value: object) -> object:
    """What argparse made of it, or the text that it left alone. Raises Unfit."""
    if isinstance(value, str):
        plain = key.kind in (Kind.INTEGER, Kind.NUMBER, Kind.SWITCH)
        value = scalars.read(key, value, plain=plain)
    elif isinstance(value, bool) and key.kind is not Kind.SWITCH:
        raise scalars.Unfit(f"give {key.allowed}")
    return _expanded(value) if isinstance(value, Path) else value


def _unknown_flag(path: KeyPath, origin: Origin) -> Problem:
    section, at = root(), 0
    while at < len(path) - 1 and path[at] in section.children:
        section, at = section.children[path[at]], at + 1
    known = path[at] in section.children
    fix = "name one of its keys" if known else suggestion(section, path[at])
    return origin.problem(".".join(path), UNKNOWN_KEY, ", ".join(section.children), fix)


# ---- origins -----------------------------------------------------------------------------------------------------


def _all_origins(settings: Settings, origins: Mapping[KeyPath, Origin]) -> dict[str, Origin]:
    """Origins for every leaf, defaults included, in the order of the model."""
    everywhere: dict[str, Origin] = {}
    for key in root().leaves():
        entries = [path for path in origins if len(path) > len(key.path) and path[: len(key.path)] == key.path]
        for path in entries or [key.path]:
            everywhere[".".join(path)] = origins.get(path, DEFAULT)
    return everywhere
