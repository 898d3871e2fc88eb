"""A function that leaves a daemon behind, which knows nothing of us, and waits."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import modicum

app = modicum.App("strays")

DAEMON = "(setsid env -i sleep 100 >/dev/null 2>&1 & echo $!)"


@app.function()
def leave_one(folder: str) -> int:
    started = subprocess.run(["sh", "-c", DAEMON], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, check=True)
    pid = int(started.stdout)
    (Path(folder) / "daemons" / str(pid)).touch()
    while not (Path(folder) / "go").exists():
        time.sleep(0.02)
    return os.getpid()
