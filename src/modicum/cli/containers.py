"""`modicum container`: what runs, what has ended and why, and how to end one."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click

from modicum.cli import options, tables
from modicum.cli.asking import ask, ask_if_running
from modicum.cli.executing import execute, wants_terminal
from modicum.cli.groups import Group

Moment = Callable[[float], str]


@click.group(cls=Group)
def container() -> None:
    """Look at containers, go into them, and stop them."""


@container.command("list")
@click.option("--app-id", metavar="ID", help="Only those of this app.")
@click.option("-a", "--all", "with_ended", is_flag=True, help="Also those that have ended in the last days, and why.")
@click.option(
    "--limit", metavar="N", type=click.IntRange(min=1), default=100, show_default=True,
    help="With `--all`: so many of those that have ended, the last ones.",
)  # fmt: skip
@options.as_json
@options.environment
def list_containers(app_id: str | None, with_ended: bool, limit: int, as_json: bool) -> None:
    """List the containers that there are, the oldest first."""
    moment = tables.iso if as_json else tables.moment
    answer = ask_if_running({"t": "container.list"})
    live = [] if answer is None else [each for each in answer["containers"] if app_id in (None, each["app"])]
    rows = [_row(each, moment) for each in live]
    columns = {
        "container_id": "Container", "app_name": "App", "function": "Function", "state": "State",
        "inputs_running": "Inputs", "state_since": "Since",
    }  # fmt: skip
    nothing = "no container runs"
    if with_ended:
        ended = ask({"t": "container.ended", "limit": limit, **({} if app_id is None else {"app": app_id})})
        rows = [*(_ended_row(each, moment) for each in reversed(ended["containers"])), *rows]
        columns |= {"reason": "Reason"}
        nothing = "no container runs, and none has ended in the last days"
    tables.show(rows, columns, as_json, nothing)


def _row(each: dict[str, Any], moment: Moment) -> dict[str, Any]:
    started = each.get("started_at")
    return {
        "container_id": each["id"],
        "app_id": each["app"],
        "app_name": each["app_name"],
        "function": each["function"],
        "state": each["state"],
        "inputs_running": each["running"],
        "state_since": moment(each["since"]),
        "started_at": moment(started) if started is not None else None,
        "ended_at": None,
        "reason": None,
    }


def _ended_row(each: dict[str, Any], moment: Moment) -> dict[str, Any]:
    row = _row(
        {**each, "function": each["function_name"], "state": "ended", "running": None, "since": each["ended_at"]},
        moment,
    )
    reason = f"{each['reason']}: {each['detail']}" if each["detail"] else each["reason"]
    told = {"ended_at": row["state_since"], "reason": reason, "exit_code": each["exit_code"], "signal": each["signal"]}
    return row | told


# Options stand before the command: what comes behind it is its own.
@container.command("exec", context_settings={"allow_interspersed_args": False}, no_args_is_help=True)
@click.option(
    "--pty/--no-pty", default=None, help="Give the command a terminal, or none; by default, if this is one itself."
)
@click.argument("container", metavar="CONTAINER")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def exec_in_container(container: str, command: tuple[str, ...], pty: bool | None) -> None:
    """Execute a command in a running container, beside what it runs: `modicum container exec ta-… bash`.

    It has the container's files, variables, rights and limits, and our input and output. Ends with its exit code, 128 +
    n if signal n ended it; with its container it ends, too.
    """
    pty, command = _options_behind(command, pty)
    if not command:
        raise click.UsageError("Missing argument 'COMMAND...'.")
    sys.exit(execute(container, command, terminal=wants_terminal(pty)))


def _options_behind(words: tuple[str, ...], pty: bool | None) -> tuple[bool | None, tuple[str, ...]]:
    """Take the options that stand between the container and the command; no program is called so."""
    while words and words[0] in ("--pty", "--no-pty", "--"):
        first, words = words[0], words[1:]
        if first == "--":
            break
        pty = first == "--pty"
    return pty, words


@container.command("stop")
@click.argument("container", metavar="CONTAINER")
@click.option("--graceful", is_flag=True, help="Let it finish what it runs; it gets nothing more.")
@options.yes
def stop_container(container: str, graceful: bool, yes: bool) -> None:
    """End a container, by its id. What it runs is interrupted and runs again in another."""
    if not yes:
        options.confirm(f"Stop {container}{' when it has finished what it runs' if graceful else ''}?")
    ask({"t": "container.stop", "container": container, "graceful": graceful})
    click.echo(f"stopping {container}")
