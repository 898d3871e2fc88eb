"""How a blocking caller drives an operation: with a borrowed connection, in his own thread."""

from __future__ import annotations

import os
import select
import socket
import time
from collections import deque
from itertools import islice

from modicum import _context, _server
from modicum._exchange import ConnectionLost, Farewell, Item, Pull, Receive, Reconnect, Request, Send, Stream
from modicum.exception import from_code
from modicum.wire.frames import Decoder, encode, encode_parts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, TypeVar

    from modicum._exchange import Operation
    from modicum.wire.frames import Frame, Header

    _T = TypeVar("_T")

PULL_SLOW_S = 0.001
"""A caller's iterable that takes longer for a batch is slow: smaller batches, so that no value waits for the next."""


def run(operation: Operation[_T], call: str | None = None) -> _T:
    """Run an operation to its end and return its result. `call` is forgotten if the caller gives up in between."""
    lane = _borrow()
    try:
        _, result = _advance(lane, operation)
    except BaseException as error:
        lane.end_by(error, call)
        raise
    lane.give_back()
    return result  # type: ignore[no-any-return]


def iterate(operation: Operation[None], call: str | None, values: Iterator[Any] | None = None) -> Iterator[Any]:
    """Yield the items of an operation; `values` is what it may pull from."""
    lane = _borrow()
    lane.values = values
    try:
        while True:
            ended, value = _advance(lane, operation)
            if ended:
                break
            yield value
    except BaseException:
        lane.abandon(call)
        raise
    lane.give_back()


def _advance(lane: _Lane, operation: Operation[Any]) -> tuple[bool, Any]:
    """Drive an operation on; return False with its next item, or True with its result."""
    answer: Any = None
    failed: Exception | None = None
    while True:
        try:
            exchange = operation.send(answer) if failed is None else operation.throw(failed)
        except StopIteration as stop:
            return True, stop.value
        if type(exchange) is Item:
            return False, exchange.value
        answer = failed = None
        try:
            answer = lane.perform(exchange)
        except Exception as error:  # noqa: BLE001 - the operation's own matter
            failed = error


