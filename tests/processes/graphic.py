"""Functions that have GPUs, or are told that they do."""

from __future__ import annotations

import os
import time
from pathlib import Path

import modicum

app = modicum.App("graphic")


def mine() -> list[str]:
    return os.environ["CUDA_VISIBLE_DEVICES"].split(",")


@app.function(gpu="H100")
def hold(folder: str) -> list[str]:
    """Have one until there is a file `go`."""
    Path(folder, mine()[0]).touch()
    while not Path(folder, "go").exists():
        time.sleep(0.02)
    return mine()


@app.function(gpu="H100:2")
def both() -> list[str]:
    return mine()


@app.function(gpu=["B200", "T4"])
def ranked() -> list[str]:
    return mine()


@app.function(gpu="H100:8")
def eight() -> list[str]:
    return mine()


@app.function()
def none() -> list[str]:
    return mine()
