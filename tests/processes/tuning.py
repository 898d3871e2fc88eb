"""Functions that are called with settings of their own."""

from __future__ import annotations

import os
import time

import modicum

app = modicum.App("tuning")


@app.function(max_containers=1, timeout=60)
def who(seconds: float = 0.0) -> int:
    time.sleep(seconds)
    return os.getpid()


@app.function()
def who_is_asked_here(timeout: int) -> tuple[int, int]:
    """Call the same function, as it is and with settings, from a container."""
    return who.remote(), who.with_options(timeout=timeout).remote()
