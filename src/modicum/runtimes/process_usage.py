"""What have processes used that no cgroup counts? Read from /proc while they live, from the kernel at their end."""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from .base import Usage

T = TypeVar("T")

_TICKS, _PAGE = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
_CPU, _RESIDENT = slice(11, 15), 21
"""Fields of /proc/PID/stat behind the command: times of the process and of its children that ended; its pages."""


class Census(Generic[T]):
    """A look at all processes of the machine, in a thread. Whoever wants one while it is under way shares it."""

    def __init__(self, look: Callable[[], T]) -> None:
        self._look = look
        self._taking: asyncio.Future[T] | None = None

    async def take(self) -> T:
        """Return what was seen."""
        if self._taking is None:
            self._taking = asyncio.ensure_future(asyncio.to_thread(self._look))
            self._taking.add_done_callback(self._taken)
        return await asyncio.shield(self._taking)

    def _taken(self, _: asyncio.Future[T]) -> None:
        self._taking = None


def usage_of(pids: Iterable[int]) -> Usage:
    """Return what these have used, with what ended below them. Memory that they share counts for each."""
    found = [stat for pid in pids if (stat := _stat(pid))]
    return Usage(
        cpu_s=sum(int(ticks) for stat in found for ticks in stat[_CPU]) / _TICKS,
        memory_bytes=sum(int(stat[_RESIDENT]) for stat in found) * _PAGE,
    )


def usage_at_end(used: resource.struct_rusage) -> Usage:
    """Return what a process had used that was waited for, with all that it waited for; the peak is the largest's."""
    return Usage(cpu_s=used.ru_utime + used.ru_stime, memory_peak_bytes=used.ru_maxrss << 10)


def _stat(pid: int) -> list[str]:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()
    except OSError:
        return []  # it has ended
