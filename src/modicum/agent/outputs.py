"""Outputs leave in company: those of very short runs in one frame, kept until the server has acknowledged it."""

from __future__ import annotations

import threading
import time
from collections import deque

from modicum.wire.messages import INLINE_BYTES_MAX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from modicum.agent.link import Link
    from modicum.wire.frames import Header

BATCH_INPUTS = 64
BATCH_BYTES = 256 * 1024
BATCH_S = 0.005
"""Outputs wait for company so long at most, and only while more inputs are queued here."""


class Outputs:
    """Those that wait for company, and those that have left."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._lock = threading.Lock()
        self.entries: list[list[Any]] = []
        self._values: list[bytes] = []
        self._bytes = 0
        self._printed = False
        self._since = 0.0
        self._seq = 0
        self._sent: deque[tuple[int, list[list[Any]]]] = deque()

    def add(self, entry: list[Any], value: bytes, printed: bool) -> None:
        """Send an output soon; `printed` if its input has printed anything."""
        with self._lock:
            if self._bytes + len(value) > INLINE_BYTES_MAX:
                self._send()
            if not self.entries:
                self._since = time.perf_counter()
            self.entries.append(entry)
            self._values.append(value)
            self._bytes += len(value)
            self._printed = self._printed or printed
            if (
                len(self.entries) >= BATCH_INPUTS
                or self._bytes >= BATCH_BYTES
                or time.perf_counter() - self._since > BATCH_S
            ):
                self._send()

    def flush(self) -> None:
        """Send what waits."""
        if self.entries:
            with self._lock:
                self._send()

    def acknowledged(self, seq: int) -> list[list[Any]]:
        """Forget the frames up to this one and return what was in them."""
        done: list[object] = []
        entries: list[list[Any]] = []
        while self._sent and self._sent[0][0] <= seq:
            number, sent = self._sent.popleft()
            done.append(number)
            entries += sent
        self._link.forget(done)
        return entries

    def _send(self) -> None:
        if not self.entries:
            return
        self._seq += 1
        header: Header = {"t": "agent.outputs", "seq": self._seq, "outputs": self.entries}
        if self._printed:
            header["printed"] = True
        self._sent.append((self._seq, self.entries))
        self._link.send_kept(self._seq, header, b"".join(self._values))
        self.entries, self._values, self._bytes, self._printed = [], [], 0, False
