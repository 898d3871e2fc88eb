"""What can be said of when a function runs by itself; what cannot be is told where it is said."""

from __future__ import annotations

import functools
import inspect
import math
import re
from collections.abc import Iterator
from typing import Any

import pytest

import modicum
from modicum import _context, _function_info
from modicum.app import App
from modicum.exception import InvalidError
from modicum.schedule import Schedule
from modicum.wire.messages import NO_ARGUMENTS
from modicum.wire.values import dumps


def sent(schedule: Schedule) -> dict[str, Any]:
    return schedule.as_dict()


def decorated(function: Any, **parameters: Any) -> Any:
    return App("a").function(serialized=True, name="f", **parameters)(function)


def test_what_is_sent() -> None:
    assert sent(modicum.Cron("0 9 * * *")) == {"cron": "0 9 * * *", "timezone": "UTC"}
    assert sent(modicum.Cron(" 0  9 * * mon-fri ", "Europe/Berlin"))["cron"] == "0 9 * * mon-fri"
    assert sent(modicum.Period(hours=1)) == {"period": {"hours": 1}}
    assert sent(modicum.Period(weeks=2, seconds=math.pi)) == {"period": {"weeks": 2, "seconds": math.pi}}
    function = decorated(lambda: None, schedule=modicum.Period(minutes=5))
    assert function.options.as_dict()["schedule"] == {"period": {"minutes": 5}}


def test_signatures_are_modals() -> None:
    assert str(inspect.signature(modicum.Cron)) == "(cron_string: 'str', timezone: 'str' = 'UTC') -> 'None'"
    period = inspect.signature(modicum.Period).parameters
    assert list(period) == ["years", "months", "weeks", "days", "hours", "minutes", "seconds"]
    assert {each.kind for each in period.values()} == {inspect.Parameter.KEYWORD_ONLY}


def test_what_is_told_of_it() -> None:
    assert repr(modicum.Cron("0 9 * * *")) == "modicum.Cron('0 9 * * *', UTC)"
    assert repr(modicum.Period(days=1, seconds=0.5)) == "modicum.Period(days=1, seconds=0.5)"
    info = _function_info.of_local(decorated(lambda: None, schedule=modicum.Period(hours=4)))
    assert info.schedule == "Period(hours=4)"
    assert _function_info.of_local(decorated(lambda: None)).schedule is None


@pytest.mark.parametrize(
    "text",
    [
        "* * * * *", "*/10 * * * *", "0 0 1 1 0", "59 23 31 12 7", "0 9 * JAN-MAR Mon,WED,fri", "1-5/2,7 0 * * *",
        "0 0 L * *", "0 0 LW * *", "0 0 * * 5L", "0 0 * * MON#2", "5/15 * * * *",
    ],
)  # fmt: skip
def test_crons(text: str) -> None:
    assert sent(modicum.Cron(text))["cron"] == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "five fields (minute, hour, day of the month, month, day of the week), and '' has 0"),
        ("0 9 * *", "has 4"),
        ("0 0 9 * * *", "has 6"),
        ("@daily", "has 1"),
        ("60 * * * *", "'60' in the Cron '60 * * * *' is no minute: those are 0 to 59"),
        ("* 24 * * *", "is no hour"),
        ("* * 0 * *", "is no day of the month"),
        ("* * * 13 *", "is no month: those are 1 to 12, JAN to DEC"),
        ("* * * * 8", "is no day of the week: those are 0 to 7, SUN to SAT"),
        ("* * * * MONDAY", "is no day of the week"),
        ("*/0 * * * *", "is no minute"),
        ("*/x * * * *", "is no minute"),
        ("5- * * * *", "is no minute"),
        ("1,,2 * * * *", "is no minute"),
        ("-5 * * * *", "is no minute"),
        ("٣ * * * *", "is no minute"),
        ("MON * * * *", "is no minute"),
        ("* * * * MON#6", "is no day of the week"),
        (None, "a Cron is a text such as '0 9 * * *', not None"),
    ],
)
def test_what_is_no_cron(text: Any, why: str) -> None:
    with pytest.raises(InvalidError, match=re.escape(why)):
        modicum.Cron(text)


