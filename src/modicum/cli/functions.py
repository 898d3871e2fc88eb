"""`modicum function`: what is to know of functions."""

from __future__ import annotations

import click


@click.group()
def function() -> None:
    """Look at functions."""
