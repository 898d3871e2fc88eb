"""How the agent speaks with the server: one socket, one thread that reads, whoever has something writes.

The connection comes back by itself when the server was restarted; what was not acknowledged is sent again then.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections import deque

from modicum.wire.frames import Decoder, encode
from modicum.wire.sockets import connect_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from modicum.wire.frames import Frame, Header

RECONNECT_EVERY_S = 0.05
NO_SERVER_FOR_S = 600.0
"""Longer than the node's own patience: the node decides; this is for an agent whose node cannot."""


class Link:
    """The agent's connection. `hello` makes the first frame of each; `want` sees to it that somebody reads."""

    def __init__(self, directory: str, hello: Callable[[], Header], want: Callable[[], None]) -> None:
        self._directory = directory
        self._hello = hello
        self._want = want
        self._lock = threading.Lock()
        self._decoder = Decoder()
        self._ready: deque[Frame] = deque()
        self._kept: dict[object, bytes] = {}
        self._answers: dict[int, list[Frame]] = {}
        self._answered = threading.Condition()
        self._number = 1
        self._socket = self._connect()
        self._write(encode(hello()))

    def send(self, header: Header, payload: bytes = b"") -> None:
        """Send a message. If the connection is just lost it is dropped: the next hello tells the state anyway."""
        with self._lock:
            self._write(encode(header, payload))

    def send_kept(self, name: object, header: Header, payload: bytes) -> None:
        """Send a message, and again on every new connection until `forget(name)`."""
        frame = encode(header, payload)
        with self._lock:
            self._kept[name] = frame
            self._write(frame)

    def forget(self, names: list[object]) -> None:
        """These have arrived for good."""
        with self._lock:
            for name in names:
                self._kept.pop(name, None)

    def resend(self, names: list[object]) -> None:
        """Send what is kept under these names once more."""
        with self._lock:
            for name in names:
                if name in self._kept:
                    self._write(self._kept[name])

    def request(self, messages: tuple[tuple[Header, bytes], ...]) -> list[Frame]:
        """Send requests together and return their answers in order. Not for the reading thread."""
        numbers = []
        for header, payload in messages:
            with self._lock:
                self._number += 1
                number = self._number
            numbers.append(number)
            self._answers[number] = []
            self.send_kept(("request", number), {**header, "r": number}, payload)
        self._want()
        try:
            with self._answered:
                self._answered.wait_for(lambda: all(self._answers[number] for number in numbers))
        finally:  # also if the wait was interrupted
            self.forget([("request", number) for number in numbers])
            answers = [self._answers.pop(number) for number in numbers]
        return [answer[0] for answer in answers]

    def receive(self) -> Frame:
        """Return the next message, reconnecting as often as needed. Only one thread may call it."""
        while True:
            while not self._ready:
                self._fill()
            frame = self.receive_ready()
            if frame is not None:
                return frame

    def receive_ready(self) -> Frame | None:
        """Return the next message of those that came together with the last, None if that was all."""
        while self._ready:
            header, payload = self._ready.popleft()
            if header["t"] not in ("reply", "error") or header["r"] not in self._answers:
                return header, payload
            with self._answered:
                self._answers[header["r"]].append((header, payload))
                self._answered.notify_all()
        return None

    def _fill(self) -> None:
        try:
            data = self._socket.recv(1 << 18)
        except OSError:
            data = b""
        if data:
            self._ready.extend(self._decoder.feed(data))
        else:
            self._reconnect()

    def _reconnect(self) -> None:
        fresh = self._connect()
        with self._lock:  # the hello is the first frame, what was kept comes next, then whatever others send
            self._socket.close()
            self._socket = fresh
            self._decoder = Decoder()
            self._write(encode(self._hello()))
            for frame in self._kept.values():
                self._write(frame)

    def _write(self, frame: bytes) -> None:
        try:
            self._socket.sendall(frame)
        except OSError:
            pass  # the reading thread notices the same and reconnects

    def _connect(self) -> socket.socket:
        deadline = time.monotonic() + NO_SERVER_FOR_S
        while True:
            link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                connect_in(link, self._directory)
                return link
            except OSError:
                link.close()
                if time.monotonic() > deadline:
                    os._exit(1)
                time.sleep(RECONNECT_EVERY_S)
