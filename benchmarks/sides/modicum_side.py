"""Modicum, as a contestant: its public API, its real containers."""

from __future__ import annotations

import os
import sys
import time
from itertools import pairwise

import modicum


def now() -> float:
    """Return the time since the machine's start: the same clock on both sides."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


IMPORTED_AT = now()  # in a container: when the function's module was loaded

app = modicum.App("benchmarks")


@app.function(min_containers=1, max_containers=1)
def one(value: object) -> object:
    return value


@app.function(min_containers=2, max_containers=2)
def two(value: object) -> object:
    return value


@app.function(min_containers=2, max_containers=2)
def nap(seconds: float) -> None:
    time.sleep(seconds)


@app.function(scaledown_window=2)
def cold() -> tuple[list[float], str]:
    """Return when the agent's process began, when it had loaded this module, when it ran this, and Python's version."""
    entered_at = now()
    with open("/proc/self/stat") as stat:
        ticks = int(stat.read().rpartition(")")[2].split()[19])
    began_at = (ticks + 0.5) / os.sysconf("SC_CLK_TCK")  # ticks of 10 ms: half of one off at the most
    return [began_at, IMPORTED_AT, entered_at], f"{sys.version_info.major}.{sys.version_info.minor}"


def main() -> None:
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from harness import durations, seconds, serve

    def calls(count: int) -> list[float]:
        return durations(lambda: one.remote(1), count)

    def mapped(count: int) -> float:
        return seconds(lambda: list(two.map(range(count))))

    def mixed(naps_s: list[float]) -> float:
        return seconds(lambda: list(nap.map(naps_s)))

    def payload(size: int, count: int) -> list[float]:
        data = os.urandom(size)
        return durations(lambda: one.remote(data), count, warm_up=1)

    def cold_call() -> dict[str, object]:
        called_at = now()
        inside, python = cold.remote()
        moments = [called_at, *inside, now()]
        phases = [later - earlier for earlier, later in pairwise(moments)]
        return {"is_cold": inside[1] > called_at, "total": sum(phases), "phases": phases, "python": python}

    with app.run():
        list(two.map(range(100)))
        list(nap.map([0.0] * 20))
        serve({"calls": calls, "map": mapped, "mixed": mixed, "payload": payload, "cold": cold_call})


if __name__ == "__main__":
    main()
