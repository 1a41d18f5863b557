"""The layers, read from the imports: who may know whom."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
PACKAGE: Final = ROOT / "appliance"

LAYERS: Final = {
    # A file imports from lower numbers and from its own package; longest prefix wins.
    "ports": 0,
    "errors": 0,
    "clock": 0,
    "seam": 1,
    "settings": 1,
    "observe": 2,
    "realtime": 2,
    "audio": 3,
    "network": 3,
    "leg": 4,
    "outage": 4,
    "recovery": 4,
    "orchestrator": 5,
    "backoff": 4,
    "supervisor": 6,
    "reload": 6,
    "restart": 6,
    "afresh": 7,
    "report": 7,
    "doctor": 7,
    "card": 7,
    "app": 8,
    "run": 9,
    "cli": 10,
    "__main__": 11,
}

ONLY_IMPORTER: Final = {
    "sounddevice": {"audio/portaudio.py"},
    "livekit.rtc": {
        "network/crossing.py",
        "network/livekit_room.py",
        "network/processing.py",
        "network/sender.py",
    },
    "livekit.api": set(),
    "aiohttp": {"network/endpoint.py", "observe/exporter.py", "doctor/examination.py"},
    "jwt": {"network/token.py"},
    "soxr": {"audio/convert.py"},
    "rich": {"observe/watch.py"},
}
"""Third parties that one file of ours hides from the rest, so that it alone changes when they do."""

TOP_LEVEL: Final = {"pyproject.toml", "README.md", "appliance", "config", "deploy", "tests", "alto.yaml"}
MADE: Final = {"dist"}
"""What `deploy/dev package` leaves there, and git ignores."""


def _imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, module) of each import that runs; what only the type checker sees couples nothing."""
    for node in _running(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute here"
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def _running(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        yield node
        yield from _running(node)


def _part(module: str) -> str:
    """`appliance.audio.ring.FrameRing` → `audio`; the package's own name (`appliance.__version__`) → ``."""
    words = module.split(".")
    return words[1] if len(words) > 1 and words[1] in LAYERS else ""


def _sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def test_every_file_has_its_layer() -> None:
    unknown = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in _sources()} - set(LAYERS)
    assert unknown <= {"__init__"}, f"give these a layer in LAYERS and in ARCHITECTURE.md: {unknown}"


def test_imports_go_down() -> None:
    breaches = []
    for path in _sources():
        part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for line, module in _imports(path):
            other = _part(module) if module.startswith("appliance") else ""
            if other and other != part and LAYERS[other] >= LAYERS.get(part, 99) and LAYERS[part] > 0:
                breaches.append(f"{path.relative_to(ROOT)}:{line}: {part} must not import {other}")
            if other and LAYERS.get(part) == 0 and LAYERS[other] > 0:
                breaches.append(f"{path.relative_to(ROOT)}:{line}: {part} must not import {other}")
    assert not breaches, "\n".join(breaches)


def test_third_parties_stay_behind_one_file() -> None:
    breaches = []
    for path in _sources():
        where = path.relative_to(PACKAGE).as_posix()
        for line, module in _imports(path):
            for library, allowed in ONLY_IMPORTER.items():
                if (module == library or module.startswith(library + ".")) and where not in allowed:
                    breaches.append(f"appliance/{where}:{line}: {library} belongs behind {sorted(allowed)}")
    assert not breaches, "\n".join(breaches)


def test_the_top_level_is_closed() -> None:
    found = {p.name for p in ROOT.iterdir() if not p.name.startswith(".")}
    strangers = {name for name in found - TOP_LEVEL - MADE if not name.endswith(".egg-info")}
    assert not strangers


def test_the_map_in_the_architecture_names_every_file_and_no_other() -> None:
    text = (PACKAGE / "ARCHITECTURE.md").read_text()
    files = {p.relative_to(PACKAGE).as_posix() for p in _sources() if p.name not in ("__init__.py",)}
    missing = {f for f in files if f"`{f}`" not in text}
    assert not missing, f"not on the map: {sorted(missing)}"
