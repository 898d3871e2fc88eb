"""`modicum app history|rollback|rollover|info`: what an app is, was, and shall be again."""

from __future__ import annotations

import re
from typing import Any

import click

from modicum._publishing import author
from modicum.cli import options, schedules, tables
from modicum.cli.asking import ask
from modicum.cli.deploy import strategy_option
from modicum.cli.listing import app
from modicum.exception import InvalidError


@app.command("history")
@click.argument("name", metavar="APP")
@options.as_json
@options.environment
def show_history(name: str, as_json: bool) -> None:
    """List the versions of a deployed app, by its name or id, the newest first."""
    answer = ask({"t": "app.history", "app": name})
    rows = [
        {
            "version": f"v{each['version']}",
            "deployed_at": (tables.iso if as_json else tables.moment)(each["deployed_at"]),
            "client": each["client"],
            "deployed_by": each["deployed_by"],
            "strategy": each["strategy"],
            "origin": each["origin"],
            "tag": each["tag"] or None,
            "functions": each["functions"],
        }
        for each in answer["versions"]
    ]
    columns = {
        "version": "Version", "deployed_at": "Deployed", "client": "Client", "deployed_by": "By",
        "strategy": "Strategy", "origin": "Origin", "tag": "Tag",
    }  # fmt: skip
    tables.show(rows, columns, as_json, f"the app {answer['name']} has no versions: it was not deployed")


@app.command("rollback")
@click.argument("name", metavar="APP")
@click.argument("version", metavar="[VERSION]", default="")
@strategy_option
@options.environment
def roll_back(name: str, version: str, strategy: str) -> None:
    """Deploy an earlier version of an app again, by default the one before the present one.

    \b
    modicum app rollback my-app
    modicum app rollback my-app v3
    """
    _publish({"t": "app.rollback", "app": name, "version": _number(version) if version else None}, strategy)


def _number(version: str) -> int:
    if not re.fullmatch(r"v?[1-9][0-9]*", version):
        raise InvalidError(f"{version!r} is no version; those are v1, v2, … as `app history` lists them")
    return int(version.removeprefix("v"))


@app.command("rollover")
@click.argument("name", metavar="APP")
@strategy_option
@options.environment
def roll_over(name: str, strategy: str) -> None:
    """Replace all containers of an app by new ones, without any other change."""
    _publish({"t": "app.rollover", "app": name}, strategy)


def _publish(header: dict[str, Any], strategy: str) -> None:
    answer = ask({**header, "strategy": strategy, **author()})
    click.echo(f"{answer['name']} is version {answer['version']} now")


@app.command("info")
@click.argument("name", metavar="APP")
@options.as_json
@options.no_color
@options.environment
def show_info(name: str, as_json: bool) -> None:
    """Show what there is to know of an app, by its name or id."""
    facts = ask({"t": "app.info", "app": name})
    scheduled = ask({"t": "schedule.list", "apps": [facts["app"]]})["schedules"]
    written = tables.iso if as_json else tables.moment
    times = {each: None if facts[each] is None else written(facts[each]) for each in _TIMES}
    shown = {
        "app_id": facts["app"],
        "name": facts["name"],
        "state": facts["state"],
        "version": facts["version"],
        "tag": facts["tag"],
        "created_by": facts["created_by"],
        "deployed_by": facts["deployed_by"] or None,
        **times,
        "tags": facts["tags"],
        "functions": sorted(facts["functions"]),
    }
    if as_json:
        tables.show_facts({**shown, "schedules": [schedules.facts(each) for each in scheduled]})
        return
    for heading, value in shown.items():
        text = ", ".join(f"{key}={each}" for key, each in value.items()) if isinstance(value, dict) else value
        text = ", ".join(text) if isinstance(text, list) else text
        if text not in (None, ""):
            click.echo(f"{heading.replace('_', ' ').capitalize():<12} {text}")
    for each in scheduled:
        click.echo(f"{'Schedule':<12} {each['function']}: {schedules.sentence(each)}")


_TIMES = ("created_at", "deployed_at", "ended_at")
