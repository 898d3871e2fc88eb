"""What did containers use, and what is charged for it? Counted from the meters of nodes, kept by function and hour.

A meter only grows, and the store notes in the same transaction how far it is counted: so nothing is counted twice, and
a killed server loses what it had not written. From one reading to the next what was kept for a container is charged, or
what it used if that was more.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from math import isfinite
from typing import Any, NamedTuple

from modicum.server.limits import DISK_PER_MEMORY
from modicum.server.rates import CPU, GPU, MEMORY
from modicum.server.records import App, Container, Function
from modicum.stores import usage as stored
from modicum.stores.database import Database
from modicum.stores.usage import HourRow

log = logging.getLogger("modicum.usage")

WRITE_EVERY_S = 5.0
"""As often as nodes tell; so much is lost at the most when the server is killed."""

READINGS_KEPT_S = 3600.0
"""Of a container that has ended: its node may tell its end again for as long as it waits for a server."""

_MIB = 1 << 20


class Reading(NamedTuple):
    """What a container's meter said: all since it began."""

    seconds: float = 0.0
    cpu_s: float = 0.0
    memory_mib_s: float = 0.0


class Request(NamedTuple):
    """What is kept for a container: cores, MiB, and GPUs by type."""

    cpus: float
    memory_mib: float
    gpus: dict[str, int]


class Amount(NamedTuple):
    """Of a resource, in seconds of one core, MiB or GPU."""

    used: float
    billed: float


def reading_of(told: dict[str, Any]) -> Reading:
    """Return what a node told of a container's meter; what it cannot know is nothing. Raises `ValueError`."""
    return Reading(*(_amount(told[name] or 0.0) for name in Reading._fields))


def request_of(told: dict[str, Any]) -> Request:
    """Return what a node told of what is kept for a container. Raises `ValueError`.

    Disk counts as memory, twenty to one, where more of it is asked for than of memory.
    """
    memory, disk = (_amount(told.get(name) or 0) / _MIB for name in ("memory_bytes", "disk_bytes"))
    gpus = {str(kind): int(_amount(count)) for kind, count in (told.get("gpus") or {}).items()}
    return Request(_amount(told.get("cpus") or 0), max(memory, disk / DISK_PER_MEMORY), gpus)


def _amount(value: Any) -> float:
    if type(value) not in (int, float) or not isfinite(value) or value < 0:
        raise ValueError(f"{value!r} is no amount")
    return float(value)


def charge(request: Request, before: Reading, after: Reading) -> dict[str, Amount]:
    """Return what was used from one reading to the next, and what is charged for."""
    seconds, cpu_s, mib_s = (max(0.0, new - old) for new, old in zip(after, before))
    charged = {
        CPU: Amount(cpu_s, max(cpu_s, request.cpus * seconds)),
        MEMORY: Amount(mib_s, max(mib_s, request.memory_mib * seconds)),
    }
    charged |= {f"{GPU}{kind}": Amount(count * seconds, count * seconds) for kind, count in request.gpus.items()}
    return {resource: amount for resource, amount in charged.items() if amount.billed}


class Usage:
    """Counts what nodes tell of containers."""

    def __init__(self, database: Database, apps: dict[str, App], functions: dict[str, Function]) -> None:
        self._database = database
        self._apps = apps
        self._functions = functions
        self._counted: dict[str, Reading] = {}
        self._rows: dict[stored.Key, HourRow] = {}
        self._readings: dict[str, dict[str, Any]] = {}
        self.clock: Callable[[], float] = time.time

    async def restore(self) -> None:
        """Take up what the last server counted."""
        found = await self._database.submit(stored.last_readings)
        self._counted = {container: Reading(**what) for container, what in found.items()}

    def told(self, container: Container, usage: dict[str, Any], ended: bool = False) -> None:
        """A node has read a container's meter. Raises `ValueError` for what makes no sense."""
        reading, request = reading_of(usage), request_of(usage["request"])
        before = self._counted.get(container.id, Reading())
        for resource, amount in charge(request, before, reading).items():
            self._add(container, resource, amount)
        self._readings[container.id] = reading._asdict()
        if ended:
            self._counted.pop(container.id, None)
        else:
            self._counted[container.id] = reading

    def _add(self, container: Container, resource: str, amount: Amount) -> None:
        function = self._functions.get(container.function) or container.made_of
        app = self._apps.get(container.app)
        self._keep(
            HourRow(
                app=container.app,
                function=container.function,
                hour=int(self.clock() // 3600),
                resource=resource,
                used=amount.used,
                billed=amount.billed,
                app_name=app.name if app is not None else "",
                function_name=function.name if function is not None else "",
                tags=app.tags if app is not None else {},
            )
        )

    def _keep(self, row: HourRow) -> None:
        known = self._rows.get(row.key)
        if known is not None:
            row = replace(row, used=row.used + known.used, billed=row.billed + known.billed)
        self._rows[row.key] = row

    async def run(self) -> None:
        """Write what was counted, again and again."""
        while True:
            await asyncio.sleep(WRITE_EVERY_S)
            try:
                await self.write()
            except Exception:  # a full disk, say: what was counted is kept, and goes with the next
                log.exception("usage was not stored")

    async def write(self) -> None:
        """Store what was counted since the last time."""
        rows, readings = self._rows, self._readings
        self._rows, self._readings = {}, {}
        if not readings:
            return
        try:
            await self._database.submit(stored.add(list(rows.values()), readings, self.clock()))
        except Exception:
            newer, self._rows = self._rows, rows
            for row in newer.values():
                self._keep(row)
            self._readings = {**readings, **self._readings}
            raise

    async def forget(self, kept_s: float) -> None:
        """Drop what is too old."""
        now = self.clock()
        await self._database.submit(stored.forget(int((now - kept_s) // 3600), now - READINGS_KEPT_S))
