"""How a process of a side does one thing again and again, at the same time as others."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable


def compete(operate: Callable[[], object], for_s: float, counts: int = 1) -> None:
    """Say that we are ready, wait for the start, and say what was done in so many seconds."""
    operate()
    done = 0
    print("ready", flush=True)
    start = float(sys.stdin.readline())
    while time.time() < start:
        time.sleep(0.001)
    while time.time() < start + for_s:
        operate()
        done += counts
    print(done, flush=True)
