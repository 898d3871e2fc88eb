"""How did a function do? Its inputs are counted by the minute, with how long they and its containers' starts took.

Durations are kept in buckets, sixteen for each doubling: a percentile is right to some percent, and a minute of a busy
function takes no more room than that of a quiet one. Counting is on the way of every call: it is as short as can be.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable
from math import frexp
from time import time
from typing import Any

from modicum.stores import history as stored
from modicum.stores.database import Database
from modicum.wire.messages import GENERATOR_DONE, SUCCESS, TIMEOUT

KEPT_S = 7 * 24 * 3600.0
"""As long as results are kept."""

SHORTEST_S = 1e-6
"""What took no time at all took so long."""

_COUNTS = {SUCCESS: "succeeded", GENERATOR_DONE: "succeeded", TIMEOUT: "timed_out"}
"""How an end of an input counts; all others are failures."""

Minute = dict[str, Any]
"""Counts: `succeeded`, `failed`, `timed_out`; `run_s` and `startup_s` map a bucket's number to how many fell in."""


def bucket_of(seconds: float) -> int:
    """Return the bucket of a duration: of its binary exponent, and the first four digits behind its leading one."""
    fraction, exponent = frexp(max(SHORTEST_S, seconds))
    return (exponent << 4) + int(fraction * 32)  # the fraction is from 1/2 to 1


def duration_of(bucket: int) -> float:
    """Return the middle of a bucket."""
    middle = ((bucket & 15) + 16.5) / 32
    return float(f"{math.ldexp(middle, (bucket >> 4) - 1):.3g}")


def percentiles(buckets: dict[str, int], wanted: Iterable[float]) -> list[tuple[float, float]]:
    """Return, for each percentage, the duration that so many percent did not exceed; nothing of nothing."""
    total = sum(buckets.values())
    found: list[tuple[float, float]] = []
    for percentage in wanted if total else ():
        left = math.ceil(total * percentage / 100)
        for number in sorted(buckets, key=int):
            left -= buckets[number]
            if left <= 0:
                found.append((percentage, duration_of(int(number))))
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


class _Counted:
    """What was counted of a function in a minute, and not stored yet."""

    __slots__ = ("begun", "ends", "over", "run", "startup")

    def __init__(self, minute: int) -> None:
        self.begun, self.over = minute * 60, minute * 60 + 60
        self.ends: dict[str, int] = {}
        self.run: dict[int, int] = {}
        self.startup: dict[int, int] = {}

    def as_minute(self) -> Minute:
        """Return it as it is stored: keys of JSON are texts."""
        minute: Minute = {}
        for status, count in self.ends.items():
            merge(minute, {_COUNTS.get(status, "failed"): count})
        for name, buckets in (("run_s", self.run), ("startup_s", self.startup)):
            if buckets:
                minute[name] = {str(bucket): count for bucket, count in buckets.items()}
        return minute


class History:
    """Counts until `write`, which adds what was counted to what is stored."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._counting: dict[str, _Counted] = {}
        self._reading = asyncio.Lock()  # days of a busy function take the store's one thread a while: one at a time
        self._over: list[tuple[str, _Counted]] = []  # minutes that have gone by

    def input_ended(self, function: str, status: str, run_s: float | None) -> None:
        """An input has its final output; `run_s` is unknown of one that did not end in its container."""
        counted = self._counting.get(function)
        if counted is None or not counted.begun <= time() < counted.over:
            counted = self._begin(function)
        ends, run = counted.ends, counted.run
        ends[status] = ends.get(status, 0) + 1
        if run_s is not None:
            fraction, exponent = frexp(run_s or SHORTEST_S)  # `bucket_of`, without the price of a call
            bucket = (exponent << 4) + int(fraction * 32)
            run[bucket] = run.get(bucket, 0) + 1

    def container_loaded(self, function: str, startup_s: float) -> None:
        """A container takes inputs from now on, so long after it was asked for."""
        startup, bucket = self._begin(function).startup, bucket_of(startup_s)
        startup[bucket] = startup.get(bucket, 0) + 1

    def _begin(self, function: str) -> _Counted:
        """Return where a function is counted now; a minute that has gone by is put aside."""
        counted, minute = self._counting.get(function), int(time() // 60)
        if counted is not None and counted.begun == minute * 60:
            return counted
        if counted is not None:
            self._over.append((function, counted))
        counted = self._counting[function] = _Counted(minute)
        return counted

    async def write(self) -> None:
        """Store what was counted since the last time."""
        counted = [*self._over, *self._counting.items()]
        self._over, self._counting = [], {}
        if counted:
            rows = [(function, each.begun // 60, each.as_minute()) for function, each in counted]
            await self._database.submit(stored.add(rows, merge))

    async def read(self, functions: list[str], since: float, until: float) -> Minute:
        """Return the sum of the minutes that have begun in a range of time, of some functions."""
        async with self._reading:
            await self.write()
            return await self._database.submit(stored.read(functions, int(since // 60), int(until // 60), merge))

    async def forget(self) -> None:
        """Drop what is too old."""
        await self._database.submit(stored.forget(int((time() - KEPT_S) // 60)))
