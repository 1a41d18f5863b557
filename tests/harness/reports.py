"""What a long measurement leaves behind: a table, its data and a picture."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any


def write(
    folder: Path, name: str, *, table: Sequence[str], data: Mapping[str, Any], plot: Callable[[Path], None]
) -> list[Path]:
    """`name`.txt, .json and .png in that folder, which is made. `plot` draws the picture."""
    folder.mkdir(parents=True, exist_ok=True)
    text, numbers, picture = (folder / f"{name}.{kind}" for kind in ("txt", "json", "png"))
    text.write_text("\n".join(table) + "\n")
    numbers.write_text(json.dumps(data, indent=1) + "\n")
    plot(picture)
    return [text, numbers, picture]
