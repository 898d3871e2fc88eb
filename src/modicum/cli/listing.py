"""`modicum app`: which apps run, and how to end one."""

from __future__ import annotations

from typing import Any

import click

from modicum._display import counted
from modicum._old_names import nearest
from modicum.cli import options, schedules, tables
from modicum.cli.asking import ask, ask_if_running
from modicum.cli.groups import Group
from modicum.exception import InvalidError, NotFoundError

STATES = {"detached": "ephemeral (detached)"}


@click.group(cls=Group, not_yet=frozenset({"dashboard", "promote", "stats"}))
def app() -> None:
    """Look at apps, bring them back to what they were, and stop them."""


@app.command("list")
@click.option("--limit", metavar="N", type=click.IntRange(min=0), default=0, help="Show so many at most; 0 shows all.")
@options.as_json
@options.environment
def list_apps(limit: int, as_json: bool) -> None:
    """List the apps that run or are deployed and, behind them, those that ended in the last day; the newest first."""
    written = tables.iso if as_json else tables.moment
    rows = [
        {
            "app_id": each["id"],
            "name": each["name"],
            "state": STATES.get(each["state"], each["state"]),
            "version": each["version"] or None,
            "functions": each["functions"],
            "containers": each["containers"],
            "created_at": written(each["created_at"]),
            "stopped_at": None if each["ended_at"] is None else written(each["ended_at"]),
            "next_run_at": schedules.soonest(each.get("schedules", []), written),
            "last_run": schedules.latest(each.get("schedules", []), written),
        }
        for each in _apps()
    ]
    columns = {
        "app_id": "App", "name": "Name", "state": "State", "version": "Version", "functions": "Functions",
        "containers": "Containers", "created_at": "Created", "stopped_at": "Stopped",
    }  # fmt: skip
    if any(row["next_run_at"] or row["last_run"] for row in rows):
        columns |= {"next_run_at": "Next run", "last_run": "Last run"}
    tables.show(rows[: limit or None], columns, as_json, "no app runs")


@app.command("stop")
@click.argument("app", metavar="APP")
@options.yes
@options.environment
def stop_app(app: str, yes: bool) -> None:
    """Stop an app for good, by its name or id: its containers end, and its name is free."""
    known = ask({"t": "app.list"})["apps"]  # where no server runs, a deployed app comes back with the next
    there = [each for each in known if each["ended_at"] is None]
    found = [each for each in there if app in (each["id"], each["name"])]
    found = [each for each in found if each["state"] == "deployed"] or found
    if not found:
        ended = next((each for each in known if app in (each["id"], each["name"])), None)
        if ended is not None:
            raise NotFoundError(f"the app {app!r} was stopped already, at {tables.moment(ended['ended_at'])}")
        close = nearest(app, [each["name"] for each in there])
        raise NotFoundError(f"no app named {app!r} runs or is deployed{close}")
    if len(found) > 1:
        ids = ", ".join(each["id"] for each in found)
        raise InvalidError(f"{len(found)} apps named {app!r} run; say which one: {ids}")
    if not yes:
        containers = counted(found[0]["containers"], "container")
        options.confirm(f"Stop {found[0]['name']} ({found[0]['id']}) and its {containers}?")
    ask({"t": "app.stop", "app": found[0]["id"]})
    click.echo(f"stopped {found[0]['id']}")


def _apps() -> list[dict[str, Any]]:
    answer = ask_if_running({"t": "app.list"})
    return answer["apps"] if answer is not None else []
