"""How a container has the user's terminal: a pty of its own, and a thread that relays it over the agent's link.

What one side sends the other acknowledges when it has been taken, which is the credit for more. The pty outlives an
interaction: to take a terminal away from processes that it controls would end them.
"""

from __future__ import annotations

import fcntl
import os
import select
import struct
import termios
import threading

from modicum.agent.output import MARK_END, MARK_START
from modicum.wire.messages import EXEC_PAYLOAD_BYTES, EXEC_WINDOW_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from modicum.agent.link import Link

SEEN_WITHIN_S = 2.0
"""An interaction's end does not wait longer than this for its last words to be on the user's terminal."""


class Terminal:
    """A pty that controls this process, and who it is relayed to: one session after the other, or nobody."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._master, self.slave = os.openpty()
        os.set_blocking(self._master, False)
        # A description of its own, so that nobody else's writes stop waiting.
        self._marker = os.open(os.ttyname(self.slave), os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
        self._fresh = termios.tcgetattr(self.slave)
        self._woken, self._wake = os.pipe()
        for end in (self._woken, self._wake):
            os.set_blocking(end, False)
        self._moved = threading.Condition()
        self._session = ""
        self._unacknowledged = 0
        self._typed = bytearray()
        self._mark = b""
        self._held = b""
        self.hung_up = False
        fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)
        self._thread = threading.Thread(target=self._relay, name="modicum-terminal", daemon=True)
        self._thread.start()

    # -- what the interaction does -------------------------------------------------------------------------

    def begin(self, session: str) -> str:
        """Relay to this session from now on; the pty is as a new one. Returns the session."""
        termios.tcsetattr(self.slave, termios.TCSANOW, self._fresh)
        termios.tcflush(self.slave, termios.TCIFLUSH)
        _take_foreground(self.slave)
        with self._moved:
            self._session, self._unacknowledged = session, 0
            self._typed.clear()
        self._wake_up()
        return session

    def resize(self, rows: int, cols: int) -> None:
        """The user's window has another size; the kernel tells the foreground so."""
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    def end(self) -> None:
        """Relay what has been written up to now, and to nobody from then on; returns when the user has seen it.

        How far that is a mark in the stream shows: the kernel takes its time with what is written.
        """
        mark = MARK_START + self._session.encode() + MARK_END
        with self._moved:
            self._mark = mark
        try:
            termios.tcflow(self.slave, termios.TCOON)
            os.write(self._marker, mark)
            with self._moved:
                self._moved.wait_for(lambda: self.hung_up or (not self._mark and not self._owes), SEEN_WITHIN_S)
        except (OSError, termios.error):
            pass  # its buffer is full, and nobody reads; or it was hung up
        with self._moved:
            self._session, self._mark, self._held = "", b"", b""
        self._wake_up()

    def close(self) -> None:
        """It was hung up, and nobody uses it any longer."""
        self._thread.join()
        for descriptor in (self._marker, self.slave, self._woken, self._wake):
            os.close(descriptor)

    @property
    def _owes(self) -> bool:
        return bool(self._session) and self._unacknowledged > 0

    # -- what comes from the user --------------------------------------------------------------------------

    def type(self, session: str, data: bytes) -> None:
        """He typed something."""
        with self._moved:
            if session == self._session:
                self._typed += data
        self._wake_up()

    def acknowledge(self, session: str, count: int) -> None:
        """So many bytes more are on his terminal."""
        with self._moved:
            if session == self._session:
                self._unacknowledged = max(0, self._unacknowledged - count)
                self._moved.notify_all()
        self._wake_up()

    def hang_up(self) -> None:
        """He has gone: whoever reads from the terminal finds its end, and all that run on it are told."""
        with self._moved:
            self.hung_up, self._session = True, ""
            self._moved.notify_all()
        self._wake_up()

    # -- the relaying thread -------------------------------------------------------------------------------

    def _relay(self) -> None:
        poll = select.poll()
        poll.register(self._woken, select.POLLIN)
        while not self.hung_up:
            poll.register(self._master, self._wanted())
            for descriptor, events in poll.poll():
                if descriptor == self._woken:
                    os.read(self._woken, 4096)
                if descriptor == self._master and events & select.POLLIN:
                    self._read()
                if descriptor == self._master and events & select.POLLOUT:
                    self._write()
        os.close(self._master)

    def _wanted(self) -> int:
        with self._moved:
            return (select.POLLIN if self._credit else 0) | (select.POLLOUT if self._typed else 0)

    @property
    def _credit(self) -> int:
        """How much may be read now. What nobody is to see is read too, so that its writers do not wait for ever."""
        room = EXEC_WINDOW_BYTES - self._unacknowledged if self._session else EXEC_PAYLOAD_BYTES
        return min(EXEC_PAYLOAD_BYTES, room)

    def _read(self) -> None:
        try:
            data = os.read(self._master, self._credit)
        except OSError:
            return  # somebody was faster, or all have closed it
        with self._moved:
            session = self._session
            data = self._before_mark(data)
            self._unacknowledged += len(data)
            self._moved.notify_all()
        if session and data:
            self._link.send({"t": "exec.output", "exec": session, "stream": "stdout"}, data)

    def _before_mark(self, data: bytes) -> bytes:
        """Return what of it is the user's: the mark is not, nor is what may turn out to be one."""
        if not self._mark:
            return data
        data = self._held + data
        place = data.find(self._mark)
        if place >= 0:
            self._mark, self._held = b"", b""
            return data[:place]
        kept = next(n for n in range(min(len(self._mark), len(data)), -1, -1) if data.endswith(self._mark[:n]))
        self._held = data[len(data) - kept :]
        return data[: len(data) - kept]

    def _write(self) -> None:
        with self._moved:
            session, typed = self._session, bytes(self._typed)
        try:
            count = os.write(self._master, typed)
        except OSError:
            return  # it is full
        with self._moved:
            del self._typed[:count]
        if session:
            self._link.send({"t": "exec.ack", "exec": session, "bytes": count})

    def _wake_up(self) -> None:
        try:
            os.write(self._wake, b"!")
        except OSError:
            pass  # it is awake, or has ended


def _take_foreground(terminal: int) -> None:
    """Be whom the terminal speaks to, whatever a shell that ran on it has left."""
    import signal

    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
    try:
        os.tcsetpgrp(terminal, os.getpgrp())
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
