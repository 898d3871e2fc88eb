"""How many no-ops per second does a map finish."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from harness import Figure, Report, Setting, in_turn, median

INPUTS = 10_000
CHUNKS = (1, 16, 256, 2500)


def measure(setting: Setting) -> Report:
    """Map 10,000 no-ops over two workers."""
    ours, pool, ray = setting.modicum(), setting.pool(), setting.ray()
    contestants: dict[str, Callable[[], Any]] = {"Modicum `.map`": lambda: ours.ask("map", count=INPUTS)}
    for size in CHUNKS:
        name = f"ProcessPoolExecutor(2).map, chunks of {size}"
        contestants[name] = partial(pool.ask, "map", count=INPUTS, chunksize=size)
    if ray:
        contestants["Ray tasks"] = lambda: ray.ask("map", count=INPUTS)
    rounds = in_turn(setting.rounds, contestants)
    for side in filter(None, (ours, pool, ray)):
        side.close()

    rates = {name: INPUTS / median(taken) for name, taken in rounds.items()}
    our_rate = rates["Modicum `.map`"]
    rows = [[name, f"{rate:,.0f}", f"{our_rate / rate:.2f}"] for name, rate in rates.items()]
    figures = [
        Figure("`.map` of 10,000 no-ops, 2 containers", f"{our_rate:,.0f}/s", f"{label} {rates[name]:,.0f}/s",
               f"{our_rate / rates[name]:.1f}×", goal)
        for name, label, goal in (
            ("ProcessPoolExecutor(2).map, chunks of 1", "process pool", "≥ 2×"),
            ("Ray tasks", "Ray tasks", ""),
        )
        if name in rates
    ]  # fmt: skip
    limits = (
        "Chunks are the caller's promise that inputs are alike; Modicum chooses the number of inputs in a frame itself "
        "and takes them back when one turns out slow (see the mixed map), so the fair line is chunks of 1. What limits "
        "it is the server's one core: 10 to 15 µs of CPU time per input there, 7 in the client."
    )
    return Report("Map throughput", ["Who", "inputs per second", "Modicum / it"], rows, figures, limits)
