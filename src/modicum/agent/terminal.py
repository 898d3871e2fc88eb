"""How a container has the user's terminal: a pty of its own, and a thread that relays it over a connection of its own.

What one side sends the other acknowledges when it has been taken, which is the credit for more. The pty outlives an
interaction: to take a terminal away from processes that it controls would end them.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
import struct
import termios
import threading
import time
from collections import deque

from modicum.agent.link import RECONNECT_EVERY_S
from modicum.agent.output import MARK_END, MARK_START
from modicum.exception import ConnectionError, Error, from_code
from modicum.wire.frames import Decoder, encode
from modicum.wire.sockets import connect_in
from modicum.wire.terminals import CHUNK_BYTES, STDOUT, WINDOW_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from modicum.wire.frames import Frame, Header

SEEN_WITHIN_S = 2.0
"""An interaction's end does not wait longer than this for its last words to be on the user's terminal."""

AGAIN_WITHIN_S = 30.0
"""When the server is lost, the next one and the user have so long to come back."""


class Way:
    """A connection to the user's terminal. Whoever closes it has ended the interaction."""

    def __init__(self, directory: str, key: str) -> None:
        """Ask for his terminal for an input; returns when it is this one's turn. Raises what the server answers."""
        self._directory = directory
        self._key = key
        self.id = ""
        self.mark = MARK_START + os.urandom(8).hex().encode() + MARK_END
        self.is_marked = False
        self.is_given_up = False
        self.over = threading.Event()
        self.open()

    def open(self) -> None:
        """Ask, a first time or the next server."""
        self.id = f"ex-{os.urandom(8).hex()}"
        self.link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._decoder = Decoder()
        self.inbox: deque[Frame] = deque()
        self.unacknowledged = 0
        self.typed = bytearray()
        self.held = b""
        try:
            connect_in(self.link, self._directory)
            self.tty: dict[str, Any] = self._ask({"t": "agent.interact", "exec": self.id, "input": self._key})["tty"]
        except BaseException:
            self.link.close()  # nobody waits for it any longer
            raise

    def open_again(self) -> None:
        """Ask the next server, when it is there and the user as well. Raises `_Gone` if that takes too long."""
        self.link.close()
        deadline = time.monotonic() + AGAIN_WITHIN_S
        while not self.is_given_up and time.monotonic() < deadline:
            try:
                self.open()
                return
            except (OSError, Error):
                time.sleep(RECONNECT_EVERY_S)
        raise _Gone

    def give_up(self) -> None:
        """Nobody wants it any longer."""
        self.is_given_up = True
        try:
            self.link.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it is closed

    def send(self, kind: str, payload: bytes = b"", **fields: Any) -> None:
        """Send a message of this session. Raises `OSError`."""
        self.link.sendall(encode({"t": kind, "exec": self.id, **fields}, payload))

    def receive(self) -> None:
        """Take in what has come, waiting for something. Raises `OSError`, also when the connection has ended."""
        data = self.link.recv(1 << 18)
        if not data:
            raise ConnectionResetError
        self.inbox.extend(self._decoder.feed(data))

    def _ask(self, header: Header) -> Header:
        self.link.sendall(encode({**header, "r": 1}))
        while not self.inbox:
            try:
                self.receive()
            except ConnectionResetError:
                raise ConnectionError("the server was lost before the terminal was there") from None
        answer, _ = self.inbox.popleft()
        if answer["t"] == "error":
            raise from_code(answer["code"], answer["message"])
        return answer

    # -- what of the pty's output is the user's --------------------------------------------------------------

    @property
    def credit(self) -> int:
        """How much may be read for him now."""
        return min(CHUNK_BYTES, WINDOW_BYTES - self.unacknowledged)

    def before_mark(self, data: bytes) -> bytes:
        """Return what he is to see of what was written: not the mark, nor what may turn out to be one."""
        data = self.held + data
        place = data.find(self.mark)
        if place >= 0:
            self.is_marked, self.held = True, b""
            return data[:place]
        lengths = range(min(len(self.mark), len(data)), -1, -1)
        kept = len(data) - next(n for n in lengths if data.endswith(self.mark[:n]))
        self.held = data[kept:]
        return data[:kept]


