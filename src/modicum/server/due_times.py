"""When is a function due? What its schedule means in time: a Cron by cronsim, a Period's calendar by dateutil.

Pure: the same schedule is due at the same times, whoever asks when.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from dateutil.relativedelta import relativedelta

from modicum.server.core.schedule import DueTimes

_CALENDAR = ("years", "months", "weeks", "days")
_LONGEST_S = {"years": 366 * 86_400, "months": 31 * 86_400, "weeks": 604_800, "days": 86_400}
_CLOCK_S = {"hours": 3600, "minutes": 60, "seconds": 1}

CLOCK_CHANGE_S = 2 * 3600.0
"""By no more than that are clocks put back when summer ends."""

PERIOD_S_MAX = 101 * 366 * 86_400


class BadSchedule(ValueError):
    """This is no schedule; the text says why, to the user."""


@dataclass(frozen=True, slots=True)
class CronTimes:
    """The times that five fields of a crontab name, as Debian's cron takes them, also when clocks are changed."""

    expression: str
    zone: tzinfo
    back_s: ClassVar[float] = 3 * 3600.0  # as with Debian's cron: by more, somebody has set it right

    def after(self, since: float, moment: float) -> float | None:
        """Return the first time after a moment; None if there is none in the next fifty years."""
        try:
            for time in CronSim(self.expression, datetime.fromtimestamp(math.floor(moment), self.zone)):
                # Where an hour comes twice, times of the first one are named in the second, too.
                if (due := time.timestamp()) > moment:
                    return due
        except (OverflowError, ValueError):  # the calendar has ended
            pass
        return None


@dataclass(frozen=True, slots=True)
class PeriodTimes:
    """Times at a distance from each other: days and longer by the calendar of a time zone, the rest as it passes.

    They are counted from the beginning and not from each other: from the 31st on, a month later is the last of each.
    """

    period: Mapping[str, float]
    zone: tzinfo
    back_s: ClassVar[float] = 60.0

    def after(self, since: float, moment: float) -> float | None:
        """Return the first time after a moment; None if the calendar ends before."""
        longest = CLOCK_CHANGE_S if self._has_days else 0.0
        longest += sum((_LONGEST_S.get(name) or _CLOCK_S[name]) * value for name, value in self.period.items())
        number = max(int((moment - since) / longest), 1)
        try:
            while (due := self._due(since, number)) <= moment:
                number += 1
        except (OverflowError, ValueError):
            return None
        return due

    def _due(self, since: float, number: int) -> float:
        passes = number * sum(_CLOCK_S[name] * value for name, value in self.period.items() if name in _CLOCK_S)
        if not self._has_days:
            return since + passes
        days = relativedelta(**{name: number * int(self.period[name]) for name in _CALENDAR if name in self.period})
        there: datetime = datetime.fromtimestamp(since, self.zone).replace(tzinfo=None, fold=0) + days
        return there.replace(tzinfo=self.zone).timestamp() + passes

    @property
    def _has_days(self) -> bool:
        return any(name in self.period for name in _CALENDAR)


def read(schedule: Any, zone: str = "UTC") -> DueTimes:
    """Return the times of a schedule as it is sent; `zone` has the calendar of periods. Raises `BadSchedule`."""
    if not isinstance(schedule, dict) or schedule.keys() not in ({"cron", "timezone"}, {"period"}):
        raise BadSchedule(f"{schedule!r} is neither a Cron nor a Period")
    if "period" in schedule:
        return PeriodTimes(_period(schedule["period"]), zone_of(zone))
    return _cron(schedule["cron"], schedule["timezone"])


def check(schedule: Any, now: float) -> None:
    """Raise `BadSchedule` unless this is a schedule of something that is due one day."""
    if read(schedule).after(now, now) is None:
        raise BadSchedule(f"{schedule.get('cron') or schedule!r} is never due")


def zone_of(name: Any) -> tzinfo:
    """Return a time zone. Raises `BadSchedule`."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError, TypeError):
        raise BadSchedule(f"the server knows no time zone {name!r}") from None


def _cron(expression: Any, zone: Any) -> CronTimes:
    if not isinstance(expression, str) or len(expression) > 1000 or len(expression.split()) != 5:
        raise BadSchedule(f"a Cron has five fields, not {expression!r}")
    try:
        CronSim(expression, datetime(2000, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        if str(error) == "Bad day-of-month":  # of no field, if the fields make sense by themselves: of 30 February
            why = "names a day that its months do not have: it is never due"
            raise BadSchedule(f"the Cron {expression!r} {why}") from None
        raise BadSchedule(f"the Cron {expression!r} makes no sense: {error}") from None
    return CronTimes(expression, zone_of(zone))


def _period(period: Any) -> Mapping[str, float]:
    if not isinstance(period, dict) or not {*_CALENDAR, *_CLOCK_S}.issuperset(period):
        raise BadSchedule(f"{period!r} is no Period")
    if not all(type(value) in (int, float) for value in period.values()):
        raise BadSchedule(f"{period!r} is no Period")
    whole = all(type(value) is int for name, value in period.items() if name != "seconds")
    total = sum((_LONGEST_S.get(name) or _CLOCK_S[name]) * value for name, value in period.items())
    if not whole or not all(value >= 0 for value in period.values()) or not 1 <= total <= PERIOD_S_MAX:
        raise BadSchedule(f"a Period lasts from 1 second to 100 years, not {period!r}")
    return period
