"""Which day, and which range of days, does somebody mean who asks for a report?"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

import click

RANGES = ("today", "yesterday", "this week", "last week", "this month", "last month")

_AGO = re.compile(r"(\d{1,5}) +(hour|day|week|month)s? +ago")
_HOURS = re.compile(r"[+-]?\d{1,2}")
_OFFSET = re.compile(r"([+-])(\d\d):(\d\d)")


def zone(text: str) -> tzinfo:
    """Return a time zone: `local`, an offset (`5`, `-4`, `+05:30`) or a name. Raises `click.UsageError`."""
    if text == "local":
        return datetime.now().astimezone().tzinfo or UTC
    try:
        if _HOURS.fullmatch(text):
            return timezone(timedelta(hours=int(text)))
        if offset := _OFFSET.fullmatch(text):
            ahead = timedelta(hours=int(offset[2]), minutes=int(offset[3]))
            return timezone(-ahead if offset[1] == "-" else ahead)
        return ZoneInfo(text)
    except (ValueError, OSError, KeyError):  # the last is what `ZoneInfo` raises
        raise click.UsageError(
            f"--tz {text!r} is no time zone: say local, an offset (5, -4, +05:30), or a name"
        ) from None


def moment(option: str, text: str, where: tzinfo, now: datetime) -> datetime:
    """Return the moment of an ISO date, or of `now`, `today`, `yesterday`, `3 days ago`. Raises `click.UsageError`."""
    said = text.strip().lower()
    now = now.astimezone(where)
    if said == "now":
        return now
    if said in ("today", "yesterday"):
        return span(said, where, now)[0]
    try:
        if ago := _AGO.fullmatch(said):
            return _before(now, int(ago[1]), ago[2])
        found = datetime.fromisoformat(text.strip())
    except (ValueError, OverflowError):
        raise click.UsageError(
            f"{option} {text!r} is no date: say 2026-03-01, 2026-03-01T05:00, today, yesterday, or `3 days ago`"
        ) from None
    return found if found.tzinfo is not None else found.replace(tzinfo=where)


def span(text: str, where: tzinfo, now: datetime) -> tuple[datetime, datetime]:
    """Return when a range like `this month` begins and ends. Raises `click.UsageError`."""
    today = now.astimezone(where).replace(hour=0, minute=0, second=0, microsecond=0)
    monday, first = today - timedelta(days=today.weekday()), today.replace(day=1)
    spans = {
        "today": (today, _next_day(today)),
        "yesterday": (_next_day(today, -1), today),
        "this week": (monday, _next_day(monday, 7)),
        "last week": (_next_day(monday, -7), monday),
        "this month": (first, _months_later(first, 1)),
        "last month": (_months_later(first, -1), first),
    }
    found = spans.get(" ".join(text.lower().split()))
    if found is None:
        raise click.UsageError(f"--for {text!r} is no range: say {', '.join(RANGES)}")
    return found


def _before(now: datetime, number: int, unit: str) -> datetime:
    if unit == "month":
        return _months_later(now, -number)
    return (now.astimezone(UTC) - timedelta(**{f"{unit}s": number})).astimezone(now.tzinfo)


def _next_day(day: datetime, number: int = 1) -> datetime:
    return day + timedelta(days=number)  # the same time of day in its own zone, whatever the clocks do meanwhile


def _months_later(day: datetime, number: int) -> datetime:
    """Return the same day of another month, or the last one that it has."""
    months = day.year * 12 + day.month - 1 + number
    first = day.replace(year=months // 12, month=months % 12 + 1, day=1)
    end = first.replace(day=28) + timedelta(days=4)
    last = (end - timedelta(days=end.day)).day
    return first.replace(day=min(day.day, last))
