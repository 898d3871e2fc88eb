"""`modicum server`: the local server by hand. It starts by itself when it is needed."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import click

from modicum import _server, config
from modicum.cli.boot import install


@click.group()
def server() -> None:
    """Start, stop and look at the local server."""


@server.command()
def start() -> None:
    """Start the server in the background; it starts by itself when it is needed."""
    link = _server.connect()
    facts = _server.ask(link, {"t": "server.status"})
    click.echo(f"the server runs (pid {facts['pid']}, {facts['socket']})")


@server.command()
def stop() -> None:
    """Stop the server and all that it runs."""
    link = _server.running()
    if link is None:
        click.echo("no server runs")
        return
    pid = _server.ask(link, {"t": "server.status"})["pid"]
    _server.ask(link, {"t": "server.stop", "all": True})
    if not _server.wait_gone(pid, within_s=30):
        logs = f"{config.command()} server logs"
        click.echo(f"the server (pid {pid}) has not ended within 30 s; `{logs}` may say why", err=True)
        sys.exit(1)
    click.echo("stopped")


@server.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def status(as_json: bool) -> None:
    """Show whether the server runs, and what it runs. Exits with 3 if it does not."""
    link = _server.running()
    if link is None:
        click.echo(json.dumps({"running": False}) if as_json else "no server runs")
        sys.exit(3)
    facts = {"running": True, **_server.ask(link, {"t": "server.status"})}
    for name in ("t", "r"):
        del facts[name]
    if as_json:
        click.echo(json.dumps(facts))
    else:
        _show(facts)


def _show(facts: dict[str, Any]) -> None:
    click.echo(f"server     pid {facts['pid']}, build {facts['build']}")
    click.echo(f"keeper     pid {facts['keeper_pid']}")
    click.echo(f"node       pid {facts['node_pid']}, {'ready' if facts['node_ready'] else _why_not(facts)}")
    click.echo(f"runtime    {facts['runtime'] or '-'}")
    click.echo(f"limits     {facts['limits'] or '-'}")
    click.echo(f"network    {facts.get('network') or '-'}")
    click.echo(f"gpus       {_gpus(facts)}")
    click.echo(f"socket     {facts['socket']}")
    click.echo(f"apps       {', '.join(app['name'] for app in facts['apps']) or 'none'}")
    click.echo(f"containers {len(facts['containers'])}")


def _gpus(facts: dict[str, Any]) -> str:
    each = [f"{gpu['type']}:{gpu['count']} ({gpu['free']} free)" for gpu in facts.get("gpus") or ()]
    note = facts.get("gpus_note")
    return f"{', '.join(each) or 'none'}{f'; {note}' if note else ''}"


def _why_not(facts: dict[str, Any]) -> str:
    return f"not ready: {facts['failure']}" if facts.get("failure") else "not ready"


@server.command()
@click.option("-n", "--lines", default=100, show_default=True, help="How many lines of its end.")
def logs(lines: int) -> None:
    """Show the end of the server's own log, and of its keeper's."""
    for name in ("server.log", "keeper.log"):
        path = os.path.join(config.home(), name)
        if os.path.exists(path):
            with open(path, errors="replace") as file:
                click.echo("".join(file.readlines()[-lines:]), nl=False)


server.add_command(install)
