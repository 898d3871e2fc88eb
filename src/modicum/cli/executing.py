"""How a command is executed in a container from here: with our terminal or our pipes as its own, and its exit code."""

from __future__ import annotations

import sys
from typing import Any

from modicum import _own_terminal, _server
from modicum._remote_terminal import RemoteTerminal, new_id
from modicum.cli.errors import warn
from modicum.exception import Error, InvalidError

NOT_EXECUTED = (126, 127)
"""Exit codes of a command that could not be executed; its standard error says why."""


def wants_terminal(asked: bool | None) -> bool:
    """Whether the command gets a terminal: if that is asked for, or if it is left to us and ours is one.

    Raises `InvalidError` if one is asked for where there is none.
    """
    if asked is None:
        return sys.stdin.isatty() and sys.stdout.isatty()
    if asked and not sys.stdin.isatty():
        raise InvalidError(
            "--pty needs a terminal, and the input of this command is none: leave it out, or use --no-pty"
        )
    return asked


def execute(container: str, command: tuple[str, ...], *, terminal: bool) -> int:
    """Execute a command in a running container, to its end; return its exit code, 128 + n if signal n ended it."""
    sys.stdout.flush()
    with RemoteTerminal(_server.connect()) as remote:
        session = new_id()
        start: dict[str, Any] = {"t": "exec.start", "exec": session, "container": container, "argv": list(command)}
        remote.request({**start, "tty": _own_terminal.terminal() if terminal else None})
        try:
            ended = remote.converse(session, raw=terminal)
        except BrokenPipeError:
            raise  # nobody reads on, and nobody needs to be told
        except OSError as error:
            raise Error(f"the command's output cannot be written: {error.strerror}; the command was ended") from None
    if ended.detail and ended.code not in NOT_EXECUTED:
        warn(ended.detail)
    return ended.code
