"""Which days a report is of, and how it is printed."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import click
import pytest
from click.testing import CliRunner, Result

from modicum.cli import billing, dates
from modicum.cli.main import cli

NOW = datetime(2026, 3, 31, 15, 30, tzinfo=UTC)  # a Tuesday
BERLIN = ZoneInfo("Europe/Berlin")  # its clocks went forward on 2026-03-29


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("today", "2026-03-31T00:00", "2026-04-01T00:00"),
        ("Yesterday", "2026-03-30T00:00", "2026-03-31T00:00"),
        ("this week", "2026-03-30T00:00", "2026-04-06T00:00"),
        ("last  week", "2026-03-23T00:00", "2026-03-30T00:00"),
        ("this month", "2026-03-01T00:00", "2026-04-01T00:00"),
        ("last month", "2026-02-01T00:00", "2026-03-01T00:00"),
    ],
)
def test_ranges(text: str, first: str, last: str) -> None:
    assert dates.span(text, UTC, NOW) == (_utc(first), _utc(last))


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_a_week_whose_clocks_change_has_an_hour_less() -> None:
    first, last = dates.span("last week", BERLIN, NOW)
    assert (last.timestamp() - first.timestamp()) / 3600 == 7 * 24 - 1


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("now", "2026-03-31T15:30"),
        ("today", "2026-03-31T00:00"),
        ("2 days ago", "2026-03-29T15:30"),
        ("1 month ago", "2026-02-28T15:30"),  # which has no 31st
        ("36 hours ago", "2026-03-30T03:30"),
        ("2026-01-02", "2026-01-02T00:00"),
        ("2026-01-02T03:00+02:00", "2026-01-02T01:00"),
    ],
)
def test_moments(text: str, found: str) -> None:
    assert dates.moment("--start", text, UTC, NOW) == _utc(found)


def test_a_date_is_of_its_zone() -> None:
    assert dates.moment("--start", "2026-01-02", dates.zone("Europe/Berlin"), NOW) == _utc("2026-01-01T23:00")
    assert dates.moment("--start", "2026-01-02", dates.zone("-4"), NOW) == _utc("2026-01-02T04:00")
    assert dates.moment("--start", "2026-01-02", dates.zone("+05:30"), NOW) == _utc("2026-01-01T18:30")
    assert dates.zone("local").utcoffset(NOW) == NOW.astimezone().utcoffset()


@pytest.mark.parametrize("text", ["Mars/Olympus", "99", "+25:00", "", "../etc/passwd"])
def test_zones_that_do_not_exist(text: str) -> None:
    with pytest.raises(click.UsageError, match="is no time zone"):
        dates.zone(text)


@pytest.mark.parametrize("text", ["soon", "2026-13-01", "99999 months ago", "", "3 days"])
def test_dates_that_make_no_sense(text: str) -> None:
    with pytest.raises(click.UsageError, match=r"--end .* is no date"):
        dates.moment("--end", text, UTC, NOW)


# -- printing ----------------------------------------------------------------------------------------------

ROW = {
    "app": "ap-1",
    "app_name": "shop",
    "start": 1_775_001_600,  # 2026-04-01
    "tags": {"team": "blue"},
    "resources": {
        "cpu": {"seconds": 7200.0, "used": 3.0, "cost": "0.384"},
        "memory": {"seconds": 3600.0 * 1024, "used": 3.0, "cost": "0.024"},
        "gpu:H100": {"seconds": 3600.0, "used": 3600.0, "cost": "1234.5"},
    },
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the server was asked for; it answers with one row."""
    found: list[dict[str, Any]] = []

    def ask(header: dict[str, Any]) -> dict[str, Any]:
        found.append(header)
        return {"rows": [ROW], "rates": {"cpu": "0.192", "memory": "0.024", "T4": "0.59"}}

    monkeypatch.setattr(billing, "ask", ask)
    return found


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["billing", *arguments])


def test_a_report_for_people(asked: list[dict[str, Any]]) -> None:
    said = run("report", "--start", "2026-04-01", "--end", "2026-04-02", "-t", "team, tier")
    assert said.output.splitlines()[1].split(maxsplit=5) == [
        "ap-1", "shop", "main", "2026-04-01", "1,234.91", '{"team": "blue"}',
    ]  # fmt: skip
    assert asked == [
        {
            "t": "billing.report",
            "since": 1_775_001_600.0,
            "until": 1_775_001_600.0 + 86400,
            "resolution": "d",
            "tags": ["team", "tier"],
        }
    ]


def test_a_report_for_scripts(asked: list[dict[str, Any]]) -> None:
    (row,) = json.loads(run("report", "--for", "today", "--json").output)
    assert row == {
        "object_id": "ap-1",
        "description": "shop",
        "environment": "main",
        "interval_start": "2026-04-01T00:00:00",
        "cost": "1234.908",
    }
    said = run("report", "--for", "today", "-r", "h", "--tz", "2", "--show-resources", "--csv").output
    assert said.splitlines() == [
        "Object ID,Description,Environment,Interval Start,Resource,Usage,Cost",
        "ap-1,shop,main,2026-04-01T02:00:00+02:00,CPU,2 core-h,0.384",
        "ap-1,shop,main,2026-04-01T02:00:00+02:00,H100,1 GPU-h,1234.5",
        "ap-1,shop,main,2026-04-01T02:00:00+02:00,Memory,1 GiB-h,0.024",
    ]


def test_the_prices(asked: list[dict[str, Any]]) -> None:
    assert run("rates").output.splitlines() == [
        "cpu              $0.192 per core and hour",
        "memory           $0.024 per GiB and hour",
        "T4               $0.59 per GPU and hour",
    ]
    assert json.loads(run("rates", "--json").output)["cpu"] == "0.192"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--end", "2026-01-01"], "Either --for or --start is required"),
        (["--for", "today", "--start", "2026-01-01"], "--for is mutually exclusive with --start and --end"),
        (["--for", "today", "--json", "--csv"], "--json and --csv are mutually exclusive"),
        (["--for", "today", "-r", "w"], "Resolution must be 'd' (daily) or 'h' (hourly)"),
        (["--for", "today", "--tz", "local"], "--tz requires hourly resolution"),
        (["--for", "next week"], "--for 'next week' is no range: say today"),
    ],
)
def test_options_that_contradict_each_other(arguments: list[str], reason: str) -> None:
    said = CliRunner().invoke(cli, ["billing", "report", *arguments], standalone_mode=False)
    assert isinstance(said.exception, click.UsageError)
    assert reason in said.exception.message
