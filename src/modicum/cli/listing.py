"""`modicum app`: which apps run, and how to end one."""

from __future__ import annotations

from typing import Any

import click

from modicum._display import counted
from modicum.cli import options, tables
from modicum.cli.asking import ask, ask_if_running
from modicum.exception import InvalidError, NotFoundError


@click.group()
def app() -> None:
    """Look at running apps, and stop them."""


@app.command("list")
@click.option("--limit", metavar="N", type=click.IntRange(min=0), default=0, help="Show so many at most; 0 shows all.")
@options.as_json
@options.environment
def list_apps(limit: int, as_json: bool) -> None:
    """List the apps that run, the newest first."""
    rows = [
        {
            "app_id": each["id"],
            "name": each["name"],
            "state": each["state"],
            "functions": each["functions"],
            "containers": each["containers"],
            "created_at": (tables.iso if as_json else tables.moment)(each["created_at"]),
        }
        for each in _apps()
    ]
    columns = {
        "app_id": "App", "name": "Name", "state": "State", "functions": "Functions", "containers": "Containers",
        "created_at": "Created",
    }  # fmt: skip
    tables.show(rows[: limit or None], columns, as_json, "no app runs")


@app.command("stop")
@click.argument("app", metavar="APP")
@options.yes
@options.environment
def stop_app(app: str, yes: bool) -> None:
    """Stop an app, by its name or id; its containers end."""
    found = [each for each in _apps() if app in (each["id"], each["name"])]
    if not found:
        raise NotFoundError(f"no app named {app!r} runs")
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
