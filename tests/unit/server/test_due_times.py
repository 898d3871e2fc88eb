"""When is a function due? Beside a plain reading of the same rules, minute by minute, over a year of changed clocks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modicum.server.core.schedule import DueTimes
from modicum.server.due_times import BadSchedule, check, read

BERLIN = ZoneInfo("Europe/Berlin")  # in 2026 clocks go from 2:00 to 3:00 on 29 March, from 3:00 to 2:00 on 25 October
YEAR_S = 365 * 86_400


def at(text: str, zone: Any = UTC, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).timestamp()


def cron(expression: str, zone: str = "Europe/Berlin") -> DueTimes:
    return read({"cron": expression, "timezone": zone})


def due(times: DueTimes, since: float, until: float) -> list[float]:
    """Return all due times after a moment, up to another."""
    found, moment = [], since
    while (moment := times.after(since, moment) or until + 1) <= until:
        found.append(moment)
    return found


def shown(moments: list[float]) -> list[str]:
    return [datetime.fromtimestamp(each, BERLIN).strftime("%d %H:%M %Z") for each in moments]


SPRING, AUTUMN = at("2026-03-28T12:00"), at("2026-10-24T12:00")
TWO_DAYS_S = 2 * 86_400


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("30 2 * * *", ["29 03:00 CEST", "30 02:30 CEST"]),  # there is no 2:30: it runs right after the gap
        ("0 2,3 * * *", ["29 03:00 CEST", "30 02:00 CEST", "30 03:00 CEST"]),  # both at once: one run
        ("0 4 * * *", ["29 04:00 CEST", "30 04:00 CEST"]),
        ("*/30 2 * * *", ["30 02:00 CEST", "30 02:30 CEST"]),  # by the minutes that there are: none on the 29th
        ("0 */12 * * *", ["29 00:00 CET", "29 12:00 CEST", "30 00:00 CEST", "30 12:00 CEST"]),
    ],
)
def test_when_clocks_go_forward(expression: str, expected: list[str]) -> None:
    assert shown(due(cron(expression), SPRING, SPRING + TWO_DAYS_S)) == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("30 2 * * *", ["25 02:30 CEST", "26 02:30 CET"]),  # 2:30 comes twice: it runs the first time
        ("*/30 2 26 * *", ["26 02:00 CET", "26 02:30 CET"]),
        ("*/30 2 25 * *", ["25 02:00 CEST", "25 02:30 CEST", "25 02:00 CET", "25 02:30 CET"]),
        ("0 3 * * *", ["25 03:00 CET", "26 03:00 CET"]),
    ],
)
def test_when_clocks_go_back(expression: str, expected: list[str]) -> None:
    assert shown(due(cron(expression), AUTUMN, AUTUMN + TWO_DAYS_S)) == expected


def test_what_begins_in_the_second_of_two_hours_does_not_run_in_the_first() -> None:
    moment = at("2026-10-25T02:10", BERLIN, fold=1)
    assert shown([cron("30 2 * * *").after(0, moment) or 0]) == ["26 02:30 CET"]


@pytest.mark.parametrize(("minute", "hour"), [("*", "*"), ("*/15", "*"), ("*/20", "1-3"), ("*/7", "2"), ("5", "*/2")])
@pytest.mark.parametrize("start", [SPRING, AUTUMN])
def test_every_minute_around_changed_clocks(minute: str, hour: str, start: float) -> None:
    """Those with a star in front go by the time that passes: a minute is due if the clock shows it, however often."""
    minutes, hours = spread(minute, 0, 59), spread(hour, 0, 23)
    moments = [start + 60 * number for number in range(2 * 1440)]
    clock = [datetime.fromtimestamp(moment, BERLIN) for moment in moments]
    expected = [moment for moment, shown in zip(moments, clock) if shown.minute in minutes and shown.hour in hours]
    assert due(cron(f"{minute} {hour} * * *"), start - 1, moments[-1]) == expected


def spread(field: str, least: int, most: int) -> set[int]:
    span, _, step = field.partition("/")
    first, _, last = (f"{least}-{most}" if span == "*" else span).partition("-")
    return set(range(int(first), int(last or first) + 1, int(step or 1)))


@pytest.mark.parametrize(
    ("expression", "zone"),
    [
        ("30 2 * * *", "Europe/Berlin"),
        ("0 0 * * *", "America/Havana"),  # there clocks change at midnight
        ("15 2 * * *", "Australia/Lord_Howe"),  # by half an hour
        ("59 23 * * *", "Asia/Kolkata"),
    ],
)
def test_a_year_of_days(expression: str, zone: str) -> None:
    """A time of the day comes once a day: the first time that the clock shows it, or when it has gone past it."""
    minute, hour = map(int, expression.split()[:2])
    there = ZoneInfo(zone)
    first = datetime(2026, 1, 1, hour, minute)  # noqa: DTZ001 - it is of that zone
    expected = [_first_shown(first + timedelta(days), there) for days in range(365)]
    assert due(cron(expression, zone), expected[0] - 1, expected[-1]) == expected


def _first_shown(wall: datetime, zone: ZoneInfo) -> float:
    moment = wall.replace(tzinfo=zone).timestamp() - 7200
    while datetime.fromtimestamp(moment, zone).replace(tzinfo=None) < wall:
        moment += 60
    return moment


def test_a_moment_just_before_is_before() -> None:
    nine = at("2026-01-01T09:00")
    times = cron("0 9 * * *", "UTC")
    assert [times.after(0, moment) for moment in (nine - 1e-3, nine - 2.4e-7)] == [nine, nine]
    assert times.after(0, nine) == times.after(0, nine + 0.5) == nine + 86_400


def test_days_of_months_and_of_weeks() -> None:
    january = at("2026-01-01T00:00") - 1

    def days(text: str) -> list[int]:
        found = due(cron(text, "UTC"), january, january + 31 * 86_400)
        return [datetime.fromtimestamp(each, UTC).day for each in found]

    assert days("0 12 13 * 5") == [2, 9, 13, 16, 23, 30]  # the 13th, and each Friday: either is enough
    assert days("0 12 L * *") == [31]
    assert days("0 12 * * MON#2") == [12]
    assert days("0 12 */10 * *") == [1, 11, 21, 31]
    leap = cron("0 0 29 2 *", "UTC")
    assert leap.after(0, january) == at("2028-02-29T00:00")


# -- periods ---------------------------------------------------------------------------------------------------


def period(zone: str = "UTC", **parts: float) -> DueTimes:
    return read({"period": parts}, zone)


def test_hours_pass_whatever_clocks_show() -> None:
    times = period("Europe/Berlin", hours=1, seconds=0.5)
    found = due(times, SPRING, SPRING + TWO_DAYS_S)
    assert found == [SPRING + 3600.5 * number for number in range(1, 48)]  # 48 × 3600.5 s are more than two days


def test_days_are_counted_by_the_calendar() -> None:
    since = at("2026-03-27T02:30", BERLIN)
    assert shown(due(period("Europe/Berlin", days=1), since, since + 4 * 86_400)) == [
        "28 02:30 CET", "29 03:30 CEST", "30 02:30 CEST", "31 02:30 CEST",
    ]  # fmt: skip
    assert due(period(days=1), since, since + 4 * 86_400) == [since + 86_400 * each for each in range(1, 5)]


def test_months_keep_their_day_where_there_is_one() -> None:
    since = at("2026-01-31T06:00")
    found = due(period(months=1), since, since + YEAR_S)
    days = [datetime.fromtimestamp(each, UTC).day for each in found]
    assert days == [28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 31]
    assert period(years=1).after(at("2028-02-29T00:00"), at("2029-06-01T00:00")) == at("2030-02-28T00:00")


PARTS = st.fixed_dictionaries(
    {},
    optional={
        "years": st.integers(0, 2),
        "months": st.integers(0, 30),
        "weeks": st.integers(0, 9),
        "days": st.integers(0, 99),
        "hours": st.integers(0, 99),
        "minutes": st.integers(0, 999),
        "seconds": st.floats(1, 1e5),
    },
).filter(lambda parts: any(parts.values()))


@settings(deadline=None)
@given(PARTS, st.floats(0, 2e9), st.floats(0, 1e8), st.sampled_from(["UTC", "Europe/Berlin", "Australia/Lord_Howe"]))
def test_the_next_is_after_and_none_lies_between(parts: Any, since: float, later: float, zone: str) -> None:
    times = read({"period": {name: value for name, value in parts.items() if value}}, zone)
    moment = since + later
    following = times.after(since, moment)
    assert following is not None and following > moment
    assert times.after(since, (moment + following) / 2) == following or (moment + following) / 2 in (moment, following)
    first = times.after(since, since)
    assert first is not None and first <= following


# -- what makes no sense ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schedule", "why"),
    [
        ({"cron": "0 0 30 2 *", "timezone": "UTC"}, "is never due"),
        ({"cron": "0 0 31 4,6,9,11 *", "timezone": "UTC"}, "is never due"),
        ({"cron": "0 0 * *", "timezone": "UTC"}, "five fields"),
        ({"cron": "0 0 0 * * *", "timezone": "UTC"}, "five fields"),
        ({"cron": "61 0 * * *", "timezone": "UTC"}, "Bad minute"),
        ({"cron": "0 0 * * *", "timezone": "Mars/Olympus"}, "no time zone 'Mars/Olympus'"),
        ({"cron": "0 0 * * *", "timezone": "Europe"}, "no time zone"),
        ({"cron": "0 0 * * *", "timezone": "../../etc/passwd"}, "no time zone"),
        ({"cron": "0 0 * * *", "timezone": None}, "no time zone"),
        ({"cron": 5, "timezone": "UTC"}, "five fields"),
        ({"cron": "* " * 1000, "timezone": "UTC"}, "five fields"),
        ({"cron": "0 0 * * *"}, "neither a Cron nor a Period"),
        ({"period": {}}, "from 1 second"),
        ({"period": {"days": 0}}, "from 1 second"),
        ({"period": {"days": -1, "weeks": 1}}, "from 1 second"),
        ({"period": {"days": 0.5}}, "from 1 second"),
        ({"period": {"seconds": float("nan")}}, "from 1 second"),
        ({"period": {"years": 1000}}, "from 1 second"),
        ({"period": {"fortnights": 1}}, "no Period"),
        ({"period": {"days": True}}, "no Period"),
        ([], "neither"),
    ],
)
def test_what_is_no_schedule(schedule: Any, why: str) -> None:
    with pytest.raises(BadSchedule, match=why):
        check(schedule, 1e9)


def test_the_calendar_ends() -> None:
    assert period(years=100).after(2.52e11, 2.52e11) is None
    assert cron("0 0 * * *", "UTC").after(0, 253402214400.0) is None