class Terminal:
    """A pty that controls this process, and who it is relayed to: one way after the other, or nobody."""

    def __init__(self, on_hang_up: Callable[[], None]) -> None:
        self._on_hang_up = on_hang_up
        self._master, self.slave = os.openpty()
        os.set_blocking(self._master, False)
        # A description of its own, so that nobody else's writes stop waiting.
        self._marker = os.open(os.ttyname(self.slave), os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
        self._fresh = termios.tcgetattr(self.slave)
        self._woken, self._wake = os.pipe()
        self._way: Way | None = None
        self._next: Way | None = None
        self._is_lost = False
        self.hung_up = False
        fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)
        self._thread = threading.Thread(target=self._relay, name="modicum-terminal", daemon=True)
        self._thread.start()

    # -- what the interaction does -------------------------------------------------------------------------

    def begin(self, way: Way) -> None:
        """Relay to this one from now on; the pty is as a new one."""
        termios.tcsetattr(self.slave, termios.TCSANOW, self._fresh)
        termios.tcflush(self.slave, termios.TCIFLUSH)
        _take_foreground(self.slave)
        self._resize(way.tty)
        self._next = way
        os.write(self._wake, b"!")

    def end(self, way: Way) -> None:
        """Relay what has been written up to now, and to nobody from then on; returns when the user has seen it.

        How far that is a mark in the stream shows: the kernel takes its time with what is written.
        """
        try:
            termios.tcflow(self.slave, termios.TCOON)
            os.write(self._marker, way.mark)
            way.over.wait(SEEN_WITHIN_S)
        except (OSError, termios.error):
            pass  # its buffer is full, and nobody reads; or it was hung up
        way.give_up()
        way.over.wait(SEEN_WITHIN_S)

    def close(self) -> None:
        """It was hung up, and nobody uses it any longer."""
        self._thread.join()
        for descriptor in (self._marker, self.slave, self._woken, self._wake):
            os.close(descriptor)

    def _resize(self, size: dict[str, Any]) -> None:
        """The user's window has another size; the kernel tells the foreground so."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", size["rows"], size["cols"], 0, 0))

    # -- the relaying thread -------------------------------------------------------------------------------

    def _relay(self) -> None:
        """Relay until the user has gone: then whoever reads from the terminal finds its end."""
        while not self.hung_up:
            try:
                if self._is_lost:
                    self._go_on()
                for descriptor, events in self._poll().poll():
                    self._act(descriptor, events)
            except _Gone:
                self._drop()
            except OSError:
                self._is_lost = True
        os.close(self._master)

    def _go_on(self) -> None:
        """The connection has ended, the user has not: another server may know the way to him."""
        way, self._is_lost = self._way, False
        if way is None or way.is_marked:
            raise _Gone
        way.open_again()
        self._resize(way.tty)
        self._take()

    def _drop(self) -> None:
        """The way has ended. Unless the interaction was over, the user has gone."""
        way, self._way = self._way, None
        if way is not None:
            way.link.close()
            self.hung_up = not way.is_marked
            if self.hung_up:
                self._on_hang_up()
            way.over.set()

    def _poll(self) -> select.poll:
        poll = select.poll()
        poll.register(self._woken, select.POLLIN)
        way = self._way
        if way is None:
            poll.register(self._master, select.POLLIN)  # so that its writers do not wait for ever
            return poll
        poll.register(way.link, select.POLLIN)
        poll.register(self._master, (select.POLLIN if way.credit else 0) | (select.POLLOUT if way.typed else 0))
        return poll

    def _act(self, descriptor: int, events: int) -> None:
        if descriptor == self._woken:
            os.read(self._woken, 1)
            self._drop()  # one that did not end in time
            self._way, self._next = self._next, None
            self._take()
        elif self._way is not None and descriptor == self._way.link.fileno():
            self._way.receive()
            self._take()
        elif descriptor != self._master:
            pass  # it has just been closed
        elif events & select.POLLIN:
            self._read()
        elif events & select.POLLOUT:
            self._type()

    def _take(self) -> None:
        """Do what the user's side asks for."""
        way = self._way
        while way is not None and way.inbox:
            header, payload = way.inbox.popleft()
            if header["t"] == "exec.input":
                way.typed += payload
            elif header["t"] == "exec.resize":
                self._resize(header)
            elif header["t"] == "exec.ack":
                way.unacknowledged -= header["bytes"]
            if header["t"] == "exec.ended" or header.get("eof"):
                raise _Gone
        self._finish()

    def _read(self) -> None:
        way = self._way
        try:
            data = os.read(self._master, CHUNK_BYTES if way is None else way.credit)
        except BlockingIOError:
            return
        if way is not None and not way.is_marked and (data := way.before_mark(data)):
            way.unacknowledged += len(data)
            way.send("exec.output", data, stream=STDOUT)
        self._finish()

    def _type(self) -> None:
        way = self._way
        assert way is not None
        try:
            count = os.write(self._master, way.typed)
        except BlockingIOError:
            return
        del way.typed[:count]
        way.send("exec.ack", bytes=count)

    def _finish(self) -> None:
        """End the way if it has seen all that it is to see."""
        way = self._way
        if way is not None and way.is_marked and way.unacknowledged <= 0:
            try:
                way.send("exec.ended", code=0)
            finally:
                self._drop()


class _Gone(Exception):
    """The user is not there any longer."""


def _take_foreground(terminal: int) -> None:
    """Be whom the terminal speaks to, whatever a shell that ran on it has left."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
    try:
        os.tcsetpgrp(terminal, os.getpgrp())
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
