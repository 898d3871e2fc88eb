"""`modicum queue`: which queues there are, and what is in them. Items are loaded here, never by the server."""

from __future__ import annotations

from itertools import islice

import click

import modicum  # its names are loaded when they are asked for
from modicum.cli import options, tables
from modicum.cli.shared import COLUMNS, allow_missing, listed, row

partition_ = click.option("-p", "--partition", metavar="NAME", help="A partition; else the one without a name.")


@click.group("queue")
def queues() -> None:
    """Make and delete queues, and look into them."""


@queues.command("list")
@options.as_json
@options.environment
def list_queues(as_json: bool) -> None:
    """List the queues that have names, the newest first."""
    rows = [
        {**row(each, as_json), "partitions": each["partitions"], "total_size": each["items"]}
        for each in listed(modicum.Queue, sizes=True)
    ]
    columns = COLUMNS | {"partitions": "Partitions", "total_size": "Total size"}
    tables.show(rows, columns, as_json, "there is no queue")


@queues.command("create")
@click.argument("name", metavar="NAME")
@options.environment
def create_queue(name: str) -> None:
    """Make a queue, unless there is one of that name."""
    modicum.Queue.objects.create(name, allow_existing=True)


@queues.command("delete")
@click.argument("name", metavar="NAME")
@allow_missing
@options.yes
@options.environment
def delete_queue(name: str, allow_missing: bool, yes: bool) -> None:
    """Delete a queue and all that is in it."""
    if not yes:
        options.confirm(f"Delete the queue {name!r} and all that is in it?")
    modicum.Queue.objects.delete(name, allow_missing=allow_missing)


@queues.command("clear")
@click.argument("name", metavar="NAME")
@partition_
@click.option("-a", "--all", "all_", is_flag=True, help="All partitions.")
@options.yes
@options.environment
def clear_queue(name: str, partition: str | None, all_: bool, yes: bool) -> None:
    """Take all items out of a partition, or of all."""
    if not yes:
        options.confirm(f"Delete all that is in the queue {name!r}?")
    modicum.Queue.from_name(name).clear(partition=partition, all=all_)


@queues.command("peek")
@click.argument("name", metavar="NAME")
@click.argument("count", metavar="[N]", type=click.IntRange(min=1), default=1)
@partition_
@options.environment
def peek(name: str, count: int, partition: str | None) -> None:
    """Print the next N items, 1 by default, and leave them there."""
    for item in islice(modicum.Queue.from_name(name).iterate(partition=partition), count):
        click.echo(item)


@queues.command("len")
@click.argument("name", metavar="NAME")
@partition_
@click.option("-t", "--total", is_flag=True, help="Of all partitions together.")
@options.environment
def length(name: str, partition: str | None, total: bool) -> None:
    """Print how many items are in a partition."""
    click.echo(modicum.Queue.from_name(name).len(partition=partition, total=total))
