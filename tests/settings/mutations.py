"""Damaged configuration files, one for each seed: what typing errors, editors, power cuts and malice leave behind.

`mutate(seed)` is pure: the same seed gives the same bytes on every machine.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]

VALID: Final = tuple(
    path.read_bytes()
    for path in (
        ROOT / "alto.yaml",
        ROOT / "config" / "alto.reference.yaml",
        *sorted((ROOT / "config" / "examples").glob("*.yaml")),
    )
)

SURPRISES: Final = (
    *("no", "on", "yes", "off", "y", "~", "null", "true", "012", "0x10", "0b1", "0o17", "1e3", "1_000", "12:30"),
    *("2026-11-24", ".inf", ".nan", "-0", "1e999", "9" * 5000, "0,8", "50%", "30s", "", " ", "''", '""', "[]", "{}"),
    *("[a, b]", "{a: b}", "- x", "&a b", "*a", "<<", "!!python/object:os.system x", "!foo", "| x", "> x", "# x"),
    *("%", "@x", "`x", '"\\d"', '"\\UFFFFFFFF"', '"\\uD800"', "'open", '"open', "a: b", "a:b", "{", "[", "}", "]"),
    *("ws://", "wss://a b", "embeded", "http//x", "wss://u:p@host", "é", "\u00a0", "\u2028", "\ufeff", "\x00", "\x1b"),
    *("\ud800", "=", "?", "? a", "---", "...", "%YAML 9.9", "\t", "x" * 3000, "-1", "1e-400", "+1", "0", "00", "08"),
)
KEYS: Final = (
    *("room", "Room", "livekit", "inpt", "device", "api-key", "apiSecret", "volumes", "<<", "", "no", "1", "token"),
    *("api_key_file", "server", "mic", "x" * 500, "audio.input.device", "\u00e9", "null", "~", "? a", "- a", "*a"),
)
BYTES: Final = (
    b"\x00",
    b"\t",
    b"\r",
    b"\n",
    b"\xff",
    b"\xe4",
    b"\xef\xbb\xbf",
    b":",
    b"#",
    b'"',
    b"'",
    b"{",
    b"[",
    b"-",
)


def mutate(seed: int) -> bytes:
    """A valid file with one to four things done to it."""
    rng = random.Random(seed)
    data = rng.choice(VALID)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
        data = rng.choice(_MUTATIONS)(rng, data)
    return data


# ---- bytes -------------------------------------------------------------------------------------------------------


def _flip(rng: random.Random, data: bytes) -> bytes:
    if not data:
        return data
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]


def _insert(rng: random.Random, data: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice(BYTES) * rng.choice((1, 1, 1, 2, 500)) + data[at:]


def _cut(rng: random.Random, data: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    return rng.choice((data[:at], data[at:], data[:at] + b"\0" * (len(data) - at)))


def _remove(rng: random.Random, data: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + data[at + rng.choice((1, 1, 2, 8)) :]


def _recode(rng: random.Random, data: bytes) -> bytes:
    text = data.decode("utf-8", "replace")
    encoding = rng.choice(("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig", "latin-1", "utf-7"))
    return (text + rng.choice(("", "# ä\n"))).encode(encoding, "replace")


def _noise(rng: random.Random, data: bytes) -> bytes:
    return rng.randbytes(rng.randrange(200))


# ---- lines -------------------------------------------------------------------------------------------------------


def _on_lines(change: Callable[[random.Random, list[str]], None]) -> Callable[[random.Random, bytes], bytes]:
    def mutation(rng: random.Random, data: bytes) -> bytes:
        lines = data.decode("utf-8", "surrogateescape").split("\n")
        change(rng, lines)
        return "\n".join(lines).encode("utf-8", "surrogateescape")

    return mutation


def _delete_line(rng: random.Random, lines: list[str]) -> None:
    del lines[rng.randrange(len(lines))]


def _double_line(rng: random.Random, lines: list[str]) -> None:
    at = rng.randrange(len(lines))
    lines.insert(rng.randrange(len(lines)), lines[at])


def _swap_lines(rng: random.Random, lines: list[str]) -> None:
    one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]


def _indent_line(rng: random.Random, lines: list[str]) -> None:
    at = rng.randrange(len(lines))
    lines[at] = rng.choice((" ", "  ", "\t", "    \t", "\u00a0", "- ", "-")) + lines[at]


def _outdent_line(rng: random.Random, lines: list[str]) -> None:
    at = rng.randrange(len(lines))
    lines[at] = lines[at][rng.choice((1, 2)) :] if lines[at].startswith(" ") else lines[at].lstrip("#")


def _uncomment_all(rng: random.Random, lines: list[str]) -> None:
    lines[:] = [line.replace("##", "", 1).replace("#", "", 1) if rng.random() < 0.5 else line for line in lines]


def _windows(rng: random.Random, lines: list[str]) -> None:
    end = rng.choice(("\r", "\r\r", " ", "\t"))
    lines[:] = [line + end for line in lines]


def _strange_line(rng: random.Random, lines: list[str]) -> None:
    line = f"{' ' * rng.choice((0, 2, 4))}{rng.choice(KEYS)}{rng.choice((': ', ':', ' '))}{rng.choice(SURPRISES)}"
    lines.insert(
        rng.randrange(len(lines) + 1), line.encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape")
    )


def _explode(rng: random.Random, lines: list[str]) -> None:
    lines.append("bomb0: &b0 [x, x, x, x, x, x, x, x, x]")
    for level in range(1, rng.choice((2, 10, 40))):
        lines.append(f"bomb{level}: &b{level} [" + ", ".join([f"*b{level - 1}"] * 9) + "]")


def _nest(rng: random.Random, lines: list[str]) -> None:
    depth = rng.choice((5, 50, 2000))
    lines.insert(
        rng.randrange(len(lines) + 1),
        rng.choice(("x: " + "[" * depth, "x: " + "{a: " * depth, "- " * depth, "? " * depth, "x: " + "!a " * depth)),
    )


# ---- values ------------------------------------------------------------------------------------------------------


def _replace_value(rng: random.Random, lines: list[str]) -> None:
    at = rng.choice([at for at, line in enumerate(lines) if ":" in line] or [0])
    key = lines[at].split(":", 1)[0]
    value = rng.choice(SURPRISES).encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape")
    lines[at] = f"{key.replace('#', '') if rng.random() < 0.7 else key}: {value}"


def _rename_key(rng: random.Random, lines: list[str]) -> None:
    at = rng.choice([at for at, line in enumerate(lines) if ":" in line] or [0])
    key, colon, value = lines[at].partition(":")
    indent = key[: len(key) - len(key.lstrip())]
    word = list(key.strip())
    if word and rng.random() < 0.6:
        word[rng.randrange(len(word))] = rng.choice("aeiouxyz_-A ")
        lines[at] = indent + "".join(word) + colon + value
    else:
        lines[at] = indent + rng.choice(KEYS) + colon + value


_MUTATIONS: Final[tuple[Callable[[random.Random, bytes], bytes], ...]] = (
    *(_flip, _insert, _cut, _remove, _recode, _noise),
    *(
        _on_lines(change)
        for change in (
            *(_delete_line, _double_line, _swap_lines, _indent_line, _outdent_line, _uncomment_all, _windows),
            *(_strange_line, _strange_line, _explode, _nest),
            *(_replace_value, _replace_value, _replace_value, _rename_key, _rename_key),
        )
    ),
)
