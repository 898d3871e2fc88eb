"""Options that several commands have."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import click

from modicum import config
from modicum.exception import InvalidError, NotFoundError

ENVIRONMENTS = ("main",)


def environment(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--env`. There is one environment, `main`; another is an error."""

    @click.option("-e", "--env", metavar="NAME", help="The environment; there is one, main.")
    @functools.wraps(command)
    def checked(*args: Any, env: str | None, **kwargs: Any) -> Any:
        check_environment(env if env is not None else config.get("environment"))
        return command(*args, **kwargs)

    return checked


def check_environment(name: str) -> None:
    """Raise `NotFoundError` unless there is such an environment."""
    if name not in ENVIRONMENTS:
        raise NotFoundError(f"there is no environment {name!r}; this server has only {', '.join(ENVIRONMENTS)}")


def confirm(question: str) -> None:
    """Ask on the terminal; a no ends the command with 1. Raises `InvalidError` where nobody can be asked."""
    if not sys.stdin.isatty():
        raise InvalidError(f"{question} Nobody can be asked here: answer with `--yes`")
    if not click.confirm(question, err=True):
        click.echo("nothing was done", err=True)
        sys.exit(1)


def no_color(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--no-color`, which Modal's tables have."""

    @click.option("--no-color", is_flag=True, help="Without colours; there are none.")
    @functools.wraps(command)
    def plain(*args: Any, no_color: bool, **kwargs: Any) -> Any:
        return command(*args, **kwargs)

    return plain


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
yes = click.option("-y", "--yes", is_flag=True, help="Do not ask.")

since = click.option("--since", metavar="WHEN", help="From when on: how long ago (`30m`, `2h`, `1d`), or ISO 8601.")
until = click.option("--until", metavar="WHEN", help="Until when; as `--since`.")
