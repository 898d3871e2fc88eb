"""How did a function do? Its inputs are counted by the minute, with how long they and its containers' starts took.

Durations are kept in buckets that grow by a twentieth: a percentile is right to some percent, and a minute of a busy
function takes no more room than that of a quiet one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from typing import Any

from modicum.stores import history as stored
from modicum.stores.database import Database
from modicum.wire.messages import GENERATOR_DONE, SUCCESS, TIMEOUT

KEPT_S = 7 * 24 * 3600.0
"""As long as results are kept."""

SHORTEST_S = 1e-4
GROWTH = 1.05

_COUNTS = {SUCCESS: "succeeded", GENERATOR_DONE: "succeeded", TIMEOUT: "timed_out"}
"""How an end of an input counts; all others are failures."""

Minute = dict[str, Any]
"""Counts: `succeeded`, `failed`, `timed_out`; `run_s` and `startup_s` map a bucket's number to how many fell in."""


def bucket_of(seconds: float) -> str:
    """Return the bucket of a duration; a text, as it is a key of JSON."""
    return str(max(0, round(math.log(max(seconds, SHORTEST_S) / SHORTEST_S, GROWTH))))


def percentiles(buckets: dict[str, int], wanted: Iterable[float]) -> list[tuple[float, float]]:
    """Return, for each percentage, the duration that so many percent did not exceed; nothing of nothing."""
    total = sum(buckets.values())
    found: list[tuple[float, float]] = []
    for percentage in wanted if total else ():
        left = math.ceil(total * percentage / 100)
        for number in sorted(buckets, key=int):
            left -= buckets[number]
            if left <= 0:
                found.append((percentage, float(f"{SHORTEST_S * GROWTH ** int(number):.3g}")))
                break
    return found


def merge(into: Minute, more: Minute) -> Minute:
    """Add counts to others."""
    for name, value in more.items():
        if isinstance(value, dict):
            merge(into.setdefault(name, {}), value)
        else:
            into[name] = into.get(name, 0) + value
    return into


class History:
    """Counts until `write`, which adds what was counted to what is stored."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._counted: dict[tuple[str, int], Minute] = {}

    def input_ended(self, function: str, status: str, run_s: float | None) -> None:
        """An input has its final output; `run_s` is unknown of one that did not end in its container."""
        minute = self._minute(function)
        count = _COUNTS.get(status, "failed")
        minute[count] = minute.get(count, 0) + 1
        if run_s is not None:
            _add(minute, "run_s", run_s)

    def container_loaded(self, function: str, startup_s: float) -> None:
        """A container takes inputs from now on, so long after it was asked for."""
        _add(self._minute(function), "startup_s", startup_s)

    def _minute(self, function: str) -> Minute:
        return self._counted.setdefault((function, int(time.time() // 60)), {})

    async def write(self) -> None:
        """Store what was counted since the last time."""
        counted, self._counted = self._counted, {}
        if counted:
            await self._database.submit(stored.add(counted, merge))

    async def read(self, functions: list[str], since: float, until: float) -> Minute:
        """Return the sum of the minutes that have begun in a range of time, of some functions."""
        await self.write()
        total: Minute = {}
        for minute in await self._database.submit(stored.read(functions, int(since // 60), int(until // 60))):
            merge(total, minute)
        return total

    async def forget(self) -> None:
        """Drop what is too old."""
        await self._database.submit(stored.forget(int((time.time() - KEPT_S) // 60)))


def _add(minute: Minute, name: str, seconds: float) -> None:
    buckets, bucket = minute.setdefault(name, {}), bucket_of(seconds)
    buckets[bucket] = buckets.get(bucket, 0) + 1
