"""`modicum doctor`: what this machine can do, and what is to be done about what it cannot."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path

import click

from modicum import _terminal, config
from modicum.doctor.findings import Finding, can_run, judge
from modicum.exception import InvalidError

_MARKS = {
    "ok": ("✓", _terminal.GREEN),
    "note": ("·", _terminal.DIM),
    "warning": ("!", _terminal.YELLOW),
    "error": ("✗", _terminal.RED),
}
_FIX_INDENT = " " * 15


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--offline", is_flag=True, help="Do not try whether packages can be reached.")
def doctor(as_json: bool, offline: bool) -> None:
    """Say what this machine can do, and how to get what is missing. Exits with 1 if functions cannot run."""
    found = examine(offline)
    if as_json:
        facts = {"runs": can_run(found), "findings": [dataclasses.asdict(finding) for finding in found]}
        click.echo(json.dumps(facts))
    else:
        show(found)
    sys.exit(0 if can_run(found) else 1)


def examine(offline: bool) -> list[Finding]:
    """Probe this machine and judge it. Raises `InvalidError` for a MODICUM_RUNTIME that there is not."""
    from modicum.doctor.probes import probe
    from modicum.image import PYTHON_VERSIONS
    from modicum.runtimes import AUTO, RUNTIMES

    runtime = os.environ.get("MODICUM_RUNTIME", AUTO)
    if runtime not in RUNTIMES:
        raise InvalidError(f"MODICUM_RUNTIME={runtime!r} is not one of {', '.join(RUNTIMES)}")
    return judge(probe(Path(config.home()), runtime, PYTHON_VERSIONS, offline))


def show(found: list[Finding]) -> None:
    """Print findings for people, a line each, and what to do below."""
    for finding in found:
        mark, colour = _MARKS[finding.level]
        click.echo(f"{_terminal.coloured(mark, colour, sys.stdout)} {finding.name:<12} {finding.text}")
        if finding.fix and finding.level != "ok":
            click.echo(f"{_FIX_INDENT}→ {finding.fix}")
    click.echo()
    click.echo("Functions can run on this machine." if can_run(found) else "Functions cannot run on this machine yet.")
