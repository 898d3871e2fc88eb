"""How this process' terminal, or its pipes, become those of a process in a container, until that ends.

One thread and one poll: what is typed goes out as the other side gives credit, what comes is written as this side's
terminal takes it, and only what has been written is acknowledged. So neither a slow terminal nor a process that reads
nothing makes anything pile up.
"""

from __future__ import annotations

import os
import select
import signal
import socket
from collections import deque

from modicum._own_terminal import FATAL, Handlers, RawMode, die_of, size
from modicum.exception import ConnectionError, from_code
from modicum.wire.frames import Decoder, encode
from modicum.wire.terminals import CHUNK_BYTES, STDERR, STDOUT, WINDOW_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from modicum.wire.frames import Frame, Header

_WRITE_BYTES = select.PIPE_BUF
"""A pipe or terminal that can be written to takes so much without making us wait."""

_ACK_BYTES = WINDOW_BYTES // 4
"""What has been written is acknowledged when it is so much, or all that has come."""

_OUTBOX_BYTES_MAX = 128 * 1024
"""With so much unsent nothing further is read from our own input."""


def new_id() -> str:
    """Return an id for a session."""
    return f"ex-{os.urandom(12).hex()}"


class Ended:
    """How a process in a container ended. `code` is 128 + n if signal n ended it; `detail` is for the user, if any."""

    __slots__ = ("code", "detail", "signal")

    def __init__(self, code: int, signal: int | None = None, detail: str = "") -> None:
        self.code = code
        self.signal = signal
        self.detail = detail


