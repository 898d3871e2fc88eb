"""Somebody at a terminal: runs a command on it, reads what is written there, and types."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time

WITHIN_S = 60.0


class Typist:
    """A command that runs on a terminal of its own."""

    def __init__(self, words: list[str], *, rows: int = 24, cols: int = 80, cwd: str | None = None) -> None:
        self._master, self._slave = pty.openpty()
        self.resize(rows, cols)
        self.before = termios.tcgetattr(self._slave)
        self.process = subprocess.Popen(
            ["setsid", "--ctty", "--wait", *words],
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
            cwd=cwd,
        )
        self.seen = ""
        self._place = 0

    def resize(self, rows: int, cols: int) -> None:
        """Give the terminal another size; what runs on it is told."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    @property
    def is_restored(self) -> bool:
        """Whether the terminal's settings are what they were."""
        return termios.tcgetattr(self._slave) == self.before

    def type(self, text: str) -> None:
        """Press these keys."""
        os.write(self._master, text.encode())

    def until(self, text: str) -> str:
        """Return what was written, up to this text; what comes next is looked for behind it."""
        deadline = time.monotonic() + WITHIN_S
        while (place := self.seen.find(text, self._place)) < 0:
            left = deadline - time.monotonic()
            assert left > 0, f"waited in vain for {text!r}\n{self.seen}"
            self._read(left)
        start, self._place = self._place, place + len(text)
        return self.seen[start:place]

    def end(self) -> int:
        """Wait for the command's end; return its exit status."""
        deadline = time.monotonic() + WITHIN_S
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"it does not end\n{self.seen}"
            self._read(0.05)
        while self._read(0):
            pass
        return int(self.process.returncode)

    def close(self) -> None:
        """Leave the terminal; what still runs on it is ended."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        for descriptor in (self._master, self._slave):
            os.close(descriptor)

    def _read(self, within_s: float) -> bool:
        ready, _, _ = select.select([self._master], [], [], within_s)
        if ready:
            self.seen += os.read(self._master, 65536).decode(errors="replace")
        return bool(ready)
