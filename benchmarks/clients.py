"""How many calls per second do eight clients make that call at the same time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness import Figure, Report, Setting, in_turn, median

CLIENTS = 8
FOR_S = 3.0


def measure(setting: Setting) -> Report:
    """Let eight processes call a no-op, each one call after the other, on two workers."""
    ours, ray = setting.clients(), setting.ray_clients()
    contestants: dict[str, Callable[[], Any]] = {
        "Modicum `.remote`, 2 containers": lambda: ours.ask("clients", count=CLIENTS, for_s=FOR_S),
    }
    if ray:
        contestants["Ray, 2 actors"] = lambda: ray.ask("clients", count=CLIENTS, for_s=FOR_S)
    rounds = in_turn(min(setting.rounds, 3), contestants)
    for side in filter(None, (ours, ray)):
        side.close()

    rates = {name: median(found) for name, found in rounds.items()}
    our_rate, *others = rates.values()
    figures = [
        Figure(f"`.remote(no-op)` of {CLIENTS} clients at once", f"{our_rate:,.0f}/s", f"Ray actors {rate:,.0f}/s",
               f"{our_rate / rate:.1f}×", "")
        for rate in others
    ]  # fmt: skip
    rows = [[name, f"{rate:,.0f}", f"{our_rate / rate:.2f}"] for name, rate in rates.items()]
    limits = f"Each client is a process of its own, and waits for each of its calls, for {FOR_S:.0f} s."
    return Report("Eight clients", ["Who", "calls per second", "Modicum / it"], rows, figures, limits)
