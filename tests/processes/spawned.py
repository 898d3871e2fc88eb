"""Functions whose calls live on without their caller."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import modicum
from modicum.exception import InputCancellation

app = modicum.App("spawned")


@app.function(max_containers=2)
def record(folder: str, number: int) -> int:
    """Leave a mark for each time that it runs."""
    with open(os.path.join(folder, str(number)), "a") as marks:
        marks.write("x")
    time.sleep(0.005)
    return number


@app.function(max_containers=1)
def wait_for(path: str) -> str:
    while not os.path.exists(path):
        time.sleep(0.02)
    return path


@app.function(retries=3)
def run_on(folder: str) -> None:
    """Leave marks when it runs, and when it is interrupted."""
    Path(folder, f"runs {os.getpid()}").touch()
    try:
        time.sleep(60)
    except InputCancellation:
        Path(folder, "interrupted").touch()
        raise


@app.function()
async def run_on_async(folder: str) -> None:
    Path(folder, f"runs {os.getpid()}").touch()
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        Path(folder, "interrupted").touch()
        raise


@app.function()
def odd_fails(x: int) -> int:
    if x % 2:
        raise ValueError(f"{x} is odd")
    return x


@app.function()
def outer(x: int) -> tuple[str, int]:
    """Call another function, and leave a call of it behind."""
    return odd_fails.spawn(x).object_id, odd_fails.remote(x)