@pytest.mark.parametrize(
    ("zone", "why"),
    [
        ("Europe/Berlim", "there is no time zone 'Europe/Berlim'; did you mean 'Europe/Berlin'?"),
        ("Qqqq", "there is no time zone 'Qqqq'; they are named as 'Europe/Berlin' is"),
        ("../../etc/passwd", "there is no time zone"),
        ("", "the timezone of a Cron is a name"),
        (None, "the timezone of a Cron is a name"),
    ],
)
def test_what_is_no_time_zone(zone: Any, why: str) -> None:
    with pytest.raises(InvalidError, match=re.escape(why)):
        modicum.Cron("0 9 * * *", timezone=zone)


@pytest.fixture
def in_a_container(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_context, "socket_directory", "/run/modicum")


@pytest.mark.usefixtures("in_a_container")
def test_a_container_may_know_no_time_zones() -> None:
    assert sent(modicum.Cron("0 9 * * *", timezone="Europe/Qqqq"))["timezone"] == "Europe/Qqqq"


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ({}, "a Period lasts from 1 second to 100 years, not 0 seconds"),
        ({"seconds": 0.5}, "not 0.5 seconds"),
        ({"hours": 0, "minutes": 0}, "not 0 seconds"),
        ({"days": -1}, "days of a Period must be a whole number from 0 up, not -1"),
        ({"days": 2, "hours": -1}, "hours of a Period must be"),
        ({"seconds": -1}, "seconds of a Period must be a number from 0 up, not -1"),
        ({"seconds": math.nan}, "seconds of a Period must be"),
        ({"seconds": math.inf}, "seconds of a Period must be"),
        ({"seconds": "5"}, "seconds of a Period must be"),
        ({"hours": 1.5}, "hours of a Period must be a whole number from 0 up, not 1.5"),
        ({"hours": True}, "hours of a Period must be"),
        ({"years": 101}, "to 100 years"),
        ({"seconds": 1e30}, "to 100 years"),
    ],
)
def test_what_is_no_period(parts: Any, why: str) -> None:
    with pytest.raises(InvalidError, match=re.escape(why)):
        modicum.Period(**parts)


def test_what_is_no_schedule() -> None:
    with pytest.raises(InvalidError, match=r"schedule must be a modicum.Cron or a modicum.Period, not '0 9"):
        decorated(lambda: None, schedule="0 9 * * *")
    with pytest.raises(TypeError, match="takes no parameter 'schedule'"):
        App("a").cls(schedule=modicum.Period(hours=1))  # type: ignore[call-arg]
    function = decorated(lambda: None)
    with pytest.raises(TypeError, match="schedule"):
        function.with_options(schedule=modicum.Period(hours=1))


def test_what_needs_arguments_has_no_schedule() -> None:
    hourly = modicum.Period(hours=1)

    def two(a: int, b: int, c: int = 3, *, d: int, e: int = 5) -> None: ...

    def loose(*args: int, a: int = 1, **kwargs: int) -> None: ...

    @functools.wraps(two)
    def wrapped(*args: Any, **kwargs: Any) -> None: ...

    for function in (two, wrapped):
        with pytest.raises(InvalidError, match=r"must be callable without arguments, but it needs 'a', 'b', 'd'"):
            decorated(function, schedule=hourly)
    assert decorated(loose, schedule=hourly).options.schedule == {"period": {"hours": 1}}
    assert decorated(lambda a=1: a, schedule=hourly).options.schedule == {"period": {"hours": 1}}


def test_a_generator_has_no_schedule() -> None:
    def items() -> Iterator[int]:
        yield 1

    with pytest.raises(InvalidError, match="is a generator function: it cannot have a schedule"):
        decorated(items, schedule=modicum.Period(hours=1))


def test_the_input_that_the_server_makes_has_no_arguments() -> None:
    assert dumps(((), {})) == NO_ARGUMENTS
