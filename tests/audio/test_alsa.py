"""What libasound is asked for, and what it is kept from."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

START = """
from pathlib import Path
from appliance.audio.portaudio import PortAudioBackend
backend = PortAudioBackend()
backend._start()
print(*(info.pcm for info in backend.devices()))
"""


def test_portaudio_starts_without_opening_any_device_and_all_names_are_there_afterwards(tmp_path: Path) -> None:
    opened = tmp_path / "opened"
    conf = tmp_path / "asound.conf"
    # The plugin "file" makes its file when somebody opens it.
    conf.write_text(f'pcm.bait {{ type file slave.pcm {{ type null }} file "{opened}" format "raw" }}\n')
    environment = {**os.environ, "ALSA_CONFIG_PATH": str(conf)}
    done = subprocess.run([sys.executable, "-c", START], env=environment, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert "bait" in done.stdout.split()
    assert not opened.exists()
