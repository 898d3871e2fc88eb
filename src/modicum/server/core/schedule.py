"""Which functions are due, and shall they run? Time goes in; the world is asked of nothing.

Every schedule has a mark: all its due times up to there have been dealt with, by a run or by none. What is due after it
and not later than now is dealt with together, so many due times as have passed: one run makes up for all of them. The
mark is moved in the same transaction that makes the run; so each due time is dealt with once, whoever is killed when.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from math import inf
from typing import Protocol

from .alarms import Alarms

LATE_S = 60.0
"""What is dealt with so long after it was due was missed: no server ran, or the machine slept."""


class DueTimes(Protocol):
    """The times of a schedule, in seconds since the epoch. A clock that was set back further than `back_s` is believed:
    what is due by it is due, whether or not the same time was there before.
    """

    @property
    def back_s(self) -> float: ...

    def after(self, since: float, moment: float) -> float | None:
        """Return the first due time after a moment, of a schedule that began `since`; None if there is none."""
        ...


class Verdict(Enum):
    """What becomes of a due time."""

    RUN = "run"
    SKIPPED = "skipped"  # the last run has not ended
    WAITS = "waits"  # it was missed, and is made up for when the last run has ended
    MISSED = "missed"  # it is too late, and nothing shall be made up for


@dataclass(slots=True, eq=False)
class Entry:
    """A function with a schedule. `due` is when it is due next: the first due time after the mark. It has begun `anew`
    if a wrong clock had made its mark: the store has that still.
    """

    function: str
    times: DueTimes
    since: float
    marked: float
    call: str | None = None  # its last run
    skipped: int = 0  # due times that it was not run at since then
    due: float | None = None
    anew: bool = False
    alarm: float = inf


@dataclass(frozen=True, slots=True)
class Policy:
    """What holds for all schedules: is one run made up for due times that were missed, may runs overlap?"""

    catch_up: bool = True
    overlap: bool = False


def decide(entry: Entry, now: float, last_is_open: bool, policy: Policy) -> Verdict:
    """Return what becomes of a function that is due, as its last run has not ended, or has."""
    if not policy.catch_up and is_late(entry, now):
        return Verdict.MISSED
    if last_is_open and not policy.overlap:
        return Verdict.WAITS if is_late(entry, now) else Verdict.SKIPPED
    return Verdict.RUN


def is_late(entry: Entry, now: float) -> bool:
    """Whether a due time has passed without anybody there."""
    return entry.due is not None and now - entry.due > LATE_S


class Agenda:
    """All functions with schedules."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self._alarms: Alarms[Entry] = Alarms()
        self._now = 0.0

    def put(self, entry: Entry, now: float) -> None:
        """Have a function be due by its schedule, in place of the one that it had."""
        self.remove(entry.function)
        self.entries[entry.function] = entry
        self._believe(entry, now)
        self._arm(entry)

    def remove(self, function: str) -> None:
        """Have a function be due no more."""
        entry = self.entries.pop(function, None)
        if entry is not None:
            self._alarms.clear(entry)

    def due(self, now: float) -> list[Entry]:
        """Return what is due; what becomes of each is said by `done` or `again`."""
        if now < self._now:
            for entry in self.entries.values():
                if self._believe(entry, now):
                    self._arm(entry)
        self._now = now
        rung = self._alarms.ring(now)
        for entry in rung:
            if not _is_due(entry, now):  # it was looked at again, and has been dealt with
                self._arm(entry)
        return [entry for entry in rung if _is_due(entry, now)]

    def done(self, entry: Entry, now: float) -> None:
        """What was due up to now is dealt with."""
        if self.entries.get(entry.function) is entry:
            entry.marked = max(entry.marked, now)
            self._arm(entry)

    def again(self, entry: Entry, moment: float) -> None:
        """It has not been dealt with: it stays due, and is looked at again at some moment."""
        if self.entries.get(entry.function) is entry:
            self._alarms.set(entry, moment)

    def next(self) -> float | None:
        """When something is due next."""
        return self._alarms.next()

    def _arm(self, entry: Entry) -> None:
        self._alarms.clear(entry)
        entry.due = entry.times.after(entry.since, entry.marked)
        if entry.due is not None:
            self._alarms.set(entry, entry.due)

    def _believe(self, entry: Entry, now: float) -> bool:
        """A mark far in the future was made by a clock that was wrong: begin anew."""
        if entry.marked <= now + entry.times.back_s:
            return False
        entry.since = entry.marked = now
        entry.anew = True
        return True


def _is_due(entry: Entry, now: float) -> bool:
    return entry.due is not None and entry.due <= now
