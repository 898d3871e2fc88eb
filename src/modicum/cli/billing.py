"""`modicum billing`: what apps used of the machines, in hours and in dollars."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from typing import Any

import click

from modicum.cli import dates, tables
from modicum.cli.asking import ask
from modicum.cli.groups import Group

_DATE = "ISO 8601, in UTC unless `--tz` says otherwise, or relative: yesterday, `3 days ago`"

_UNITS = {"cpu": ("CPU", "core-h", 3600), "memory": ("Memory", "GiB-h", 3600 * 1024)}
"""How a resource is called, in what it is counted, and how many of the server's seconds make one."""


@click.group(cls=Group, not_yet=frozenset({"summary"}))
def billing() -> None:
    """See what apps used, and what that would cost."""


@billing.command(no_args_is_help=True)
@click.option("--start", metavar="DATE", help=f"The first day or hour: {_DATE}.")
@click.option("--end", metavar="DATE", help="The day or hour before which it ends: by default this one.")
@click.option("--for", "span", metavar="RANGE", help=f"A range: {', '.join(dates.RANGES)}.")
@click.option("-r", "--resolution", metavar="d|h", default="d", help="Rows for days (d, of UTC) or for hours (h).")
@click.option("--tz", metavar="ZONE", help="local, an offset (5, -4, +05:30) or a name; for hours only.")
@click.option("-t", "--tag-names", metavar="NAMES", help="Show these tags of apps, separated by commas; * shows all.")
@click.option("--show-resources", is_flag=True, help="A row for each resource, with how much of it was used.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
def report(
    start: str | None,
    end: str | None,
    span: str | None,
    resolution: str,
    tz: str | None,
    tag_names: str | None,
    show_resources: bool,
    as_json: bool,
    as_csv: bool,
) -> None:
    """Show what apps used in whole days, or hours, and what it costs by the server's rates.

    For each second of a container's life what was kept for it is charged, or what it used if that was more.
    """
    if as_json and as_csv:
        raise click.UsageError("--json and --csv are mutually exclusive")
    if resolution not in ("d", "h"):
        raise click.UsageError("Resolution must be 'd' (daily) or 'h' (hourly)")
    if tz is not None and resolution != "h":
        raise click.UsageError("--tz requires hourly resolution (-r h): days are those of UTC")
    where = UTC if tz is None else dates.zone(tz)
    since, until = _range(start, end, span, where)
    tags = [name.strip() for name in tag_names.split(",")] if tag_names else []
    request = {"t": "billing.report", "since": since.timestamp(), "until": until.timestamp()}
    found = ask({**request, "resolution": resolution, "tags": tags})["rows"]
    columns = {"object_id": "Object ID", "description": "Description", "environment": "Environment"}
    columns |= {"interval_start": "Interval Start"}
    columns |= {"resource": "Resource", "usage": "Usage"} if show_resources else {}
    columns |= {"cost": "Cost", **({"tags": "Tags"} if tags else {})}
    rows = [
        {name: row[name] for name in columns}
        for each in found
        for row in _rows(each, _start(each["start"], where, resolution, as_json or as_csv), show_resources)
    ]
    if as_csv:
        _print_csv(rows, columns)
    else:
        tables.show(rows if as_json else [_short(row) for row in rows], columns, as_json, "nothing was used then")


def _range(start: str | None, end: str | None, span: str | None, where: tzinfo) -> tuple[datetime, datetime]:
    now = datetime.now(UTC)
    if span is not None:
        if start is not None or end is not None:
            raise click.UsageError("--for is mutually exclusive with --start and --end")
        return dates.span(span, where, now)
    if start is None:
        raise click.UsageError("Either --for or --start is required")
    return dates.moment("--start", start, where, now), now if end is None else dates.moment("--end", end, where, now)


def _start(seconds: float, where: tzinfo, resolution: str, is_whole: bool) -> str:
    begins = datetime.fromtimestamp(seconds, where)
    if where is UTC:
        begins = begins.replace(tzinfo=None)
    if is_whole:
        return begins.isoformat()
    return begins.strftime("%Y-%m-%d" if resolution == "d" else "%Y-%m-%dT%H:%M")


def _rows(each: dict[str, Any], start: str, show_resources: bool) -> Iterator[dict[str, Any]]:
    head = {"object_id": each["app"], "description": each["app_name"], "environment": "main", "interval_start": start}
    head["tags"] = json.dumps(each["tags"])
    if not show_resources:
        total = sum((Decimal(amount["cost"]) for amount in each["resources"].values()), Decimal(0))
        yield {**head, "cost": str(total)}
        return
    for resource, amount in sorted(each["resources"].items()):
        name, unit, seconds = _UNITS.get(resource, (resource.partition(":")[2], "GPU-h", 3600))
        yield {**head, "resource": name, "usage": f"{amount['seconds'] / seconds:.6g} {unit}", "cost": amount["cost"]}


def _short(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row as people read it. Two digits show a cent; of less the first digits are shown."""
    cost = Decimal(row["cost"])
    return {**row, "cost": f"{cost:,.2f}" if cost >= 1 or not cost else f"{cost:.2g}"}


def _print_csv(rows: list[dict[str, Any]], columns: dict[str, str]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns.values())
    writer.writerows(row.values() for row in rows)


@billing.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def rates(as_json: bool) -> None:
    """Show the prices by which reports reckon: the server's setting MODICUM_RATES, or the defaults.

    They are in dollars by the hour: of a core, of a GiB of memory, of a GPU of a type.
    """
    found = ask({"t": "billing.rates"})["rates"]
    if as_json:
        tables.show_facts(found)
        return
    for name, price in found.items():
        unit = {"cpu": "core", "memory": "GiB"}.get(name, "GPU")
        click.echo(f"{name:<16} ${price} per {unit} and hour")
