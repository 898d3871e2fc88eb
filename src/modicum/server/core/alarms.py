"""When must the core be woken? One alarm per owner, kept lazily: one that became later rings early and is set anew."""

from __future__ import annotations

from heapq import heappop, heappush
from math import inf
from typing import Generic, Protocol, TypeVar


class Owner(Protocol):
    """Whoever can have an alarm; `alarm` is when it rings, infinity if never."""

    alarm: float


T = TypeVar("T", bound=Owner)


class Alarms(Generic[T]):
    """A heap with at most one live entry per owner.

    A container's deadline moves with every output. Moving it later costs nothing here: the owner is asked again when
    its old alarm rings. So there is no heap entry per input.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, T]] = []
        self._count = 0

    def set(self, owner: T, due: float) -> None:
        """Ring at `due` or earlier."""
        if due < owner.alarm:
            owner.alarm = due
            self._count += 1
            heappush(self._heap, (due, self._count, owner))

    def clear(self, owner: T) -> None:
        """Never ring for this owner."""
        owner.alarm = inf

    def ring(self, now: float) -> list[T]:
        """Everybody whose time has come, each once; they have no alarm any more."""
        rung = []
        while self._heap and self._heap[0][0] <= now:
            due, _, owner = heappop(self._heap)
            if owner.alarm == due:
                owner.alarm = inf
                rung.append(owner)
        return rung

    def next(self) -> float | None:
        """When the first alarm rings."""
        heap = self._heap
        while heap and heap[0][2].alarm != heap[0][0]:
            heappop(heap)
        return heap[0][0] if heap else None
