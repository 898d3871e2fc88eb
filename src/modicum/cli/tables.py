"""How lists are printed: as a table for people, as JSON for scripts."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

import click


def show(rows: Sequence[dict[str, Any]], columns: dict[str, str], as_json: bool, nothing: str) -> None:
    """Print rows; `columns` names the keys that people see and their headings. JSON has all keys."""
    if as_json:
        click.echo(json.dumps(list(rows), indent=2))
    elif not rows:
        click.echo(nothing)
    else:
        _table(rows, columns)


def _table(rows: Sequence[dict[str, Any]], columns: dict[str, str]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table(box=box.SIMPLE_HEAD if console.is_terminal else None, pad_edge=False, header_style="bold")
    for key, heading in columns.items():
        number = any(isinstance(row[key], int) and not isinstance(row[key], bool) for row in rows)
        table.add_column(heading, justify="right" if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(row[key]) for key in columns))
    if not console.is_terminal:
        console.width = 10_000  # a pipe has no edge: one line for each row
    console.print(table, markup=False, highlight=False)  # type: ignore[call-arg,unused-ignore]


def _cell(value: Any) -> Any:
    from rich.text import Text

    if value is None:
        return Text("-")
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    return Text(str(value))


def size(count: int) -> str:
    """Return a number of bytes as people read it."""
    amount = float(count)
    for unit in ("B", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"


def moment(seconds: float) -> str:
    """Return a time since the epoch in the local time zone."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def iso(seconds: float) -> str:
    """Return a time since the epoch as scripts read it: ISO 8601, in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def show_facts(facts: dict[str, Any]) -> None:
    """Print one JSON object."""
    click.echo(json.dumps(facts, indent=2))