class RemoteTerminal:
    """A connection of its own for sessions, one at a time. The three descriptors are this side's.

    `link` is one on which hello has been said (`_server.connect()`). Methods raise `ConnectionError` if it is lost.
    """

    def __init__(self, link: socket.socket, stdin: int = 0, stdout: int = 1, stderr: int = 2) -> None:
        self._link = link
        self._descriptors = {STDOUT: stdout, STDERR: stderr}
        self._stdin = stdin
        self._decoder = Decoder()
        self._inbox: deque[Frame] = deque()
        self._conversation: _Conversation | None = None
        self._mode = RawMode(stdin)
        self._woken, self._wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def __enter__(self) -> RemoteTerminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection: what still runs in a session is hung up on."""
        self._link.close()
        for descriptor in (self._woken, self._wake):
            os.close(descriptor)

    def request(self, header: Header) -> Header:
        """Return the answer to a request, made while no session is going on. Raises what the server answers with."""
        self._send({**header, "r": 1})
        answer: Header | None = None
        while answer is None:
            for frame in self._receive():
                if frame[0].get("r") == 1:
                    answer = frame[0]
                else:
                    self._inbox.append(frame)
        if answer["t"] == "error":
            raise from_code(answer["code"], answer["message"])
        return answer

    def wait_opened(self) -> Header:
        """Return the next `exec.opened`: a function wants to interact. Blocks, so call it in a thread of its own."""
        while True:
            while self._inbox:
                header, _ = self._inbox.popleft()
                if header["t"] == "exec.opened":
                    return header
            self._inbox.extend(self._receive())

    def converse(self, session: str, *, raw: bool) -> Ended:
        """Join our descriptors to a session until it ends. `raw`: ours is a terminal, and the other side has one.

        In the main thread signals do what they should: a resized terminal is told, Ctrl-C goes to the process where
        there is no terminal that would carry it, and what ends us restores the terminal first. In another thread
        nobody may handle signals: have the main one call `resized`. Raises `BrokenPipeError` if nobody reads what is
        written.
        """
        conversation = self._conversation = _Conversation(self, session, raw)
        with Handlers(conversation.handlers(self._mode)):
            try:
                if raw:
                    self._mode.enter()
                    conversation.resize()
                return conversation.run()
            finally:
                self._conversation = None
                self.restore()

    def resized(self) -> None:
        """The terminal has another size. May be called by a signal handler, and when no session is going on."""
        conversation = self._conversation
        if conversation is not None:
            conversation.resize()

    def restore(self) -> None:
        """Have our terminal as it was before: for whoever ends the process while another thread converses."""
        self._mode.leave()

    # -- for the conversation ------------------------------------------------------------------------------

    def _send(self, header: Header) -> None:
        try:
            self._link.setblocking(True)
            self._link.sendall(encode(header))
        except OSError as error:
            raise _lost(error) from None

    def _receive(self) -> list[Frame]:
        """Return what comes next, at least one frame."""
        self._link.setblocking(True)
        frames: list[Frame] = []
        while not frames:
            frames = self._read()
        return frames

    def _read(self) -> list[Frame]:
        try:
            data = self._link.recv(1 << 18)
        except BlockingIOError:
            return []
        except OSError as error:
            raise _lost(error) from None
        if not data:
            raise _lost(None)
        return self._decoder.feed(data)


class _Conversation:
    """One session, from its start to its end."""

    def __init__(self, terminal: RemoteTerminal, session: str, raw: bool) -> None:
        self._terminal = terminal
        self._session = session
        self._raw = raw
        self._link = terminal._link
        self._stdin: int | None = terminal._stdin
        self._credit = WINDOW_BYTES
        self._outbox = bytearray()
        self._signals: deque[Header] = deque()  # from handlers, which may run in the middle of anything
        self._pending: dict[str, bytearray] = {STDOUT: bytearray(), STDERR: bytearray()}
        self._unacknowledged = 0
        self._ended: Ended | None = None
        self._interrupts = 0

    def handlers(self, mode: RawMode) -> dict[int, Any]:
        """Return what signals do meanwhile."""

        def die(number: int) -> None:
            mode.leave()
            die_of(number)

        def again(number: int) -> None:
            mode.enter()
            self.resize()

        ours: dict[int, Any] = dict.fromkeys(FATAL, die)
        if self._raw:
            return {**ours, signal.SIGWINCH: lambda number: self.resize(), signal.SIGCONT: again}
        return {**ours, signal.SIGINT: self._interrupt}

    def resize(self) -> None:
        """Tell the other side how large our terminal is."""
        found = size(self._terminal._descriptors[STDOUT], self._terminal._stdin)
        if found is not None:
            self._signal({"t": "exec.resize", **found})

    def _interrupt(self, number: int) -> None:
        """Ctrl-C: the first one is the process' own affair, another one is ours."""
        self._interrupts += 1
        if self._interrupts > 1:
            raise KeyboardInterrupt
        self._signal({"t": "exec.signal", "signal": number})

    def _signal(self, header: Header) -> None:
        self._signals.append(header)
        try:
            os.write(self._terminal._wake, b"\0")
        except BlockingIOError:
            pass  # it has been woken often enough

    def run(self) -> Ended:
        """Return when the session has ended and all that came of it has been written."""
        self._link.setblocking(False)
        self._take(self._frames())
        while self._ended is None or any(self._pending.values()):
            for descriptor, events in self._poll().poll():
                self._act(descriptor, events)
        return self._ended

    def _frames(self) -> list[Frame]:
        frames = list(self._terminal._inbox)
        self._terminal._inbox.clear()
        return frames

    def _poll(self) -> select.poll:
        """Return what to wait for. Two of our descriptors may be one."""
        wanted = {self._terminal._woken: select.POLLIN}
        if self._ended is None:
            wanted[self._link.fileno()] = select.POLLIN | (select.POLLOUT if self._outbox else 0)
            if self._stdin is not None and self._credit > 0 and len(self._outbox) < _OUTBOX_BYTES_MAX:
                wanted[self._stdin] = select.POLLIN
        for stream, pending in self._pending.items():
            if pending:
                descriptor = self._terminal._descriptors[stream]
                wanted[descriptor] = wanted.get(descriptor, 0) | select.POLLOUT
        poll = select.poll()
        for descriptor, events in wanted.items():
            poll.register(descriptor, events)
        return poll

    def _act(self, descriptor: int, events: int) -> None:
        is_readable = events & ~select.POLLOUT  # or ended, or broken: reading tells
        if descriptor == self._terminal._woken:
            os.read(descriptor, 4096)
            while self._signals:
                self._send(self._signals.popleft())
        elif descriptor == self._link.fileno():
            if events & select.POLLOUT:
                self._flush()
            if is_readable:
                self._take(self._terminal._read())
        else:
            if events & ~select.POLLIN:
                self._write(descriptor)
            if is_readable and descriptor == self._stdin:
                self._type(descriptor)

    # -- what goes out -------------------------------------------------------------------------------------

    def _type(self, descriptor: int) -> None:
        """Pass on what is typed, or the end of our input."""
        try:
            data = os.read(descriptor, min(CHUNK_BYTES, self._credit))
        except BlockingIOError:
            return  # whoever shares it with us was faster
        except OSError:
            data = b""  # it is closed, or our terminal is gone
        if not data:
            self._stdin = None
            self._send({"t": "exec.input", "eof": True})
            return
        self._credit -= len(data)
        self._send({"t": "exec.input"}, data)

    def _send(self, header: Header, payload: bytes = b"") -> None:
        self._outbox += encode({**header, "exec": self._session}, payload)
        self._flush()

    def _flush(self) -> None:
        try:
            while self._outbox:
                del self._outbox[: self._link.send(self._outbox)]
        except BlockingIOError:
            pass
        except OSError as error:
            raise _lost(error) from None

    # -- what comes ----------------------------------------------------------------------------------------

    def _take(self, frames: list[Frame]) -> None:
        for header, payload in frames:
            if header.get("exec") != self._session or self._ended is not None:
                self._terminal._inbox.append((header, payload))
            elif header["t"] == "exec.output":
                self._pending[header["stream"]] += payload
            elif header["t"] == "exec.ack":
                self._credit += header["bytes"]
            elif header["t"] == "exec.ended":
                self._ended = Ended(header["code"], header.get("signal"), header.get("detail", ""))

    def _write(self, descriptor: int) -> None:
        """Write some of what waits for this descriptor. Raises `OSError`, if nobody reads it `BrokenPipeError`."""
        for stream, pending in self._pending.items():
            if pending and self._terminal._descriptors[stream] == descriptor:
                count = os.write(descriptor, pending[:_WRITE_BYTES])
                del pending[:count]
                self._unacknowledged += count
                break
        if self._unacknowledged >= _ACK_BYTES or (self._unacknowledged and not any(self._pending.values())):
            self._acknowledge()

    def _acknowledge(self) -> None:
        count, self._unacknowledged = self._unacknowledged, 0
        if self._ended is None:
            self._send({"t": "exec.ack", "bytes": count})


def _lost(error: OSError | None) -> ConnectionError:
    """Return what to raise when the server is gone; the other side has ended what we started."""
    why = f" ({error})" if error else ""
    return ConnectionError(f"the connection to the server was lost{why}; its command was ended")
