"""How many operations per second do a Dict and a Queue take, of one client and of eight."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness import Figure, Report, Setting, Side, in_turn, median

CLIENTS = (1, 8)
FOR_S = 2.0
OPERATIONS = {"set": "Dict put", "get": "Dict get", "hand": "Queue put and get"}
DURABLE, AS_IT_COMES = "Redis, synced", "Redis as it comes"


def measure(setting: Setting) -> Report:
    """Let one process and eight use keys and partitions of their own, beside Redis as it comes, and as durable."""
    sides: dict[str, Side | None] = {
        "Modicum": setting.shared_state(),
        DURABLE: setting.redis("always"),
        AS_IT_COMES: setting.redis("no"),
    }
    there = {name: side for name, side in sides.items() if side is not None}
    contestants: dict[tuple[str, str, int], Callable[[], Any]] = {
        (operation, name, count): lambda side=side, count=count, operation=operation: side.ask(  # type: ignore[misc]
            "clients", operation=operation, count=count, for_s=FOR_S
        )
        for operation in OPERATIONS
        for count in CLIENTS
        for name, side in there.items()
    }
    rates = {who: median(found) for who, found in in_turn(min(setting.rounds, 3), contestants).items()}
    for side in there.values():
        side.close()
    rows = [
        [what, str(count), *(f"{rates[operation, name, count]:,.0f}" for name in there)]
        for operation, what in OPERATIONS.items()
        for count in CLIENTS
    ]
    limits = (
        "Each client is a process with keys and partitions of its own, and waits for each operation; a put and a get "
        "of a Queue count as two. What is put is on the disk when `put` returns, and what is got has left the disk; so "
        f"it is with {DURABLE} (`appendfsync always`), while Redis as it comes writes later. An operation alone waits "
        "for one sync of the disk; what comes at once shares one. Gets of a Dict are answered from memory."
    )
    return Report("Dicts and queues, operations per second", ["What", "Clients", *there], rows, _figures(rates), limits)


def _figures(rates: dict[tuple[str, str, int], float]) -> list[Figure]:
    figures = []
    for operation, what in OPERATIONS.items():
        for count in CLIENTS:
            ours, theirs = rates[operation, "Modicum", count], rates.get((operation, DURABLE, count))
            if theirs is not None:
                who = "1 client" if count == 1 else f"{count} clients"
                ratio = f"{ours / theirs:.1f}×"
                figures.append(Figure(f"{what}, {who}", f"{ours:,.0f}/s", f"{DURABLE} {theirs:,.0f}/s", ratio, ""))
    return figures
