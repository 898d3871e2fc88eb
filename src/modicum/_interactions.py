"""How the functions of a running app come to this process' terminal: one after the other, on a thread of its own."""

from __future__ import annotations

import signal
import socket
import sys
import threading

from modicum import _context, _own_terminal, _server
from modicum._remote_terminal import RemoteTerminal
from modicum.exception import ConnectionError, Error, InvalidError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from modicum._display import Display

CLOSED_WITHIN_S = 1.0


def check(display: Display | None) -> None:
    """Raise `InvalidError` where no function could interact with anybody."""
    if display is None:
        raise InvalidError(
            "Interactive mode requires output to be enabled. (Use the `modal.enable_output()` context manager.)"
        )
    for name in ("stdin", "stdout"):
        stream = getattr(sys, f"__{name}__")
        try:
            is_terminal = stream is not None and stream.isatty()
        except ValueError:  # it was closed
            is_terminal = False
        if not is_terminal:
            raise InvalidError(f"Interactive mode requires a terminal, and {name} is none: it is a pipe or a file")


class Interactions:
    """The interactions of one app. While one goes on, the terminal is in raw mode, and calls wait for its end."""

    def __init__(self, app: str, display: Display) -> None:
        self._app = app
        self._display = display
        self._rests = threading.Event()
        self._rests.set()
        self._is_closed = False
        self._link, self._remote = self._attach()
        self._handlers = _own_terminal.Handlers(
            {signal.SIGWINCH: lambda number: self._remote.resized(), **dict.fromkeys(_own_terminal.FATAL, self._die)}
        )
        self._thread = threading.Thread(target=self._run, name="modicum-interactions", daemon=True)

    def start(self) -> None:
        """Begin to take them. In the main thread signals are handled from here on, so that the terminal is restored."""
        display_shown = _context.shown[self._app]

        def wait_shown(cursor: int, within_s: float) -> bool:
            return display_shown(cursor, within_s) and self._rests.wait(within_s)

        _context.shown[self._app] = wait_shown
        self._handlers.__enter__()
        self._thread.start()

    def close(self) -> None:
        """Take no more; the terminal is as it was."""
        self._is_closed = True
        try:
            self._link.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it is lost already
        self._thread.join(CLOSED_WITHIN_S)
        self._restore()
        self._handlers.__exit__()

    def _attach(self) -> tuple[socket.socket, RemoteTerminal]:
        link = _server.connect()
        remote = RemoteTerminal(link)
        try:
            remote.request({"t": "exec.attach", "app": self._app, "tty": _own_terminal.terminal()})
        except BaseException:
            remote.close()
            raise
        return link, remote

    def _die(self, number: int) -> None:
        self._restore()
        _own_terminal.die_of(number)

    def _restore(self) -> None:
        self._remote.restore()
        self._display.becomes_raw(False)

    # -- the thread ----------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._is_closed:
            try:
                self._interact(self._remote.wait_opened())
            except ConnectionError:
                self._remote.close()
                if self._is_closed or not self._attach_again():
                    return
            except OSError:
                return  # our terminal is gone
            finally:
                self._rests.set()

    def _attach_again(self) -> bool:
        try:
            self._link, self._remote = self._attach()
        except Error:
            return False  # the app has ended
        return True

    def _interact(self, opened: dict[str, Any]) -> None:
        self._rests.clear()
        _context.wait_shown(opened["log"])
        self._display.interaction_begins(opened["function"], opened["container"])
        try:
            self._display.becomes_raw(True)
            ended = self._remote.converse(opened["exec"], raw=True)
        finally:
            self._display.becomes_raw(False)
        if ended.code:
            self._display.interaction_ends(ended.detail)
