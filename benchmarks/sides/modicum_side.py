"""Modicum, as a contestant: its public API, its real containers."""

from __future__ import annotations

import os
import sys
import time

import modicum

IMPORTED_AT = time.monotonic()  # in a container: when the function's module was loaded

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
def cold() -> tuple[float, float, str]:
    """Return when this container had loaded this module, when it ran the function, and its Python's version."""
    return IMPORTED_AT, time.monotonic(), f"{sys.version_info.major}.{sys.version_info.minor}"


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
        called_at = time.monotonic()
        imported_at, entered_at, python = cold.remote()
        returned_at = time.monotonic()
        is_cold = imported_at > called_at
        phases = [imported_at - called_at, entered_at - imported_at, returned_at - entered_at]
        return {"is_cold": is_cold, "total": returned_at - called_at, "phases": phases, "python": python}

    with app.run():
        list(two.map(range(100)))
        list(nap.map([0.0] * 20))
        serve({"calls": calls, "map": mapped, "mixed": mixed, "payload": payload, "cold": cold_call})


if __name__ == "__main__":
    main()
