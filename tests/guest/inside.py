from __future__ import annotations
import subprocess
def sh(command: str) -> str:
    r = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    return r.stdout + r.stderr
