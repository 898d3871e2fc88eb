"""Functions whose containers come and go."""

from __future__ import annotations

import os
import time

import modicum

app = modicum.App("scaling")


@app.function(min_containers=1, max_containers=1)
def kept() -> int:
    return os.getpid()


@app.function(max_containers=1, scaledown_window=2)
def brief() -> int:
    return os.getpid()


@app.function(max_containers=3)
def wide(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()
