"""How many inputs per second are left behind, each on the disk before its caller goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness import Figure, Report, Setting, in_turn, median

ONE_BY_ONE = 300
TOGETHER = 2000
AT_ONCE = 64
MAPPED = 30_000


def measure(setting: Setting) -> Report:
    """Spawn inputs that nothing works on, beside Celery's tasks in a Redis that syncs each."""
    ours, celery = setting.spawning(), setting.celery()
    counts = {
        "Modicum `.spawn`, one by one": ONE_BY_ONE,
        f"Modicum `.spawn.aio`, {AT_ONCE} at once": TOGETHER,
        "Modicum `.spawn_map`": MAPPED,
    }
    calls: list[Callable[[], Any]] = [
        lambda: ours.ask("one_by_one", count=ONE_BY_ONE),
        lambda: ours.ask("together", count=TOGETHER, at_once=AT_ONCE),
        lambda: ours.ask("mapped", count=MAPPED),
    ]
    if celery:
        counts |= {"Celery `.delay`, one by one": ONE_BY_ONE, f"Celery `.delay`, {AT_ONCE} threads": TOGETHER}
        calls.append(lambda: celery.ask("one_by_one", count=ONE_BY_ONE))
        calls.append(lambda: celery.ask("together", count=TOGETHER, at_once=AT_ONCE))
    rounds = in_turn(setting.rounds, dict(zip(counts, calls)))
    for side in filter(None, (ours, celery)):
        side.close()

    rates = {name: counts[name] / median(taken) for name, taken in rounds.items()}
    rows = [[name, f"{rate:,.0f}"] for name, rate in rates.items()]
    figures = [
        Figure(what, f"{rates[mine]:,.0f}/s", f"{label} {rates[peer]:,.0f}/s", f"{rates[mine] / rates[peer]:.1f}×", "")
        for what, mine, peer, label in _pairs()
        if peer in rates
    ]
    limits = (
        "Redis with `appendonly yes` and `appendfsync always`, so that both sides answer when a task is on the disk; "
        "nothing works on the tasks meanwhile. A spawn that waits for its own commit costs one sync of the disk; what "
        "comes at once shares one."
    )
    return Report("Spawning", ["Who", "inputs per second"], rows, figures, limits)


def _pairs() -> list[tuple[str, str, str, str]]:
    alone, threads = "Celery `.delay`, one by one", f"Celery `.delay`, {AT_ONCE} threads"
    return [
        ("`.spawn`, one by one", "Modicum `.spawn`, one by one", alone, "Celery and Redis"),
        (f"`.spawn`, {AT_ONCE} at once", f"Modicum `.spawn.aio`, {AT_ONCE} at once", threads, "Celery and Redis"),
        ("`.spawn_map`", "Modicum `.spawn_map`", threads, f"Celery, {AT_ONCE} threads"),
    ]
