"""How containers' output is read, and how the node knows to which input it belongs."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Callable

BATCH_S = 0.020
"""After a read we look away for so long: a program that prints line by line is read in batches, the first at once."""

READ_BYTES = 1 << 16
"""What a pipe holds, and so the largest batch."""

_PIPE_BYTES_MAX = 1 << 20
"""What a program may enlarge its pipe to."""

_MARK, _END = b"\x1e\x02", b"\x03"
_KEY_BYTES_MAX = 256


class OutputPipe:
    """One pipe that a container writes to. `write_end` is for the container; close it once the container has it."""

    def __init__(self, on_data: Callable[[bytes], None]) -> None:
        self._read_end, self.write_end = os.pipe2(os.O_CLOEXEC)
        fcntl.fcntl(self._read_end, fcntl.F_SETFL, os.O_NONBLOCK)
        self._on_data = on_data
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._paused = False
        self._ended = False
        self._watch()

    def close_write_end(self) -> None:
        """Give up the container's end: after that the pipe ends when the container does. Harmless when repeated."""
        if self.write_end >= 0:
            os.close(self.write_end)
            self.write_end = -1

    def pause(self) -> None:
        """Stop reading: the pipe fills up, and then the container's writes block."""
        self._paused = True
        self._unwatch()

    def resume(self) -> None:
        """Read on."""
        if self._paused:
            self._paused = False
            self._watch()

    def drain(self) -> None:
        """Deliver what is in the pipe now, paused or not; no more than it holds, or a writer could keep us here."""
        left = _PIPE_BYTES_MAX
        while left > 0 and not self._ended:
            read = self._read()
            if not read:
                break
            left -= read

    def close(self) -> None:
        """Stop for good."""
        self._end()
        self.close_write_end()

    def _watch(self) -> None:
        self._timer = None
        if not (self._paused or self._ended):
            self._loop.add_reader(self._read_end, self._on_readable)

    def _unwatch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._ended:
            self._loop.remove_reader(self._read_end)

    def _on_readable(self) -> None:
        read = self._read()
        if not self._ended and not self._paused and read < READ_BYTES:
            self._loop.remove_reader(self._read_end)
            self._timer = self._loop.call_later(BATCH_S, self._watch)

    def _read(self) -> int:
        try:
            data = os.read(self._read_end, READ_BYTES)
        except BlockingIOError:
            return 0
        if data:
            self._on_data(data)
        else:
            self._end()
        return len(data)

    def _end(self) -> None:
        if not self._ended:
            self._unwatch()
            self._ended = True
            os.close(self._read_end)


class MarkSplitter:
    """Takes the agent's marks out of one stream: `\\x1e\\x02` key `\\x03` says that what follows belongs to that input.

    A mark may be cut anywhere between two reads. What merely resembles one is output like any other.
    """

    def __init__(self) -> None:
        self._held = b""
        self._key: str | None = None

    def feed(self, data: bytes) -> list[tuple[str | None, bytes]]:
        """Return the pieces of output, each with its input's key or None."""
        data = self._held + data
        self._held = b""
        pieces: list[tuple[str | None, bytes]] = []
        start = 0
        while (mark := data.find(_MARK[:1], start)) >= 0:
            end = data.find(_END, mark, mark + _KEY_BYTES_MAX)
            if _may_be_cut(data[mark:], end):
                break
            if not data.startswith(_MARK, mark) or end < 0:
                self._emit(pieces, data[start : mark + 1])
                start = mark + 1
                continue
            self._emit(pieces, data[start:mark])
            self._key = data[mark + len(_MARK) : end].decode(errors="replace") or None
            start = end + 1
        stop = len(data) if mark < 0 else mark
        self._emit(pieces, data[start:stop])
        self._held = data[stop:]
        return pieces

    def finish(self) -> list[tuple[str | None, bytes]]:
        """Return what was held back in case it became a mark; there is no more to come."""
        held, self._held = self._held, b""
        pieces: list[tuple[str | None, bytes]] = []
        self._emit(pieces, held)
        return pieces

    def _emit(self, pieces: list[tuple[str | None, bytes]], data: bytes) -> None:
        if data:
            pieces.append((self._key, data))


def _may_be_cut(rest: bytes, end: int) -> bool:
    """Whether `rest`, which begins like a mark and has no end at `end`, may get it with the next read."""
    if len(rest) < len(_MARK):
        return True
    return rest.startswith(_MARK) and end < 0 and len(rest) < _KEY_BYTES_MAX
