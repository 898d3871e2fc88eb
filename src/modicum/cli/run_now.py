"""`modicum app run-now`: a function with a schedule does not wait until it is due."""

from __future__ import annotations

import click

from modicum import config
from modicum.cli import options
from modicum.cli.asking import ask
from modicum.cli.listing import app


@app.command("run-now")
@click.argument("name", metavar="APP")
@click.argument("function", metavar="[FUNCTION]", default="")
@options.environment
def run_now(name: str, function: str) -> None:
    """Run a function that has a schedule now, whenever it is due next. APP is the app's name or id.

    Without FUNCTION, the only one of the app that has a schedule.

    \b
    modicum app run-now my-app
    modicum app run-now my-app daily_report
    """
    answer = ask({"t": "schedule.run", "app": name, "function": function or None})
    click.echo(f"{answer['function']} runs now as {answer['call']}; its output: {config.command()} app logs {name}")
