"""How a generator's items leave: in numbered pieces, never further ahead of the reader than a window."""

from __future__ import annotations

import threading
from collections import deque

from modicum.exception import InputCancellation
from modicum.wire.frames import PAYLOAD_BYTES_MAX
from modicum.wire.messages import AHEAD_BYTES, AHEAD_PIECES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from modicum.agent.link import Link


class Pieces:
    """One running generator's outlet. What is sent is kept until the reader has it, and sent again if need be."""

    def __init__(self, link: Link, key: str) -> None:
        self._link = link
        self._key = key
        self._next = 0
        self._sizes: deque[int] = deque()
        self._ahead = 0
        self._moved = threading.Condition()
        self._cancelled = False

    def send(self, item: bytes) -> None:
        """Send one item; blocks while the reader is a window behind. Raises `InputCancellation` once nobody reads."""
        for chunk, end in cut(item):
            with self._moved:
                self._moved.wait_for(lambda: self._cancelled or self.has_room())
            if self._cancelled:
                raise InputCancellation("the generator was given up by its caller")
            self.send_nowait(chunk, end)

    def cancel(self) -> None:
        """Nobody reads any longer: `send` raises, in whichever thread it waits."""
        with self._moved:
            self._cancelled = True
            self._moved.notify_all()

    def has_room(self) -> bool:
        """Return whether another piece fits into the window."""
        return self._ahead < AHEAD_BYTES and len(self._sizes) < AHEAD_PIECES

    def send_nowait(self, chunk: bytes, end: bool) -> None:
        """Send a piece; the caller has looked that there is room."""
        number = self._next
        with self._moved:
            self._next += 1
            self._sizes.append(len(chunk))
            self._ahead += len(chunk)
        header = {"t": "agent.piece", "key": self._key, "piece": number, "end": end}
        self._link.send_kept((self._key, number), header, chunk)

    def acknowledged(self, pieces: int) -> None:
        """The reader has all pieces below `pieces`: they may go, and as many new ones may follow."""
        gone: list[object] = []
        with self._moved:
            first = self._next - len(self._sizes)
            for number in range(first, min(pieces, self._next)):
                self._ahead -= self._sizes.popleft()
                gone.append((self._key, number))
            self._moved.notify_all()
        self._link.forget(gone)

    def forget(self) -> None:
        """The reader has them all."""
        self.acknowledged(self._next)

    def resend(self) -> None:
        """Send all that has not been acknowledged once more: its reader has a new connection."""
        with self._moved:
            first = self._next - len(self._sizes)
            names: list[object] = [(self._key, number) for number in range(first, self._next)]
        self._link.resend(names)


def cut(item: bytes) -> Iterator[tuple[bytes, bool]]:
    """Yield an item's pieces, each with whether it is the last."""
    last = max(len(item) - 1, 0) // PAYLOAD_BYTES_MAX
    for number in range(last + 1):
        start = number * PAYLOAD_BYTES_MAX
        yield item[start : start + PAYLOAD_BYTES_MAX], number == last
