"""`alto show`: the effective configuration, each value with its origin, secrets masked. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from appliance.settings import emit
from appliance.settings.changes import value_at
from appliance.settings.keys import Key, Kind, root
from appliance.settings.load import Loaded
from appliance.settings.problems import DEFAULT
from appliance.settings.secrets import Right, public_url

_COMMENT_COLUMN = 48  # most lines are shorter, so that the origins stand in one column

_RIGHTS = {
    Right.EMBEDDED: "the embedded server's own key",
    Right.TOKEN: "livekit.token",
    Right.TOKEN_FILE: "livekit.token_file",
    Right.ENDPOINT: "livekit.token_endpoint",
    Right.KEY_AND_SECRET: "API key and secret",
}


def render(loaded: Loaded) -> str:
    """YAML that alto would read (but for the masked secrets), each value with its origin as a comment."""
    lines = [f"# effective configuration of {loaded.path}", f"# joins by: {_RIGHTS[loaded.right]}"]
    lines += _section(loaded, root())
    return "\n".join(lines)


def as_json(loaded: Loaded) -> dict[str, object]:
    """The same for programs: `settings` nested, `origins` and `unused` by dotted key."""
    return {
        "path": str(loaded.path),
        "right": str(loaded.right),
        "settings": _public(loaded),
        "origins": {key: str(origin) for key, origin in loaded.origins.items()},
        "unused": {key: str(origin) for key, origin in loaded.unused.items()},
        "warnings": [warning.as_dict() for warning in loaded.warnings],
    }


def _section(loaded: Loaded, section: Key) -> Iterator[str]:
    for key in section.children.values():
        indent = "  " * (len(key.path) - 1)
        if key.kind is Kind.SECTION:
            yield f"{indent}{key.name}:"
            yield from _section(loaded, key)
        elif key.kind is Kind.MAPPING:
            yield from _mapping(loaded, key, indent)
        else:
            line = f"{indent}{key.name}: {emit.scalar(_shown(loaded, key))}"
            yield _commented(line, _remark(loaded, key.dotted))


def _mapping(loaded: Loaded, key: Key, indent: str) -> Iterator[str]:
    entries = value_at(loaded.settings, key.path)
    assert isinstance(entries, dict)
    if not entries:
        yield _commented(f"{indent}{key.name}: {{}}", _remark(loaded, key.dotted))
        return
    yield f"{indent}{key.name}:"
    for name, value in entries.items():
        line = f"{indent}  {emit.text(name)}: {emit.scalar(value)}"
        yield _commented(line, _remark(loaded, f"{key.dotted}.{name}"))


def _commented(line: str, remark: str) -> str:
    return f"{line:<{_COMMENT_COLUMN}}  # {remark}"


def _remark(loaded: Loaded, dotted: str) -> str:
    if dotted in loaded.unused:
        return f"{loaded.unused[dotted]} is not used: alto joins by {_RIGHTS[loaded.right]}"
    return str(loaded.origins.get(dotted, DEFAULT))


def _shown(loaded: Loaded, key: Key) -> object:
    value = value_at(loaded.settings, key.path)
    return public_url(value) if isinstance(value, str) and "://" in value else value


def _public(loaded: Loaded) -> dict[str, object]:
    tree: dict[str, object] = {}
    for key in root().leaves():
        here = tree
        for name in key.path[:-1]:
            below = here.setdefault(name, {})
            assert isinstance(below, dict)
            here = below
        here[key.name] = emit.plain(_shown(loaded, key))
    return tree
