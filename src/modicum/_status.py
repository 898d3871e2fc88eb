"""What is going on right now? One line on the terminal, below all output, drawn again and again and gone at the end.

It stands on the line *below* the cursor, which stays where it is: whatever the user's own program prints meanwhile goes
where it would have gone, and a line that it left unfinished stays whole. Nothing else of the terminal is changed, so
that there is nothing to restore, however the program ends.
"""

from __future__ import annotations

import threading
import time

from modicum import _terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO

EVERY_S = 0.1
AFTER_S = 0.3
"""What is over within this time is not shown: it would only flicker."""

_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_FRAMES_ASCII = "|/-\\"

_CLEAR = "\x1b[J"  # from the cursor on: what stood below, and what the user's own Enter has moved the cursor into
_ROOM_BELOW = "\x1bD\x1b[A"  # scrolls where the cursor is on the last line; the column stays
_BELOW, _BACK = "\x1b7\x1b[B\r", "\x1b8"


class StatusLine:
    """Draws what `text` gives, in a thread of its own; nothing while that is empty. `lock` guards the terminal."""

    def __init__(self, stream: IO[str], lock: threading.RLock, text: Callable[[], str]) -> None:
        self._stream = stream
        self._lock = lock
        self._text = text
        self._drawn = False
        self._closed = threading.Event()
        self._frames = _FRAMES if _terminal.can_print(_FRAMES, stream) else _FRAMES_ASCII
        self._thread = threading.Thread(target=self._run, name="modicum-status", daemon=True)
        self._thread.start()

    def clear(self) -> None:
        """Take it off the terminal; it comes back with the next drawing. Called with the lock held."""
        if self._drawn:
            self._drawn = False
            self._write(_CLEAR)

    def close(self) -> None:
        """Take it off for good."""
        self._closed.set()
        self._thread.join(1)  # it may be asking somebody
        with self._lock:
            self.clear()

    def _run(self) -> None:
        number = 0
        while not self._closed.wait(EVERY_S):
            text = self._text()
            with self._lock:
                if self._closed.is_set():
                    return
                if text:
                    self._draw(f"{self._frames[number % len(self._frames)]} {text}")
                else:
                    self.clear()
            number += 1

    def _draw(self, text: str) -> None:
        line = _terminal.coloured(_terminal.clipped(text, _terminal.width() - 1), _terminal.DIM, self._stream)
        room = "" if self._drawn else _ROOM_BELOW
        self._write(f"{_CLEAR}{room}{_BELOW}{line}{_BACK}")
        self._drawn = True

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            self._closed.set()


class Stage:
    """Something that takes a while, and since when."""

    def __init__(self, what: str) -> None:
        self.what = what
        self._since = time.monotonic()

    @property
    def seconds(self) -> float:
        """How long it has taken."""
        return time.monotonic() - self._since

    def __str__(self) -> str:
        seconds = self.seconds
        if seconds < AFTER_S:
            return ""
        return self.what if seconds < 2 else f"{self.what} · {seconds:.0f} s"
