"""`modicum app logs`, `container logs` and `function logs`: what was printed, then and now."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import click

from modicum.cli import moments, options
from modicum.cli.containers import container
from modicum.cli.errors import INTERRUPTED
from modicum.cli.functions import function
from modicum.cli.listing import app
from modicum.cli.log_printing import PREFIXES, JsonPrinter, LogPrinter
from modicum.cli.log_reading import Log, Where, find, follow, last, stretch
from modicum.exception import InvalidError, NotFoundError

LINES = 100

Printer = LogPrinter | JsonPrinter


def show_following(log: Log, where: Where, printer: Printer, lines: int | None = None) -> None:
    """Show what is wanted of a log as it comes, until its app has ended, or an interrupt. See `follow`."""
    try:
        for entries in follow(log.id, where, lines):
            for entry in entries:
                printer.show(entry)
            if not entries:
                printer.rest()
    except KeyboardInterrupt:
        printer.close()
        sys.exit(INTERRUPTED)  # nothing was broken off: there is nothing to say
    printer.close()


def _reading(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that all three commands have."""
    for decorate in reversed([
        click.option("-f", "--follow", "following", is_flag=True, help="Go on with what comes, until it has ended."),
        options.since,
        options.until,
        click.option(
            "-n", "--tail", metavar="N", type=click.IntRange(min=1),
            help=f"The last N lines; {LINES} unless a time or `--all` is given.",
        ),
        click.option("--all", "everything", is_flag=True, help="All that is kept."),
        click.option("--search", metavar="TEXT", default="", help="Only lines with this text in them."),
        click.option(
            "-s", "--source", type=click.Choice(["stdout", "stderr", "system"]),
            help="Only this stream; what Modicum itself says is `system`.",
        ),
        click.option("--timestamps", is_flag=True, help="Put the time before each line."),
        click.option("--show-function-id", is_flag=True, help="Put the function's id before each line."),
        click.option("--show-function-call-id", is_flag=True, help="Put the call's id before each line."),
        click.option("--show-container-id", is_flag=True, help="Put the container's id before each line."),
        click.option("--json", "as_json", is_flag=True, help="Print a JSON object for each line."),
    ]):  # fmt: skip
        command = decorate(command)
    return options.environment(command)


_call = click.option("--function-call", "--call", "call", metavar="ID", default="", help="Only of this call (fc-…).")
_container = click.option("--container", "container", metavar="ID", default="", help="Only of this container (ta-…).")


@app.command("logs")
@click.argument("app", metavar="APP")
@click.option("--function", metavar="NAME", help="Only of this function, by its name or id.")
@_call
@_container
@_reading
def app_logs(app: str, function: str | None, call: str, container: str, **reading: Any) -> None:
    """Show what an app's containers printed, by its name or id; also when it has ended.

    What is kept is the output of the last days. The last lines are shown, or what is asked for.

    \b
    modicum app logs my-app -f
    modicum app logs my-app --since 2h --search error
    modicum app logs my-app --call fc-… --timestamps
    """
    call, container = _id("--call", "fc-", call), _id("--container", "ta-", container)
    log = find(app)
    functions = functions_named(log, function) if function is not None else ()
    _show(log, Where(functions=functions, call=call, container=container), **reading)


@container.command("logs")
@click.argument("container", metavar="CONTAINER")
@_reading
def container_logs(container: str, **reading: Any) -> None:
    """Show what a container printed, by its id; also when it has ended."""
    _show(find(_id("CONTAINER", "ta-", container)), Where(container=container), **reading)


@function.command("logs")
@click.argument("function", metavar="FUNCTION")
@_call
@_container
@click.option(
    "--all-variants", is_flag=True, help="With an id: also of the function's variants, and of what it varies."
)
@_reading
def function_logs(function: str, call: str, container: str, all_variants: bool, **reading: Any) -> None:
    """Show what a function printed, by `APP/NAME` or its id; also when its app has ended."""
    call, container = _id("--call", "fc-", call), _id("--container", "ta-", container)
    of, _, name = function.partition("/")
    if not name and not of.startswith("fu-"):
        raise InvalidError(f"{function!r} names no function: say APP/NAME, or a function's id (fu-…)")
    log = find(of)
    if all_variants and not name:
        name = log.functions.get(of, of)
    functions = functions_named(log, name) if name else (of,)
    _show(log, Where(functions=functions, call=call, container=container), **reading)


def functions_named(log: Log, name: str) -> tuple[str, ...]:
    """Return the ids of a function and its variants, or of the class that a method belongs to.

    Raises `NotFoundError` with the names that there are.
    """
    if name.startswith("fu-"):
        return (name,)
    wanted = {name, f"{name}.*", f"{name.rpartition('.')[0]}.*"}
    found = tuple(id_ for id_, each in log.functions.items() if each in wanted)
    if not found:
        names = ", ".join(sorted(set(log.functions.values()))) or "none"
        raise NotFoundError(f"the app {log.app} has no function {name!r} that has run; it has {names}")
    return found


def _id(option: str, prefix: str, text: str) -> str:
    if text and not text.startswith(prefix):
        raise InvalidError(f"{option} {text!r} is no id: it begins with {prefix!r}")
    return text


def _show(
    log: Log,
    where: Where,
    following: bool,
    since: str | None,
    until: str | None,
    tail: int | None,
    everything: bool,
    search: str,
    source: str | None,
    as_json: bool,
    **prefixes: bool,
) -> None:
    """Show what the options ask for."""
    if following and until is not None:
        raise InvalidError("--follow goes on with what comes: it has no --until")
    if everything and tail is not None:
        raise InvalidError("--all and --tail are two answers to one question: give one of them")
    where = replace(
        where,
        streams=() if source is None else (source,),
        search=search,
        since=None if since is None else moments.parse("--since", since),
        until=None if until is None else moments.parse("--until", until),
    )
    if where.since is not None and where.until is not None and where.since > where.until:
        raise InvalidError(f"--since {since} comes after --until {until}")
    lines = tail if tail is not None or everything or since is not None or until is not None else LINES
    wanted = [name for name in PREFIXES if prefixes.get(_OPTIONS[name])]
    printer = JsonPrinter(log, search) if as_json else LogPrinter(wanted, search)
    if following:
        show_following(log, replace(where, since=0.0) if everything else where, printer, lines)
        return
    for entries in [last(log.id, lines, where)] if lines is not None else stretch(log.id, where):
        for entry in entries:
            printer.show(entry)
    printer.close()


_OPTIONS = {
    "timestamp": "timestamps",
    "function_id": "show_function_id",
    "function_call_id": "show_function_call_id",
    "container_id": "show_container_id",
}
