"""`modicum dict`: which dicts there are, and what is in them. Values are loaded here, never by the server."""

from __future__ import annotations

import json
from typing import Any

import click

import modicum  # its names are loaded when they are asked for
from modicum.cli import options, tables
from modicum.cli.shared import COLUMNS, allow_missing, listed, row

SHOWN_MAX = 80
"""Of a key or a value so many characters are shown."""


@click.group("dict")
def dicts() -> None:
    """Make and delete dicts, and look into them."""


@dicts.command("list")
@options.as_json
@options.environment
def list_dicts(as_json: bool) -> None:
    """List the dicts that have names, the newest first."""
    tables.show([row(each, as_json) for each in listed(modicum.Dict)], COLUMNS, as_json, "there is no dict")


@dicts.command("create")
@click.argument("name", metavar="NAME")
@options.environment
def create_dict(name: str) -> None:
    """Make a dict, unless there is one of that name."""
    modicum.Dict.objects.create(name, allow_existing=True)


@dicts.command("delete")
@click.argument("name", metavar="NAME")
@allow_missing
@options.yes
@options.environment
def delete_dict(name: str, allow_missing: bool, yes: bool) -> None:
    """Delete a dict and all that is in it."""
    if not yes:
        options.confirm(f"Delete the dict {name!r} and all that is in it?")
    modicum.Dict.objects.delete(name, allow_missing=allow_missing)


@dicts.command("clear")
@click.argument("name", metavar="NAME")
@options.yes
@options.environment
def clear_dict(name: str, yes: bool) -> None:
    """Take all entries out of a dict."""
    if not yes:
        options.confirm(f"Delete all that is in the dict {name!r}?")
    modicum.Dict.from_name(name).clear()


@dicts.command("get")
@click.argument("name", metavar="NAME")
@click.argument("key", metavar="KEY")
@options.environment
def get(name: str, key: str) -> None:
    """Print the value of a key, which is taken as a str; None if there is none."""
    click.echo(str(modicum.Dict.from_name(name).get(key)))  # click prints None as nothing, and bytes raw


@dicts.command("items")
@click.argument("name", metavar="NAME")
@click.argument("count", metavar="[N]", type=click.IntRange(min=0), default=20)
@click.option("-a", "--all", "all_", is_flag=True, help="All entries, whatever N is.")
@click.option("-r", "--repr", "use_repr", is_flag=True, help="As `repr()` shows them.")
@options.as_json
@options.environment
def items(name: str, count: int, all_: bool, use_repr: bool, as_json: bool) -> None:
    """Print N entries of a dict, 20 by default; with `--json` all."""
    rows: list[dict[str, Any]] = []
    for key, value in modicum.Dict.from_name(name).items():
        if not (as_json or all_) and len(rows) == count:
            rows.append({"key": "...", "value": "..."})
            break
        rows.append({"key": key, "value": value} if as_json else _shown(key, value, use_repr))
    if as_json:
        click.echo(json.dumps(rows, indent=2, default=repr))
    else:
        tables.show(rows, {"key": "Key", "value": "Value"}, False, "the dict is empty")


def _shown(key: object, value: object, use_repr: bool) -> dict[str, str]:
    texts = [repr(each) if use_repr else str(each) for each in (key, value)]
    short = [text[:SHOWN_MAX] + "..." if len(text) > SHOWN_MAX else text for text in texts]
    return {"key": short[0], "value": short[1]}
