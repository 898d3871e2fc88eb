"""How long does one warm call take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness import Figure, Report, Setting, in_turn, median, microseconds, percentile

CALLS_PER_ROUND = 200


def measure(setting: Setting) -> Report:
    """Time calls of a no-op, one after the other, with one worker each."""
    ours, pool, relay, ray = setting.modicum(), setting.pool(), setting.relay(), setting.ray()
    contestants: dict[str, Callable[[], Any]] = {
        "Modicum `.remote`": lambda: ours.ask("calls", count=CALLS_PER_ROUND),
        "ProcessPoolExecutor `submit().result()`": lambda: pool.ask("calls", count=CALLS_PER_ROUND),
        "bytes through two bare processes and back": lambda: relay.ask("calls", count=CALLS_PER_ROUND),
    }
    if ray:
        contestants["Ray actor call"] = lambda: ray.ask("actor_calls", count=CALLS_PER_ROUND)
        contestants["Ray task"] = lambda: ray.ask("task_calls", count=CALLS_PER_ROUND)
    rounds = in_turn(3 * setting.rounds, contestants)
    for side in filter(None, (ours, pool, relay, ray)):
        side.close()

    taken = {name: [duration for found in lists for duration in found] for name, lists in rounds.items()}
    our_p50 = median(taken["Modicum `.remote`"])
    rows = [
        [name, microseconds(median(found)), microseconds(percentile(found, 99)), f"{our_p50 / median(found):.2f}"]
        for name, found in taken.items()
    ]
    figures = [
        Figure("`.remote(no-op)`, warm, p50", microseconds(our_p50), f"{name} {microseconds(median(found))}",
               f"{our_p50 / median(found):.2f}×", goal)
        for name, goal in (("Ray actor call", "≤ 0.5×"), ("Ray task", ""))
        if (found := taken.get(name))
    ]  # fmt: skip
    limits = (
        "A call wakes a process four times (server, agent, server, client); the bare processes show these wake-ups "
        "alone. The rest is Python: some 180 µs of CPU time in the server, 100 in the client and as much in the agent; "
        "held on one core they take 370 µs. Waking a process on another core of a virtual machine costs the difference."
    )
    return Report("Warm call", ["Who", "p50", "p99", "Modicum / it (p50)"], rows, figures, limits)
