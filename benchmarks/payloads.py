"""How fast do values travel there and back."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from harness import Report, Setting, in_turn, median, milliseconds

SIZES = {"1 KB": 10**3, "10 KB": 10**4, "100 KB": 10**5, "1 MB": 10**6, "10 MB": 10**7, "100 MB": 10**8}


def measure(setting: Setting) -> Report:
    """Send bytes of growing size to a function that returns them."""
    ours, pool, ray = setting.modicum(), setting.pool(), setting.ray()
    sides = {"Modicum": ours, "Ray actor": ray, "ProcessPoolExecutor": pool}
    names = [name for name, side in sides.items() if side]
    rows = []
    for label, size in SIZES.items():
        count = max(1, min(50, 20_000_000 // size))
        contestants: dict[str, Callable[[], Any]] = {
            name: partial(side.ask, "payload", size=size, count=count) for name, side in sides.items() if side
        }
        rounds = in_turn(setting.rounds, contestants)
        taken = {name: median([duration for found in lists for duration in found]) for name, lists in rounds.items()}
        rows.append([label, *(_cell(size, taken[name]) for name in names)])
    for side in filter(None, sides.values()):
        side.close()
    limits = (
        "Values over 1 MiB travel as blobs: pieces of at most 1 MiB, four of them on their way, through a file of the "
        "server's. Each value crosses a Unix socket four times, and a socket holds 208 KiB, so every megabyte costs "
        "some twenty wake-ups. Ray's processes share memory; a container shares none with us."
    )
    return Report("Payloads, both ways", ["Size", *names], rows, [], limits)


def _cell(size: int, taken_s: float) -> str:
    return f"{milliseconds(taken_s)} ({2 * size / taken_s / 1e6:,.0f} MB/s)"
