"""When a function runs by itself: `modal.Cron` and `modal.Period`."""

from __future__ import annotations

from modicum import _context
from modicum.exception import InvalidError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_FIELDS = (
    ("minute", 0, 59, ""),
    ("hour", 0, 23, ""),
    ("day of the month", 1, 31, "L LW"),
    ("month", 1, 12, "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC"),
    ("day of the week", 0, 7, "SUN MON TUE WED THU FRI SAT"),
)
"""The fields of a Cron: the least and the largest number, and the words that may stand for some."""

PERIOD_S_MIN = 1.0
PERIOD_YEARS_MAX = 100
"""What is more often or more seldom is a slip."""

_SECONDS = {
    "years": 365 * 86_400,
    "months": 28 * 86_400,
    "weeks": 604_800,
    "days": 86_400,
    "hours": 3600,
    "minutes": 60,
}


class Schedule:
    """Says when a function runs by itself: a `Cron` or a `Period`."""

    __slots__ = ("_sent",)

    def __init__(self, sent: dict[str, Any]) -> None:
        self._sent = sent

    def as_dict(self) -> dict[str, Any]:
        """Return the schedule as it is sent."""
        return self._sent

    def __repr__(self) -> str:
        return f"modicum.{describe(self._sent)}"


class Cron(Schedule):
    """Runs a function at the times that a line of a crontab names, by the clocks of a time zone.

        @app.function(schedule=modal.Cron("0 9 * * *"))                               # at 9:00 UTC, daily
        @app.function(schedule=modal.Cron("30 6 * * 1-5", timezone="Europe/Berlin"))  # at 6:30 from Monday to Friday

    The five fields are minute, hour, day of the month, month and day of the week. When clocks are put forward, what was
    due at a time that is left out runs right after; when they are put back, what is due at a time that comes twice runs
    the first time. Minutes or hours that begin with `*` go by the time that really passes. A new deployment changes
    nothing of when it runs. Raises `InvalidError` for what is no time, and for a time zone that does not exist.
    """

    __slots__ = ()

    def __init__(self, cron_string: str, timezone: str = "UTC") -> None:
        if not isinstance(cron_string, str):
            raise InvalidError(f"a Cron is a text such as '0 9 * * *', not {cron_string!r}")
        _check_fields(cron_string)
        if not isinstance(timezone, str) or not timezone:
            raise InvalidError(f"the timezone of a Cron is a name such as 'Europe/Berlin', not {timezone!r}")
        if _context.socket_directory is None:  # a container runs what it is given, and may know no time zones
            _check_zone(timezone)
        super().__init__({"cron": " ".join(cron_string.split()), "timezone": timezone})


class Period(Schedule):
    """Runs a function again and again, first when so much time has passed since its app was deployed, or began to run.

        @app.function(schedule=modal.Period(hours=4))
        @app.function(schedule=modal.Period(days=1, seconds=0.5))

    Only `seconds` may be a fraction. A month is counted to the same day of the next, or its last one if it is shorter.
    Each new version of the app begins anew to count. Raises `InvalidError` for less than a second.
    """

    __slots__ = ()

    def __init__(
        self,
        *,
        years: int = 0,
        months: int = 0,
        weeks: int = 0,
        days: int = 0,
        hours: int = 0,
        minutes: int = 0,
        seconds: float = 0,
    ) -> None:
        given = {"years": years, "months": months, "weeks": weeks, "days": days, "hours": hours, "minutes": minutes}
        for name, value in given.items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise InvalidError(f"{name} of a Period must be a whole number from 0 up, not {value!r}")
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 <= seconds < float("inf"):
            raise InvalidError(f"seconds of a Period must be a number from 0 up, not {seconds!r}")
        total = sum(_SECONDS[name] * value for name, value in given.items()) + seconds
        if not PERIOD_S_MIN <= total <= PERIOD_YEARS_MAX * _SECONDS["years"]:
            raise InvalidError(
                f"a Period lasts from {PERIOD_S_MIN:g} second to {PERIOD_YEARS_MAX} years, not {total:g} seconds; "
                "say how long: modal.Period(hours=1)"
            )
        parts = {name: value for name, value in {**given, "seconds": seconds}.items() if value}
        super().__init__({"period": parts})


def describe(sent: dict[str, Any]) -> str:
    """Return a schedule, as it is sent, in the words in which Modal tells it."""
    if "cron" in sent:
        return f"Cron({sent['cron']!r}, {sent['timezone']})"
    return f"Period({', '.join(f'{name}={value:g}' for name, value in sent['period'].items())})"


def check_nullary(raw: Any) -> None:
    """Raise `InvalidError` unless a function can be called without arguments, as one with a schedule is."""
    plain = raw
    while hasattr(plain, "__wrapped__"):  # what `functools.wraps` has made takes whatever comes
        plain = plain.__wrapped__
    code = plain.__code__
    needed = list(code.co_varnames[: code.co_argcount - len(plain.__defaults__ or ())])
    by_name = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    needed += [name for name in by_name if name not in (plain.__kwdefaults__ or {})]
    if needed:
        raise InvalidError(
            f"the function {raw.__qualname__!r} has a schedule, so it must be callable without arguments, but it needs "
            f"{', '.join(map(repr, needed))}; give them defaults"
        )


def _check_fields(text: str) -> None:
    fields = text.split()
    if len(fields) != len(_FIELDS):
        names = ", ".join(name for name, *_ in _FIELDS)
        raise InvalidError(f"a Cron has five fields ({names}), and {text!r} has {len(fields)}")
    for value, (name, least, most, words) in zip(fields, _FIELDS):
        for term in value.upper().split(","):
            if not _is_term(term, least, most, words.split(), name == "day of the week"):
                told = f", {words.split()[0]} to {words.split()[-1]}" if len(words) > 4 else ""
                raise InvalidError(
                    f"{value!r} in the Cron {text!r} is no {name}: those are {least} to {most}{told}, `*`, ranges such "
                    "as `1-5`, lists such as `1,3`, and steps such as `*/10`"
                )


def _is_term(term: str, least: int, most: int, words: list[str], is_weekday: bool) -> bool:
    """Whether a part of a list makes sense: `5`, `1-5`, `*`, `*/10`, `1-30/2`; of a weekday also `5L` and `MON#2`."""

    def is_one(text: str) -> bool:
        return text in words or (text.isascii() and text.isdigit() and least <= int(text) <= most)

    if is_weekday and term.endswith("L"):
        return is_one(term[:-1])
    if is_weekday and "#" in term:
        day, _, place = term.partition("#")
        return is_one(day) and place in ("1", "2", "3", "4", "5")
    span, slash, step = term.partition("/")
    if slash and not (step.isascii() and step.isdigit() and int(step) > 0):
        return False
    first, dash, last = span.partition("-")
    return span == "*" or (is_one(first) and (not dash or is_one(last)))


def _check_zone(name: str) -> None:
    import zoneinfo

    try:
        zoneinfo.ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        from modicum._old_names import nearest

        close = nearest(name, sorted(zoneinfo.available_timezones()))
        named = close or "; they are named as 'Europe/Berlin' is"
        raise InvalidError(f"there is no time zone {name!r}{named}") from None


__all__ = ["Cron", "Period"]
