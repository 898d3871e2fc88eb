"""A program whose function takes longer than anybody waits."""

from __future__ import annotations

import time

import modicum

app = modicum.App("sleeper")


@app.function()
def sleep() -> None:
    print("asleep", flush=True)
    time.sleep(600)
