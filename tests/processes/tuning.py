"""Functions that are called with settings of their own."""

from __future__ import annotations

import os
import threading
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


together = threading.Barrier(3)


@app.function(max_containers=1)
def meet(x: int) -> int:
    """Return once three of them are in this container."""
    together.wait(30)
    return x


@app.function(single_use_containers=True)
def once() -> int:
    return os.getpid()


attempts: list[int] = []


@app.function(max_containers=1, retries=modicum.Retries(max_retries=2, initial_delay=0.0))
def fails_twice() -> int:
    attempts.append(os.getpid())
    if len(attempts) < 3:
        raise ConnectionError(f"attempt {len(attempts)}")
    return len(attempts)


@app.function(max_containers=1)
def always_fails() -> None:
    attempts.append(os.getpid())
    raise ConnectionError(f"attempt {len(attempts)}")
