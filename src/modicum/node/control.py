"""How the keeper, the node and the node's helper talk: JSON datagrams over a socketpair, with descriptors."""

from __future__ import annotations

import array
import asyncio
import json
import os
import socket
from typing import Any

Message = dict[str, Any]
_DATAGRAM_BYTES_MAX = 1 << 16
_DESCRIPTORS_MAX = 8


def pair() -> tuple[socket.socket, socket.socket]:
    """Return two ends; what one sends arrives whole, in order, and an end that closes is noticed."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(end: socket.socket, message: Message, descriptors: tuple[int, ...] = ()) -> None:
    """Send a message. Raises `OSError` if the peer is gone."""
    extra = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    end.sendmsg([json.dumps(message).encode()], extra, socket.MSG_NOSIGNAL)


class Malformed(ValueError):
    """What came is no message."""


def receive(end: socket.socket) -> tuple[Message, list[int]] | None:
    """Return the next message and the descriptors that came with it, which are the caller's; None at the end.

    Raises `OSError`, or `Malformed`.
    """
    size = socket.CMSG_SPACE(_DESCRIPTORS_MAX * 4)
    data, extra, _, _ = end.recvmsg(_DATAGRAM_BYTES_MAX, size, socket.MSG_CMSG_CLOEXEC)
    descriptors = array.array("i")
    for level, kind, content in extra:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(content[: len(content) - len(content) % descriptors.itemsize])
    if not data:
        return None
    try:
        return _parsed(data), list(descriptors)
    except Malformed:
        for descriptor in descriptors:
            os.close(descriptor)
        raise


def _parsed(data: bytes) -> Message:
    try:
        message = json.loads(data)
    except (ValueError, RecursionError) as failure:
        raise Malformed(str(failure)) from None
    if not isinstance(message, dict):
        raise Malformed("a message is an object")
    return message


class Refused(Exception):
    """The peer could not do what it was asked; the message is its own."""


class Caller:
    """The asking side, on asyncio: requests are answered in any order, and the peer may send news of its own."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._end = end
        self._next = 0
        self._pending: dict[int, asyncio.Future[tuple[Message, list[int]]]] = {}
        self.news: asyncio.Queue[Message] = asyncio.Queue()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().add_reader(end.fileno(), self._on_readable)

    def ask(self, message: Message, descriptors: tuple[int, ...] = ()) -> asyncio.Future[tuple[Message, list[int]]]:
        """Send a request now; await the result for its answer. Raises `Refused`, or `ConnectionError` at the end."""
        self._next += 1
        answer: asyncio.Future[tuple[Message, list[int]]] = asyncio.get_running_loop().create_future()
        if self.ended.done():
            answer.set_exception(ConnectionError("the other side is gone"))
            return answer
        self._pending[self._next] = answer
        number = self._next
        try:
            send(self._end, {**message, "r": number}, descriptors)
        except OSError as failure:
            del self._pending[number]
            answer.set_exception(ConnectionError(str(failure)))
        return answer

    def close(self) -> None:
        """Stop listening and close the socket."""
        asyncio.get_running_loop().remove_reader(self._end.fileno())
        self._end.close()
        self._finish()

    def _on_readable(self) -> None:
        try:
            received = receive(self._end)
        except BlockingIOError:
            return
        except OSError:
            received = None
        if received is None:
            asyncio.get_running_loop().remove_reader(self._end.fileno())
            self._finish()
            return
        message, descriptors = received
        if "r" not in message:
            self.news.put_nowait(message)
            return
        answer = self._pending.pop(message["r"], None)
        if answer is None or answer.done():
            for descriptor in descriptors:
                os.close(descriptor)
        elif "error" in message:
            answer.set_exception(Refused(message["error"]))
        else:
            answer.set_result((message, descriptors))

    def _finish(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)
        for answer in self._pending.values():
            if not answer.done():
                answer.set_exception(ConnectionError("the other side is gone"))
        self._pending.clear()
