"""How the input and output of an executed command pass between its descriptors and the frames of its session.

Neither side waits for the other: what is read is bounded by the reader's credit, what is written by the writer's.
"""

from __future__ import annotations

import asyncio
import os
import termios
from collections.abc import Callable

from modicum.wire.terminals import CHUNK_BYTES, WINDOW_BYTES

_END_OF_INPUT = b"\x04"
"""What says it to a terminal: Ctrl-D, at the beginning of a line."""


class Outputs:
    """What a command writes, as its user takes it."""

    def __init__(self, on_data: Callable[[str, bytes], None]) -> None:
        self._on_data = on_data
        self._loop = asyncio.get_running_loop()
        self._open: dict[str, int] = {}
        self._credit = WINDOW_BYTES
        self._is_draining = False
        self._changed = asyncio.Event()

    def add(self, stream: str, descriptor: int) -> None:
        """Read this from now on; it is closed by us."""
        os.set_blocking(descriptor, False)
        self._open[stream] = descriptor
        self._watch(stream)

    def acknowledge(self, count: int) -> None:
        """The user has taken so much."""
        had, self._credit = self._credit, min(WINDOW_BYTES, self._credit + count)
        if had <= 0:
            for stream in list(self._open):
                self._watch(stream)
        self._changed.set()

    async def drained(self) -> None:
        """Return when all has been read that there is. Others may hold the other end, so no end is waited for."""
        self._is_draining = True
        while self._open:
            for stream in list(self._open):
                while self._credit > 0 and stream in self._open and self._read(stream):
                    pass
            if self._credit > 0:
                break
            self._changed.clear()
            await self._changed.wait()

    def close(self) -> None:
        """Read no more. Harmless when repeated."""
        for stream in list(self._open):
            self._end(stream)

    def _watch(self, stream: str) -> None:
        if not self._is_draining:
            self._loop.add_reader(self._open[stream], self._on_readable, stream)

    def _on_readable(self, stream: str) -> None:
        if self._credit > 0:
            self._read(stream)
        if self._credit <= 0:
            for descriptor in self._open.values():
                self._loop.remove_reader(descriptor)

    def _read(self, stream: str) -> bool:
        """Read some; return whether there was anything."""
        try:
            data = os.read(self._open[stream], min(CHUNK_BYTES, self._credit))
        except BlockingIOError:
            return False
        except OSError:
            data = b""  # nobody has the far side of the terminal any longer
        if not data:
            self._end(stream)
            return False
        self._credit -= len(data)
        self._on_data(stream, data)
        return True

    def _end(self, stream: str) -> None:
        descriptor = self._open.pop(stream)
        self._loop.remove_reader(descriptor)
        os.close(descriptor)


class Input:
    """What a command reads, as it takes it. The descriptor is closed by us."""

    def __init__(self, descriptor: int, on_taken: Callable[[int], None], *, is_terminal: bool) -> None:
        self._descriptor = descriptor
        self._on_taken = on_taken
        self._is_terminal = is_terminal
        self._loop = asyncio.get_running_loop()
        self._pending = bytearray()
        self._owed = 0
        self._has_ended = False
        os.set_blocking(descriptor, False)

    def write(self, data: bytes, is_last: bool) -> None:
        """Write this, and after it, if it is the last, the end. What comes behind the end is ignored."""
        if self._descriptor < 0 or self._has_ended:
            return
        self._pending += data
        self._owed += len(data)
        if is_last and self._is_terminal:
            self._pending += _END_OF_INPUT
        self._has_ended = is_last and not self._is_terminal
        self._flush()

    def resize(self, rows: int, columns: int) -> None:
        """Give the terminal another size, which the kernel tells the command."""
        if self._is_terminal and self._descriptor >= 0:
            termios.tcsetwinsize(self._descriptor, (rows, columns))

    def close(self) -> None:
        """Write no more. Harmless when repeated."""
        if self._descriptor >= 0:
            self._loop.remove_writer(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def _flush(self) -> None:
        count = 0
        try:
            while self._pending:
                written = os.write(self._descriptor, self._pending)
                del self._pending[:written]
                count += written
        except BlockingIOError:
            self._loop.add_writer(self._descriptor, self._flush)
        except OSError:
            count += len(self._pending)  # nobody reads it any longer: it is as good as taken
            self._pending.clear()
            self.close()
        if taken := min(count, self._owed):  # what says the end to a terminal was not sent to us
            self._owed -= taken
            self._on_taken(taken)
        if not self._pending and self._descriptor >= 0:
            self._loop.remove_writer(self._descriptor)
            if self._has_ended:
                self.close()
