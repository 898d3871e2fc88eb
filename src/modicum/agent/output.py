"""How what user code prints reaches the right input: marks in the stream, which the node takes out again."""

from __future__ import annotations

import io
import os
import sys

MARK_START = b"\x1e\x02"
MARK_END = b"\x03"

_writers: list[_MarkingWriter] = []


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

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

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


def end() -> bool:
    """Hand all that was printed to the kernel, unfinished lines too; return whether this input printed anything."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            pass  # user code may have closed or replaced it
    printed = False
    for writer in _writers:
        printed = printed or writer.has_marked()
        writer.key = b""
    return printed
