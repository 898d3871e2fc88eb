"""How an async caller drives an operation: all of a loop's operations share one connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from modicum import _context, _server
from modicum._exchange import ConnectionLost, Farewell, Item, Pull, Receive, Reconnect, Request, Send, Stream
from modicum.exception import from_code
from modicum.wire.channel import Answer, Channel, ChannelClosed, RemoteFailure
from modicum.wire.frames import Frame, Header

if TYPE_CHECKING:
    from modicum._exchange import Operation

_T = TypeVar("_T")
_WAKE: Frame = ({"t": "wake"}, b"")
"""Not of the wire: whoever receives should look whether the caller's iterable has more, or the connection is lost."""


async def run(operation: Operation[_T], call: str | None = None) -> _T:
    """Run an operation to its end and return its result. `call` is forgotten if the caller gives up in between."""
    lane = _Lane(await _peer_of_loop(), call)
    try:
        _, result = await _advance(lane, operation)
    except BaseException:
        lane.abandon()
        raise
    lane.close()
    return result  # type: ignore[no-any-return]


async def iterate(operation: Operation[None], call: str | None, values: Any = None) -> AsyncIterator[Any]:
    """Yield the items of an operation; `values`, an iterator of either kind, is what it may pull from."""
    lane = _Lane(await _peer_of_loop(), call, values)
    try:
        while True:
            ended, value = await _advance(lane, operation)
            if ended:
                break
            yield value
    except BaseException:
        lane.abandon()
        raise
    lane.close()


async def _advance(lane: _Lane, operation: Operation[Any]) -> tuple[bool, Any]:
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
            answer = await lane.perform(exchange)
        except Exception as error:  # noqa: BLE001 - the operation's own matter
            failed = error


class _Peer:
    """A loop's connection, and who waits for what comes in on it."""

    def __init__(self) -> None:
        self.channel: Channel | None = None
        self.end: AsyncGenerator[None] | None = None
        self.routes: dict[str, asyncio.Queue[Frame]] = {}
        self._connecting = asyncio.Lock()

    async def connect(self) -> Channel:
        """Connect unless connected; many callers at once make one connection."""
        async with self._connecting:
            if self.channel is not None and not self.channel.closed:
                return self.channel
            link = await asyncio.to_thread(_server.connect)
            link.setblocking(False)
            loop = asyncio.get_running_loop()
            _, self.channel = await loop.create_unix_connection(
                lambda: Channel(self._received, self._closed), sock=link
            )
            return self.channel

    def _received(self, channel: Channel, header: Header, payload: bytes) -> Answer:
        queue = self.routes.get(header.get("call", ""))
        if queue is not None:
            queue.put_nowait((header, payload))
        return None

    def _closed(self, channel: Channel) -> None:
        for queue in self.routes.values():
            queue.put_nowait(_WAKE)


_peers: dict[asyncio.AbstractEventLoop, _Peer] = {}


async def _peer_of_loop() -> _Peer:
    """Return the running loop's connection; it ends with the loop."""
    loop = asyncio.get_running_loop()
    peer = _peers.get(loop)
    if peer is None:
        for closed in [loop for loop in _peers if loop.is_closed()]:
            del _peers[closed]  # such a loop was not shut down: `asyncio.run` does, others may not
        peer = _peers[loop] = _Peer()
        peer.end = _end_with(loop, peer)
        await anext(peer.end)
    return peer


async def _end_with(loop: asyncio.AbstractEventLoop, peer: _Peer) -> AsyncGenerator[None]:
    """Close a loop's connection when the loop closes its generators; until then this one rests in its only step."""
    try:
        yield
    finally:
        await asyncio.sleep(0)  # other generators end in the same moment and have something to say
        _peers.pop(loop, None)
        if peer.channel is not None:
            peer.channel.close()
            await peer.channel.wait_closed()