class _Lane:
    """A connection that serves one operation at a time."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._decoder = Decoder()
        self._inbox: deque[Frame] = deque()
        self._number = 1
        self._pull_count = 1
        self._farewell: Header | None = None
        self._is_even = True
        self.values: Iterator[Any] | None = None

    def perform(self, exchange: object) -> Any:
        kind = type(exchange)
        try:
            if kind is Receive:
                return self._receive(exchange.timeout_s)  # type: ignore[attr-defined]
            if kind is Request:
                return self._request(exchange)  # type: ignore[arg-type]
            if kind is Stream:
                return self._stream(exchange)  # type: ignore[arg-type]
        except OSError as error:
            raise ConnectionLost from error
        if kind is Send:
            try:
                self._is_even = False
                self._send(exchange)  # type: ignore[arg-type]
            except OSError:
                pass  # what has come before is still there to be received; behind it the loss is noticed
            return None
        if kind is Pull:
            return self._pull(exchange.count)  # type: ignore[attr-defined]
        if kind is Farewell:
            self._farewell = exchange.header  # type: ignore[attr-defined]
            return None
        assert kind is Reconnect
        return self._connect()

    def _connect(self) -> None:
        if self._socket is not None:
            self._read_rest(self._socket)
            self._socket.close()
        self._decoder = Decoder()
        self._socket = _server.connect()

    def _read_rest(self, link: socket.socket) -> None:
        """Keep what came before the connection ended; answers are to requests that are asked again."""
        try:
            while data := link.recv(1 << 18, socket.MSG_DONTWAIT):
                self._inbox.extend(self._decoder.feed(data))
        except OSError:
            pass  # that was all
        self._inbox = deque(frame for frame in self._inbox if frame[0]["t"] not in ("reply", "error"))

    def _send(self, exchange: Send) -> None:
        if self._socket is None:
            self._connect()
        assert self._socket is not None
        for header, payload in exchange.messages:
            for part in encode_parts(header, payload):
                self._socket.sendall(part)

    def _request(self, exchange: Request) -> list[Frame]:
        first = self._number + 1
        self._number += len(exchange.messages)
        was_even, self._is_even = self._is_even, False
        self._send(Send(*(({**h, "r": first + n}, p) for n, (h, p) in enumerate(exchange.messages))))
        answers = self._answers(len(exchange.messages))
        self._is_even = was_even
        return _checked(answers)

    def _stream(self, exchange: Stream) -> list[Frame]:
        frames: list[Frame] = []
        waiting = 0
        was_even, self._is_even = self._is_even, False
        for header, payload in exchange.messages:
            if waiting == Stream.AHEAD:
                frames += _checked(self._answers(1))
                waiting -= 1
            self._number += 1
            self._send(Send(({**header, "r": self._number}, payload)))
            waiting += 1
        last = self._answers(waiting)
        self._is_even = was_even
        return sorted(frames + _checked(last), key=lambda frame: frame[0]["r"])

    def _answers(self, count: int) -> list[Frame]:
        """Wait for so many answers; return them in the order of their requests."""
        answers: list[Frame] = []
        others: list[Frame] = []
        try:
            while len(answers) < count:
                frame = self._receive(None)
                assert frame is not None
                (answers if frame[0]["t"] in ("reply", "error") else others).append(frame)
        finally:
            self._inbox.extendleft(reversed(others))  # they came first
        return sorted(answers, key=lambda frame: frame[0]["r"])

    def _receive(self, timeout_s: float | None) -> Frame | None:
        if self._inbox:
            return _shown(self._inbox.popleft())
        if self._socket is None:
            raise ConnectionResetError
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while not self._inbox:
            if deadline is not None:
                left = max(deadline - time.monotonic(), 0.0)
                if not _readable(self._socket, left):
                    return None
            data = self._socket.recv(1 << 18)
            if not data:
                raise ConnectionResetError
            self._inbox.extend(self._decoder.feed(data))
        return _shown(self._inbox.popleft())

    def _pull(self, count: int) -> tuple[list[Any], bool]:
        assert self.values is not None
        wanted = min(count, self._pull_count)
        started = time.perf_counter()
        values = list(islice(self.values, wanted))
        slow = time.perf_counter() - started > PULL_SLOW_S
        self._pull_count = 1 if slow else min(self._pull_count * 2, 256)
        return values, len(values) < wanted

    def give_back(self) -> None:
        """The operation is complete: the connection may serve the next one."""
        self.values = None
        self._pull_count = 1
        self._farewell, self._is_even = None, True
        if self._inbox:
            self.abandon(None)  # the next operation must not take these messages for its own
        elif self._socket is not None:
            _idle().append(self)

    def end_by(self, error: BaseException, call: str | None) -> None:
        """The operation raised. If all that was asked has been answered, the connection may serve the next one."""
        if self._is_even and isinstance(error, Exception):
            self.give_back()
        else:
            self.abandon(call)

    def abandon(self, call: str | None) -> None:
        """The caller gave up in between: tell the server, and do not use this connection again."""
        if self._socket is not None:
            try:
                if self._farewell is not None:
                    self._socket.sendall(encode(self._farewell))
                if call is not None:
                    self._socket.sendall(encode({"t": "call.forget", "call": call}))
                self._socket.close()
            except OSError:
                pass


def _checked(answers: list[Frame]) -> list[Frame]:
    for header, _ in answers:
        if header["t"] == "error":
            raise from_code(header["code"], header["message"])
    return answers


def _shown(frame: Frame) -> Frame:
    """Return a frame once what was printed before it is on the terminal, if it is shown at all."""
    if _context.shown and "log" in frame[0]:
        _context.wait_shown(frame[0]["log"])
    return frame


def _readable(link: socket.socket, timeout_s: float) -> bool:
    poll = select.poll()
    poll.register(link, select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))


_lanes: dict[int, list[_Lane]] = {}


def _idle() -> list[_Lane]:
    """Return this process's idle connections; a forked child has none of its parent's."""
    return _lanes.setdefault(os.getpid(), [])


def _borrow() -> _Lane:
    try:
        return _idle().pop()
    except IndexError:
        return _Lane()


def close_idle() -> None:
    """End this process's idle connections."""
    while _idle():
        lane = _idle().pop()
        lane.abandon(None)
