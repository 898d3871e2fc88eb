"""How errors look on the command line: what happened, to what, what to do; no traceback of ours."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import click

from modicum import _terminal
from modicum.exception import Error

INTERRUPTED = 130
"""What a shell says of a command that SIGINT ended."""

THREADS_WITHIN_S = 0.5


@contextmanager
def reporting_errors() -> Iterator[None]:
    """Print errors of Modicum's own as one message and exit with 1; `MODICUM_TRACEBACK=1` shows where they arose."""
    try:
        yield
    except Error as error:
        if wants_traceback():
            raise
        say("Error", str(error) or type(error).__name__, _terminal.RED)
        sys.exit(1)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the next one would only show where the interpreter ends
        click.echo("interrupted", err=True)
        _leave()


def say(what: str, text: str, colour: str) -> None:
    """Print a message of ours, with a word before it that tells its kind."""
    click.echo(f"{_terminal.coloured(f'{what}: ', f'{_terminal.BOLD};{colour}', sys.stderr)}{text}", err=True)


def warn(text: str) -> None:
    """Print what the user should know, though it goes on."""
    say("Warning", text, _terminal.YELLOW)


def _leave() -> NoReturn:
    """End now. Threads of the user's program that do not end by themselves would keep the process for ever."""
    others = [each for each in threading.enumerate() if each is not threading.main_thread() and not each.daemon]
    deadline = time.monotonic() + THREADS_WITHIN_S
    for other in others:
        other.join(max(deadline - time.monotonic(), 0))
    if any(other.is_alive() for other in others):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(INTERRUPTED)
    sys.exit(INTERRUPTED)


def wants_traceback() -> bool:
    """Return whether our own frames are to be shown. Errors in the configuration must not hide the error itself."""
    from modicum import config

    try:
        return bool(config.get("traceback"))
    except Error:
        return bool(os.environ.get("MODICUM_TRACEBACK"))