class _Lane:
    """One operation's share of the connection."""

    def __init__(self, peer: _Peer, call: str | None, values: Any = None) -> None:
        self._peer = peer
        self._channel: Channel | None = None
        self._call = call
        self._farewell: Header | None = None
        self._inbox: asyncio.Queue[Frame] = asyncio.Queue()
        self._feeder = _Feeder(values, self._inbox) if values is not None else None
        if call is not None:
            self._peer.routes[call] = self._inbox

    async def perform(self, exchange: object) -> Any:
        if isinstance(exchange, Receive):
            return await self._receive(exchange.timeout_s)
        if isinstance(exchange, Pull):
            assert self._feeder is not None
            return self._feeder.take(exchange.count)
        if isinstance(exchange, Farewell):
            self._farewell = exchange.header
            return None
        if isinstance(exchange, Reconnect):
            self._channel = await self._peer.connect()
            return None
        # Its own one until it asks for another, even if the peer has a newer one by now, which does not know it.
        channel = self._channel = self._channel or await self._peer.connect()
        if isinstance(exchange, Request):
            return await self._request(channel, exchange)
        if isinstance(exchange, Stream):
            return await self._stream(channel, exchange)
        assert isinstance(exchange, Send)
        for header, payload in exchange.messages:
            channel.send(header, payload)  # if it is lost: what has come before is received first, then the loss
        return None

    async def _request(self, channel: Channel, exchange: Request) -> list[Frame]:
        try:
            return list(await asyncio.gather(*(channel.request(h, p) for h, p in exchange.messages)))
        except ChannelClosed as error:
            raise ConnectionLost from error
        except RemoteFailure as failure:
            raise from_code(failure.code, failure.message) from None

    async def _stream(self, channel: Channel, exchange: Stream) -> list[Frame]:
        frames: list[Frame] = []
        ahead = list(islice(messages := iter(exchange.messages), Stream.AHEAD))
        while ahead:
            frames += await self._request(channel, Request(*ahead))
            ahead = list(islice(messages, Stream.AHEAD))
        return frames

    async def _receive(self, timeout_s: float | None) -> Frame | None:
        if timeout_s == 0 and self._inbox.empty():
            await asyncio.sleep(0)  # lets the loop read what has come
        ends = timeout_s == 0
        while True:
            if self._inbox.empty():
                if self._channel is not None and self._channel.closed:
                    raise ConnectionLost
                if ends:
                    return None
            try:
                frame = await asyncio.wait_for(self._inbox.get(), timeout_s or None)
            except (TimeoutError, asyncio.TimeoutError):  # noqa: UP041 - two classes before Python 3.11
                return None
            if frame is not _WAKE:
                return await _shown(frame)
            ends = ends or self._feeder is not None

    def close(self) -> None:
        if self._call is not None:
            self._peer.routes.pop(self._call, None)
        if self._feeder is not None:
            self._feeder.close()

    def abandon(self) -> None:
        self.close()
        if self._call is not None and self._peer.channel is not None:
            self._peer.channel.send({"t": "call.forget", "call": self._call})
        if self._farewell is not None and self._peer.channel is not None:
            self._peer.channel.send(self._farewell)


async def _shown(frame: Frame) -> Frame:
    """Return a frame once what was printed before it is on the terminal, if it is shown at all."""
    log = frame[0].get("log") if _context.shown else None
    if log is not None and not _context.wait_shown(log, 0):
        await asyncio.to_thread(_context.wait_shown, log)
    return frame


class _Feeder:
    """Reads a caller's iterable ahead, a little, while outputs come in; wakes the operation when there is more."""

    AHEAD = 256

    def __init__(self, values: AsyncIterator[Any] | Iterator[Any], inbox: asyncio.Queue[Frame]) -> None:
        self._inbox = inbox
        self._values: list[Any] = []
        self._exhausted = False
        self._error: BaseException | None = None
        self._room = asyncio.Event()
        # Its parent is the lane, which cancels it in close().
        self._task = asyncio.ensure_future(self._read(values))

    def take(self, count: int) -> tuple[list[Any], bool]:
        values, self._values = self._values[:count], self._values[count:]
        self._room.set()
        if self._error is not None and not self._values:
            raise self._error
        return values, self._exhausted and not self._values

    async def _read(self, values: AsyncIterator[Any] | Iterator[Any]) -> None:
        try:
            if isinstance(values, AsyncIterator):
                async for value in values:
                    await self._put(value)
            else:
                for value in values:
                    await self._put(value)
        except Exception as error:  # noqa: BLE001
            self._error = error
        self._exhausted = True
        self._inbox.put_nowait(_WAKE)

    async def _put(self, value: Any) -> None:
        while len(self._values) >= self.AHEAD:
            self._room.clear()
            await self._room.wait()
        self._values.append(value)
        if len(self._values) == 1:
            self._inbox.put_nowait(_WAKE)

    def close(self) -> None:
        self._task.cancel()


def elements(values: Any) -> Any:
    """Return an iterator, of the same kind, over an iterable or an async iterable."""
    return values.__aiter__() if hasattr(values, "__aiter__") else iter(values)


def zip_any(iterables: tuple[Any, ...]) -> Any:
    """Zip iterables of either kind; the result is async if any of them is."""
    if any(hasattr(values, "__aiter__") for values in iterables):
        return _zip_async([elements(values) for values in iterables])
    return zip(*iterables)


async def _zip_async(iterators: list[Any]) -> AsyncIterator[tuple[Any, ...]]:
    while True:
        row = []
        for iterator in iterators:
            try:
                row.append(await iterator.__anext__() if hasattr(iterator, "__anext__") else next(iterator))
            except (StopIteration, StopAsyncIteration):
                return
        yield tuple(row)
