"""How long does a function run, how long does its container take to start, and how many did it need of late?"""

from __future__ import annotations

from collections import deque
from math import inf

REMEMBERED = 64
"""Runs that count: few enough to follow a change within one frame, enough for a ninth decile."""

MEASURED_MIN = 8
"""Runs before inputs are pipelined: one slow first call must not decide, nor one fast one."""

PIPELINE_S = 0.005
"""Work that may wait inside a container. A frame there and back takes some 0.2 ms, so this hides it well."""

WINDOW_MAX = 64
"""Inputs on their way at once: the frames in which the way of a call was measured; more gains nothing."""

COLD_START_S = 0.3
"""A container's start until one was seen: ten times a bare one, for what users import."""


class Peak:
    """The most that was needed of late: in the last window at least, and in no more than the last two."""

    __slots__ = ("_before", "_most", "_since")

    def __init__(self) -> None:
        self._since = -inf
        self._most = self._before = 0

    def note(self, needed: int, now: float, window_s: float) -> None:
        """So much is needed now."""
        if now >= self._since + window_s:
            self._before = self.of_late(now, window_s)
            self._most, self._since = 0, now
        self._most = max(self._most, needed)

    def of_late(self, now: float, window_s: float) -> int:
        """The most that was noted."""
        if now >= self._since + 2 * window_s:
            return 0
        return self._most if now >= self._since + window_s else max(self._most, self._before)


class Experience:
    """What the runs and starts of one function have taught so far."""

    __slots__ = ("_missing", "_runs", "cold_start_s", "window")

    def __init__(self) -> None:
        self._runs: deque[float] = deque(maxlen=REMEMBERED)
        self._missing = MEASURED_MIN  # runs before the window is measured again
        self.window = 1
        self.cold_start_s = COLD_START_S

    def learn_runs(self, runs_s: list[float]) -> bool:
        """Take in how long inputs ran; true when the window has changed. Sorting waits for some news to be worth it."""
        self._runs.extend(runs_s)
        self._missing -= len(runs_s)
        if self._missing > 0:
            return False
        self._missing = REMEMBERED // 2
        before, self.window = self.window, self._measure_window()
        return self.window != before

    def distrust(self, runs: int) -> None:
        """A container died: nothing is pipelined until so many further runs are measured, and no fewer than at first.

        Its outputs may have died with it, so that nobody knows which of its inputs ended it. One at a time will tell.
        """
        self.window = 1
        self._missing = max(MEASURED_MIN, runs)

    def learn_start(self, start_s: float) -> None:
        """Take in how long a container took from the wish to its hello. The newest counts for a third."""
        self.cold_start_s += (start_s - self.cold_start_s) / 3

    def run_s(self, oldest_s: float = 0.0) -> float:
        """Mean run time. What runs now for `oldest_s` counts as one more run once that makes the mean longer.

        The mean and not the median: a backlog is worth its inputs times their mean. With no history, it is that age.
        """
        count = len(self._runs)
        total = sum(self._runs)
        if oldest_s * count <= total and count:
            return total / count
        return (total + oldest_s) / (count + 1)

    def age_when(self, run_s: float) -> float:
        """At which age of the oldest running input `run_s()` will have grown to this."""
        return run_s * (len(self._runs) + 1) - sum(self._runs)

    def _measure_window(self) -> int:
        """min(64, 5 ms / p90): what waits inside hides the way there and back, but is late to change places."""
        p90 = sorted(self._runs)[len(self._runs) * 9 // 10]
        if p90 * WINDOW_MAX <= PIPELINE_S:
            return WINDOW_MAX
        return max(1, int(PIPELINE_S / p90))
