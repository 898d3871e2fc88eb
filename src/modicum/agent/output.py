"""How what user code prints reaches the right input: marks in the stream, which the node takes out again."""

from __future__ import annotations

import io
import os
import sys
import threading

from modicum import _context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

MARK_START = b"\x1e\x02"
MARK_END = b"\x03"

HELD_BYTES_MAX = 1 << 16
"""A line that is longer leaves in parts."""

_writers: list[_MarkingWriter] = []
_separators: list[_Separator] = []

at_end: Callable[[str], None] | None = None
"""Called before all that an input, or all of them, printed is handed over: where they may have a terminal."""


class _MarkingWriter(io.RawIOBase):
    """Writes to a descriptor; before the first bytes of another input it writes that input's mark.

    Marks are lazy: an input that prints nothing costs nothing.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._marked = b""
        self.key = b""

    def has_marked(self) -> bool:
        """Return whether the present input has written anything."""
        return bool(self.key) and self._marked == self.key

    def be_plain(self, plain: bool) -> None:
        """From here on write no mark for this input: the descriptor is a terminal. Or write it again: it is none."""
        self._marked = self.key if plain else b""

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, data: object) -> int:
        view = memoryview(data).cast("B")  # type: ignore[arg-type]
        if self._marked != self.key:
            self._marked = self.key
            self._all(memoryview(MARK_START + self.key + MARK_END))
        self._all(view)
        return len(view)

    def _all(self, view: memoryview) -> None:
        while view:
            view = view[os.write(self._descriptor, view) :]


class _Separator(io.BufferedIOBase):
    """Writes to a descriptor in whole lines, each with its input's mark, however many inputs print at once."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.RLock()  # a signal's handler may print, too
        self._rests: dict[bytes, bytes] = {}
        self._printed: set[bytes] = set()
        self._marked = b""
        self._plain = False

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, data: object) -> int:
        view = memoryview(data).cast("B")  # type: ignore[arg-type]
        key = (_context.key() or "").encode()
        with self._lock:
            text = self._rests.pop(key, b"") + view
            whole = self._plain or len(text) > HELD_BYTES_MAX
            end = len(text) if whole else text.rfind(b"\n") + 1
            self._emit(key, text[:end])
            if text[end:]:
                self._rests[key] = text[end:]
        return len(view)

    def flush(self) -> None:
        self.flush_of((_context.key() or "").encode())

    def finish(self, key: bytes) -> bool:
        """The input ends: let go of its unfinished line; return whether it has printed anything."""
        with self._lock:
            self.flush_of(key)
            printed = key in self._printed
            self._printed.discard(key)
            return printed

    def be_plain(self, plain: bool) -> None:
        """From here on write all at once and without marks: the descriptor is a terminal. Or no longer so."""
        with self._lock:
            self._plain = plain
            self._marked = b""

    def flush_of(self, key: bytes) -> None:
        """Let go of an input's unfinished line."""
        with self._lock:
            self._emit(key, self._rests.pop(key, b""))

    def _emit(self, key: bytes, text: bytes) -> None:
        if not text:
            return
        self._printed.add(key)
        if self._marked != key and not self._plain:
            self._marked = key
            text = MARK_START + key + MARK_END + text
        view = memoryview(text)
        while view:
            view = view[os.write(self._descriptor, view) :]


def separate() -> None:
    """Put under `sys.stdout` and `sys.stderr` what tells apart the inputs that run at once, by `_context.key()`."""
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        separator = _Separator(descriptor)
        _separators.append(separator)
        buffer: Any = separator  # typeshed wants more of it than `write_through` uses
        stream = io.TextIOWrapper(buffer, encoding="utf-8", errors="backslashreplace", write_through=True)
        setattr(sys, name, stream)


def capture() -> None:
    """Put marking writers under `sys.stdout` and `sys.stderr`. A line leaves the process when it is complete."""
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        writer = _MarkingWriter(descriptor)
        _writers.append(writer)
        stream = io.TextIOWrapper(
            io.BufferedWriter(writer), encoding="utf-8", errors="backslashreplace", line_buffering=True
        )
        setattr(sys, name, stream)


def begin(key: str) -> None:
    """What is printed from now on belongs to the input `key`."""
    marked = key.encode()
    for writer in _writers:
        writer.key = marked


def be_plain(plain: bool) -> None:
    """Both streams are a terminal from here on, or no longer so. What was printed before has been flushed."""
    for writer in _writers:
        writer.be_plain(plain)
    for separator in _separators:
        separator.be_plain(plain)


def end(key: str = "") -> bool:
    """Hand all that was printed to the kernel, unfinished lines too; return whether this input printed anything.

    `key` is the input's, where several run at once.
    """
    if at_end is not None:
        at_end(key)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            pass  # user code may have closed or replaced it
    printed = False
    for writer in _writers:
        printed = printed or writer.has_marked()
        writer.key = b""
    for separator in _separators:
        printed = separator.finish(key.encode()) or printed
    return printed
