"""What an operation asks of its driver, one step at a time, so that it is written once for blocking and async callers.

An operation is a generator: it yields one of these and gets the answer, until it returns its result.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Iterable
    from typing import Any, TypeVar

    from modicum.wire.frames import Frame, Header

    _T = TypeVar("_T")
    Operation = Generator[object, Any, _T]
    Message = tuple[Header, bytes]


class Send:
    """Send messages. → None"""

    __slots__ = ("messages",)

    def __init__(self, *messages: Message) -> None:
        self.messages = messages


class Request:
    """Send requests together. → their answers, in order. Raises the error that the server answered with."""

    __slots__ = ("messages",)

    def __init__(self, *messages: Message) -> None:
        self.messages = messages


class Stream:
    """Send requests one after the other, a few of their answers outstanding. → their answers, in order.

    `messages` is read as they are sent. Raises the first error that the server answered with.
    """

    __slots__ = ("messages",)

    AHEAD = 4
    """With a megabyte in each frame, this is the window of a transfer."""

    def __init__(self, messages: Iterable[Message]) -> None:
        self.messages = messages


class Receive:
    """Wait for a message to this operation. → the frame, or None when `timeout_s` is over (0: what is there now)."""

    __slots__ = ("timeout_s",)

    def __init__(self, timeout_s: float | None = None) -> None:
        self.timeout_s = timeout_s


class Pull:
    """Take up to `count` values from the caller's iterable. → (values, exhausted); fewer values if they come slowly."""

    __slots__ = ("count",)

    def __init__(self, count: int) -> None:
        self.count = count


class Item:
    """Give a value to whoever iterates. → None"""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value


class Farewell:
    """If the caller gives up from here on, send this message; None: there is nothing more to say. → None"""

    __slots__ = ("header",)

    def __init__(self, header: Header | None) -> None:
        self.header = header


class Reconnect:
    """The connection was lost: make a new one, starting the server if need be. → None"""

    __slots__ = ()


class ConnectionLost(Exception):
    """Thrown into an operation at the step during which the connection ended."""


def ask_all(*messages: Message) -> Operation[list[Frame]]:
    """Return the answers to requests that may be made again, over as many connections as it takes."""
    while True:
        try:
            answers: list[Frame] = yield Request(*messages)
            return answers
        except ConnectionLost:
            yield Reconnect()


def ask(header: Header, payload: bytes = b"") -> Operation[Frame]:
    """Return the answer to one. Raises what the server answers with."""
    (answer,) = yield from ask_all((header, payload))
    return answer
