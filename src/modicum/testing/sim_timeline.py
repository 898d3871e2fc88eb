"""When does what happen in a simulation? Virtual time, and connections that deliver in order or break."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from random import Random

Deed = Callable[[], None]

STEPS_MAX = 20_000
"""A world that takes so many steps is going round in circles."""


class Timeline:
    """Deeds by the time at which they are to be done; the clock jumps from one to the next."""

    def __init__(self) -> None:
        self.now = 0.0
        self.steps = 0
        self._heap: list[tuple[float, int, Deed]] = []
        self._count = 0

    def after(self, delay_s: float, deed: Deed) -> None:
        """Do it in so many seconds; deeds of one moment are done in the order in which they were planned."""
        self._count += 1
        heappush(self._heap, (self.now + delay_s, self._count, deed))

    def run(self, until_s: float, is_done: Callable[[], bool] = lambda: False) -> bool:
        """Let time pass until then, or until it is done; false when it was never done."""
        while self._heap and self._heap[0][0] <= until_s:
            if is_done():
                return True
            self.now, _, deed = heappop(self._heap)
            self.steps += 1
            if self.steps > STEPS_MAX:
                raise AssertionError(f"at {self.now} s the world goes round in circles")
            deed()
        if is_done():
            return True
        self.now = max(self.now, until_s)
        return False


class Link:
    """A connection. Each way delivers in order, after some time; what is on its way when it breaks is lost."""

    def __init__(self, timeline: Timeline, random: Random) -> None:
        self.up = True
        self.epoch = 0  # how often it broke
        self._timeline = timeline
        self._random = random
        self._last = {"in": 0.0, "out": 0.0}

    def to_server(self, deed: Deed) -> None:
        """Have something arrive at the server."""
        self._send("in", deed)

    def to_peer(self, deed: Deed) -> None:
        """Have something arrive at the node or agent."""
        self._send("out", deed)

    def drop(self) -> None:
        """It breaks."""
        self.up = False
        self.epoch += 1

    def restore(self) -> None:
        """It is there again."""
        self.up = True

    def _send(self, way: str, deed: Deed) -> None:
        if not self.up:
            return
        epoch = self.epoch
        arrival = max(self._timeline.now + self._random.uniform(0.0001, 0.002), self._last[way])
        self._last[way] = arrival

        def deliver() -> None:
            if self.epoch == epoch:
                deed()

        self._timeline.after(arrival - self._timeline.now, deliver)
