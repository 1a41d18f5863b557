"""What an image is made of: a manifest for people and an SPDX document for programs. Pure but for reading the root."""

from __future__ import annotations

import argparse
import json
import os
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.parser import HeaderParser
from pathlib import Path
from typing import Final

SERVER: Final = "usr/lib/alto/tree/bin/livekit-server"


@dataclass(frozen=True, order=True)
class Part:
    """One thing with a version: `kind` is deb, pypi or golang, as package URLs have it."""

    kind: str
    name: str
    version: str
    licence: str = "NOASSERTION"

    @property
    def purl(self) -> str:
        """https://github.com/package-url/purl-spec"""
        match self.kind:
            case "deb":
                return f"pkg:deb/debian/{self.name}@{self.version.replace('+', '%2B').replace(':', '%3A')}?arch=arm64"
            case _:
                return f"pkg:{self.kind}/{self.name}@{self.version}"


def debian_packages(root: Path) -> Iterator[Part]:
    """From dpkg's own list: what is installed, nothing else."""
    for paragraph in (root / "var/lib/dpkg/status").read_text().split("\n\n"):
        fields = HeaderParser().parsestr(paragraph, headersonly=True)
        if (fields["Status"] or "").endswith(" installed"):
            yield Part("deb", fields["Package"], fields["Version"])


def wheels(root: Path) -> Iterator[Part]:
    """From the metadata that each wheel brings along; the same one for two versions of Python counts once."""
    for file in sorted((root / "usr/lib/alto/tree").glob("lib/*/*.dist-info/METADATA")):
        fields = HeaderParser().parsestr(file.read_text(errors="replace"), headersonly=True)
        licence = fields["License-Expression"] or "NOASSERTION"
        yield Part("pypi", re.sub(r"[-_.]+", "-", fields["Name"]).lower(), fields["Version"], licence)


def server(root: Path, dev: Path) -> Iterator[Part]:
    """The binary does not say it: from where it is built."""
    package = re.search(r"^SERVER_VERSION=(\S+)", dev.read_text(), re.MULTILINE)
    if package is not None and (root / SERVER).exists():
        yield Part("golang", "github.com/livekit/livekit-server", package[1], "Apache-2.0")


def manifest(parts: list[Part], version: str) -> str:
    """One line for each part, in order."""
    width = max(len(part.name) for part in parts)
    lines = [f"{part.kind:6} {part.name:{width}} {part.version}" for part in parts]
    return "\n".join([f"alto {version}, arm64", *lines, ""])


def spdx(parts: list[Part], version: str, made: datetime) -> dict[str, object]:
    """SPDX 2.3, https://spdx.github.io/spdx-spec/v2.3/. The same input gives the same document."""
    name = f"alto-{version}-arm64"
    image = {
        "SPDXID": "SPDXRef-image",
        "name": name,
        "versionInfo": version,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
    }
    packages = [
        {
            "SPDXID": f"SPDXRef-{part.kind}-{re.sub(r'[^A-Za-z0-9.-]', '-', part.name)}",
            "name": part.name,
            "versionInfo": part.version,
            "downloadLocation": "NOASSERTION",
            "filesAnalyzed": False,
            "licenseDeclared": part.licence,
            "externalRefs": [
                {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": part.purl}
            ],
        }
        for part in parts
    ]
    contains = [("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-image")]
    contains += [("SPDXRef-image", "CONTAINS", str(package["SPDXID"])) for package in packages]
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": name,
        "documentNamespace": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_DNS, name)}",
        "creationInfo": {"created": made.strftime("%Y-%m-%dT%H:%M:%SZ"), "creators": ["Tool: alto deploy/image/build"]},
        "packages": [image, *packages],
        "relationships": [
            {"spdxElementId": one, "relationshipType": what, "relatedSpdxElement": other}
            for one, what, other in contains
        ],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path, help="the root of the image")
    parser.add_argument("--version", required=True)
    parser.add_argument("--name", type=Path, required=True, help="where to write, without the ends of the names")
    args = parser.parse_args()
    dev = Path(__file__).resolve().parents[1] / "dev"
    parts = sorted({*debian_packages(args.root), *wheels(args.root), *server(args.root, dev)})
    made = datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), UTC)
    args.name.with_name(f"{args.name.name}.manifest.txt").write_text(manifest(parts, args.version))
    document = json.dumps(spdx(parts, args.version, made), indent=1)
    args.name.with_name(f"{args.name.name}.spdx.json").write_text(document + "\n")


if __name__ == "__main__":
    main()
