"""What is this process' own terminal, and how does it pass every key on? And is as it was after that, always."""

from __future__ import annotations

import os
import signal
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any

FATAL = (signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT)
"""Signals that end a process that does not mind them: the terminal is restored first."""


def size(*descriptors: int) -> dict[str, int] | None:
    """Return the rows and columns of the first of these descriptors that is a terminal; None if none is."""
    for descriptor in descriptors:
        try:
            columns, lines = os.get_terminal_size(descriptor)
        except OSError:
            continue
        return {"rows": lines, "cols": columns}
    return None


def terminal(stdin: int = 0, stdout: int = 1) -> dict[str, Any]:
    """Return what a process in a container is to be told of this terminal: its rows, cols and term."""
    return {**(size(stdout, stdin) or {"rows": 24, "cols": 80}), "term": os.environ.get("TERM") or "xterm"}


class RawMode:
    """A terminal in raw mode: no key means anything here, and nothing that is written to it is changed."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._before: list[Any] | None = None

    def enter(self) -> None:
        """Enter it, or enter it again after a shell has set the terminal otherwise. Raises `OSError`."""
        import termios
        import tty

        try:
            if self._before is None:
                self._before = termios.tcgetattr(self._descriptor)
            tty.setraw(self._descriptor, termios.TCSANOW)
        except termios.error as error:
            raise OSError(*error.args) from None

    def leave(self) -> None:
        """Have it as it was. Harmless when repeated, and when the terminal is gone."""
        import termios

        before, self._before = self._before, None
        if before is not None:
            try:
                termios.tcsetattr(self._descriptor, termios.TCSANOW, before)
            except termios.error:
                pass


class Handlers:
    """Signal handlers for a while, in the main thread only: no other may set any, and there nothing happens."""

    def __init__(self, handlers: dict[int, Callable[[int], None]]) -> None:
        self._handlers = handlers
        self._before: dict[int, Any] = {}

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number, handler in self._handlers.items():
                if signal.getsignal(number) is not signal.SIG_IGN:  # `nohup` stays what it is
                    self._before[number] = signal.signal(number, _handling(handler))

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, signal.SIG_DFL if before is None else before)


def _handling(handler: Callable[[int], None]) -> Callable[[int, FrameType | None], None]:
    return lambda number, frame: handler(number)


def die_of(number: int) -> None:
    """End as if this signal had never been handled."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
