"""How much has a container used since it began? Read every few seconds, and told to the server as it grows.

Memory is integrated: what was read last counts until the next reading.
"""

from __future__ import annotations

from math import inf
from typing import Any

from modicum.runtimes.base import Usage

EVERY_S = 5.0
"""So much is lost at the most when the machine, or this node, is lost."""

_MIB = 1 << 20


class Meter:
    """One container's. `request` is what is kept for it, of which the server is reminded. Times are monotonic."""

    def __init__(self, request: dict[str, Any], now: float) -> None:
        self._request = request
        self._began = self._read_at = now
        self._ended_at = inf
        self._cpu_s: float | None = None
        self._memory_bytes: int | None = None
        self._peak_bytes: int | None = None
        self._mib_s = 0.0

    def read(self, usage: Usage, now: float) -> dict[str, Any]:
        """Take in what it uses now; return all that it has used. Nothing is added after its end."""
        now = min(now, self._ended_at)
        held = self._memory_bytes if self._memory_bytes is not None else usage.memory_bytes
        self._advance(held, now)
        self._memory_bytes = usage.memory_bytes if usage.memory_bytes is not None else self._memory_bytes
        self._note(usage)
        return self._total(now)

    def end(self, usage: Usage, now: float) -> dict[str, Any]:
        """Take in what it had used when it ended; return all of it.

        Its memory is free by then. One that has never been read is counted with the most that it had.
        """
        self._ended_at = now
        self._note(usage)
        self._advance(self._memory_bytes if self._memory_bytes is not None else self._peak_bytes, now)
        return self._total(now)

    def _advance(self, held_bytes: int | None, now: float) -> None:
        self._mib_s += (held_bytes or 0) / _MIB * (now - self._read_at)
        self._read_at = now

    def _note(self, usage: Usage) -> None:
        if usage.cpu_s is not None:
            self._cpu_s = max(usage.cpu_s, self._cpu_s or 0.0)
        seen = [each for each in (usage.memory_peak_bytes, usage.memory_bytes, self._peak_bytes) if each is not None]
        self._peak_bytes = max(seen, default=None)

    def _total(self, now: float) -> dict[str, Any]:
        return {
            "seconds": now - self._began,
            "cpu_s": self._cpu_s,
            "memory_mib_s": self._mib_s,
            "memory_peak_bytes": self._peak_bytes,
            "request": self._request,
        }
