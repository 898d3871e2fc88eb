"""How errors look on the command line: what happened, to what, what to do; no traceback of ours."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from modicum.exception import Error

INTERRUPTED = 130


@contextmanager
def reporting_errors() -> Iterator[None]:
    """Print errors of Modicum's own as one message and exit with 1; `MODICUM_TRACEBACK=1` shows where they arose."""
    try:
        yield
    except Error as error:
        if wants_traceback():
            raise
        click.secho("Error: ", fg="red", bold=True, err=True, nl=False)
        click.echo(str(error) or type(error).__name__, err=True)
        sys.exit(1)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        sys.exit(INTERRUPTED)


def wants_traceback() -> bool:
    """Return whether our own frames are to be shown. Errors in the configuration must not hide the error itself."""
    from modicum import config

    try:
        return bool(config.get("traceback"))
    except Error:
        return bool(os.environ.get("MODICUM_TRACEBACK"))
