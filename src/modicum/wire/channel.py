"""One connection that speaks frames, for asyncio: requests, replies and one-way messages, multiplexed."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Awaitable, Callable

from .frames import Decoder, Frame, Header, ProtocolError, encode_parts

Handler = Callable[["Channel", Header, bytes], "Awaitable[Answer] | Answer"]
"""Gets every message that is no reply. For a request (`"r" in header`) its result is the answer."""

Answer = tuple[Header, bytes] | Header | None
"""What a request is answered with: header fields, a payload with them, or nothing in particular."""


class RemoteFailure(Exception):
    """The peer answered a request with an error; `code` is a stable word, `message` a sentence for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class ChannelClosed(ConnectionError):
    """The connection ended before the answer came."""


class Channel(asyncio.BufferedProtocol):
    """A connection. Sends never wait; whoever produces much waits for answers or credit instead."""

    def __init__(self, handler: Handler, on_closed: Callable[[Channel], None] | None = None) -> None:
        self._handler = handler
        self._on_closed = on_closed
        self._decoder = Decoder()
        self._transport: asyncio.Transport | None = None
        self._pending: dict[int, asyncio.Future[Frame]] = {}
        self._next = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended = asyncio.Event()
        self.written = 0
        self.faults = 0
        self.refused = False
        self.closed = False
        self.principal = ""
        self.name = ""

    # -- what the owner calls ------------------------------------------------------------------------------

    def send(self, header: Header, payload: bytes = b"") -> None:
        """Send a one-way message; silently dropped once the connection has ended."""
        if self._transport is not None and not self.closed:
            self._write(header, payload)

    async def request(self, header: Header, payload: bytes = b"") -> Frame:
        """Send a request and return its answer. Raises `RemoteFailure` or `ChannelClosed`."""
        if self.closed or self._transport is None:
            raise ChannelClosed("the connection has ended")
        self._next += 1
        number = self._next
        answer: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._pending[number] = answer
        self._write({**header, "r": number}, payload)
        try:
            return await answer
        finally:
            self._pending.pop(number, None)

    def close(self) -> None:
        """Send what is buffered, then end the connection."""
        if self._transport is not None:
            self._transport.close()

    async def wait_closed(self) -> None:
        """Return when the connection has ended."""
        await self._ended.wait()

    @property
    def working(self) -> int:
        """How many of the peer's requests are being worked on."""
        return len(self._tasks)

    @property
    def buffered(self) -> int:
        """Bytes that were sent and are not yet in the peer's socket."""
        return self._transport.get_write_buffer_size() if self._transport is not None and not self.closed else 0

    # -- what the loop calls -------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self.refused:
            transport.abort()  # type: ignore[attr-defined]
        self._transport = transport  # type: ignore[assignment]  # uvloop's is none of asyncio's classes

    def get_buffer(self, sizehint: int) -> bytearray:
        return _incoming()

    def buffer_updated(self, nbytes: int) -> None:
        try:
            frames = self._decoder.feed(memoryview(_incoming())[:nbytes])
        except ProtocolError:
            self.abort()
            return
        for header, payload in frames:
            self._receive(header, payload)

    def abort(self) -> None:
        """End the connection at once; the peer broke the protocol or is gone."""
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._ended.set()
        for answer in self._pending.values():
            if not answer.done():
                answer.set_exception(ChannelClosed("the connection ended before the answer came"))
        self._pending.clear()
        for task in self._tasks:
            task.cancel()
        if self._on_closed is not None:
            self._on_closed(self)

    def _write(self, header: Header, payload: bytes) -> None:
        assert self._transport is not None
        parts = encode_parts(header, payload)
        self.written += sum(map(len, parts))
        if len(parts) == 1:
            self._transport.write(parts[0])
        else:
            self._transport.writelines(parts)

    # -- private -------------------------------------------------------------------------------------------

    def _receive(self, header: Header, payload: bytes) -> None:
        kind = header["t"]
        if kind == "reply" or kind == "error":
            number = header.get("r")
            answer = self._pending.get(number) if isinstance(number, int) else None
            if answer is not None and not answer.done():
                if kind == "reply":
                    answer.set_result((header, payload))
                else:
                    answer.set_exception(RemoteFailure(header.get("code", "internal"), header.get("message", "")))
            return
        try:
            result = self._handler(self, header, payload)
        except Exception as error:  # noqa: BLE001
            self._failed(header, error)
            return
        if isinstance(result, Awaitable):
            task = asyncio.ensure_future(self._answer_later(header, result))
            self._tasks.add(task)  # its parent is this connection: it is cancelled when the connection ends
            task.add_done_callback(self._tasks.discard)
        else:
            self._answer(header, result)

    async def _answer_later(self, header: Header, result: Awaitable[Answer]) -> None:
        try:
            self._answer(header, await result)
        except Exception as error:  # noqa: BLE001
            self._failed(header, error)

    def _answer(self, request: Header, result: Answer) -> None:
        if "r" not in request:
            return
        fields, payload = result if isinstance(result, tuple) else (result or {}, b"")
        self.send({**fields, "t": "reply", "r": request["r"]}, payload)

    def _failed(self, request: Header, error: Exception) -> None:
        """Tell the peer; a failure that is nobody's answer is a fault of ours and goes to the loop's handler too."""
        if isinstance(error, RemoteFailure):
            failure = error
        else:
            failure = RemoteFailure("internal", f"{request['t']} failed: {type(error).__name__}: {error}")
            asyncio.get_running_loop().call_exception_handler({"message": failure.message, "exception": error})
        if "r" in request:
            self.send({"t": "error", "r": request["r"], "code": failure.code, "message": failure.message})


_buffers = threading.local()


def _incoming() -> bytearray:
    """Return the buffer into which a thread's connections are read: what comes is taken out of it at once."""
    buffer: bytearray | None = getattr(_buffers, "incoming", None)
    if buffer is None:
        buffer = _buffers.incoming = bytearray(256 * 1024)
    return buffer


async def connect(directory: str, handler: Handler, on_closed: Callable[[Channel], None] | None = None) -> Channel:
    """Connect to the socket `s` in `directory`, however long its path is. Raises `OSError` if nobody listens."""
    loop = asyncio.get_running_loop()
    folder = os.open(directory, os.O_PATH | os.O_DIRECTORY)
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        link.setblocking(False)
        await loop.sock_connect(link, f"/proc/self/fd/{folder}/s")
        _, channel = await loop.create_unix_connection(lambda: Channel(handler, on_closed), sock=link)
    except BaseException:
        link.close()
        raise
    finally:
        os.close(folder)
    return channel
