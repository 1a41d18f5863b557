"""Make `user-data` and `rpi-preseed.toml` from `template`, so that both say the same: python deploy/cloud-init/make.py.

Raspberry Pi OS reads one or the other at its first boot, depending on its age; each starts what installs alto.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent

HEAD: Final = """\
# Installs alto at the first boot. On the boot partition beside it: alto-install.service, alto_…_arm64.deb, alto.yaml.
# Made from template by make.py.
"""
USER_DATA: Final = """\
# Did Raspberry Pi Imager write a user-data already? Keep it, and add the lines from runcmd on at its end; if it has a
# runcmd of its own, add only what is below ours to that one.
"""


def commands() -> list[str]:
    return (HERE / "template").read_text().splitlines()


def user_data() -> str:
    """For cloud-init: Raspberry Pi OS since the end of 2025, Debian, Ubuntu."""
    lines = "".join(f"  - {json.dumps(command)}\n" for command in commands())
    return f"#cloud-config\n{HEAD}{USER_DATA}runcmd:\n{lines}"


def preseed() -> str:
    """For rpi-preseed: what Raspberry Pi Imager writes next."""
    lines = "".join(f"  {json.dumps(command)},\n" for command in commands())
    return f'{HEAD}config_version = "1.1"\n\n[runcmd]\nearly = [\n{lines}]\n'


if __name__ == "__main__":
    (HERE / "user-data").write_text(user_data())
    (HERE / "rpi-preseed.toml").write_text(preseed())
