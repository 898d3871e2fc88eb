"""`modicum run -`: the program comes from stdin, and lies in a file for as long as the command runs."""

from __future__ import annotations

import os
import sys
import tempfile

import click

from modicum import config
from modicum.exception import InvalidError

STDIN = "-"
NAME = "modicum_stdin_app.py"


def saved(reference: str, as_module: bool) -> str:
    """Return the reference, which names stdin, with a file that has what came from there in its place.

    Raises `InvalidError` if nothing was piped in.
    """
    if as_module:
        raise InvalidError("a program that comes from stdin (`-`) is no module; leave `-m` out")
    if sys.stdin is None or sys.stdin.isatty():
        raise InvalidError(f"no program was piped in: `cat my_app.py | {config.command()} run -`")
    folder = click.get_current_context().with_resource(tempfile.TemporaryDirectory(prefix="modicum-stdin-"))
    path = os.path.join(folder, NAME)
    with open(path, "wb") as file:
        file.write(sys.stdin.buffer.read())
    sys.path.insert(0, os.getcwd())  # it may import what lies there, as `python -` may
    return path + reference[len(STDIN) :]


def is_meant(reference: str) -> bool:
    """Whether a reference names stdin."""
    return reference.partition("::")[0] == STDIN
