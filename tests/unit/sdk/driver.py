"""A server in the head, for operations: it answers what they ask, and loses the connection where it is told to."""

from __future__ import annotations

import socket
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from modicum._exchange import ConnectionLost, Item, Pull, Receive, Reconnect, Request, Send
from modicum.exception import Error, InternalError, VersionError, from_code
from modicum.wire import values
from modicum.wire.frames import Decoder, Frame, Header, encode
from modicum.wire.messages import EXCEPTION, GENERATOR_DONE, SUCCESS
from modicum.wire.values import dump_exception, dumps

if TYPE_CHECKING:
    from modicum._exchange import Operation

Function = Callable[..., Any]

LIMIT = 1000
"""Larger values are blobs here; so little because many tests send them."""


class Named:
    """A function that is known by its id."""

    method: str | None = None

    def __init__(self, object_id: str) -> None:
        self._object_id = object_id

    def ready(self, kind: str = "") -> Operation[str]:
        return self._object_id
        yield


class Server:
    """Runs `function` on what arrives. `lose_at` are the numbers of the steps at which the connection ends.

    What a lost server had not stored is forgotten, as by a real one: inputs of calls that are not durable, and frames
    on their way.
    """

    def __init__(self, function: Function, lose_at: tuple[int, ...] = (), values: Iterator[Any] | None = None) -> None:
        self.function = function
        self.lose_at = lose_at
        self.values = values
        self.steps = 0
        self.reconnects = 0
        self.sent: list[Frame] = []
        self.ran: list[tuple[str, int]] = []
        self.stored: dict[tuple[str, int], bytes] = {}
        self.blobs: dict[str, bytearray] = {}
        self.outgoing: deque[Frame] = deque()
        self.out_of_order = False

    def drive(self, operation: Operation[Any]) -> Generator[Any, None, Any]:
        """Yield the items of an operation, then return its result, as the real drivers do."""
        answer: Any = None
        failed: Exception | None = None
        while True:
            try:
                exchange = operation.send(answer) if failed is None else operation.throw(failed)
            except StopIteration as stop:
                return stop.value
            answer = failed = None
            if isinstance(exchange, Item):
                yield exchange.value
                continue
            self.steps += 1
            if self.steps in self.lose_at and not isinstance(exchange, (Pull, Reconnect)):
                self.outgoing.clear()
                failed = ConnectionLost()
                continue
            try:
                answer = self.perform(exchange)
            except Error as error:
                failed = error

    def run(self, operation: Operation[Any]) -> Any:
        """Return an operation's result."""
        driving = self.drive(operation)
        while True:
            try:
                next(driving)
            except StopIteration as stop:
                return stop.value

    def perform(self, exchange: object) -> Any:
        if isinstance(exchange, Reconnect):
            self.reconnects += 1
            return None
        if isinstance(exchange, Pull):
            assert self.values is not None
            taken = list(islice(self.values, exchange.count))
            return taken, len(taken) < exchange.count
        if isinstance(exchange, Receive):
            if not self.outgoing:
                assert exchange.timeout_s == 0, "it waits for ever"
                return None
            return self.outgoing.pop() if self.out_of_order else self.outgoing.popleft()
        assert isinstance(exchange, (Send, Request))
        return [self.take(header, payload) for header, payload in exchange.messages]

    def take(self, header: Header, payload: bytes) -> Frame:
        self.sent.append((header, bytes(payload)))
        handler: Callable[[Header, bytes], Frame] = getattr(self, header["t"].replace(".", "_"))
        return handler(header, bytes(payload))

    def call_inputs(self, header: Header, payload: bytes) -> Frame:
        assert sum(header["sizes"]) == len(payload) <= LIMIT
        start = 0
        for place, size in enumerate(header["sizes"]):
            index = header["first"] + place
            data: bytes | bytearray = payload[start : start + size]
            start += size
            blob = header.get("blobs", {}).get(str(place))
            if blob is not None:
                assert not data
                data = self.blobs[blob]
            if header["kind"] == "spawn":
                self.stored.setdefault((header["call"], index), bytes(data))
            elif header["kind"] == "gen":
                self.generate(header, data)
            else:
                self.ran.append((header["call"], index))
                self.outgoing.append(self.output(header["call"], index, *self.ended(data)))
        return {"t": "reply"}, b""

    def ended(self, data: bytes | bytearray) -> tuple[str, bytes]:
        args, kwargs = values.loads(data)
        try:
            return SUCCESS, dumps(self.function(*args, **kwargs))
        except Exception as error:
            return EXCEPTION, dump_exception(error)

    def output(self, call: str, index: int, status: str, value: bytes) -> Frame:
        blob = None
        if len(value) > LIMIT:
            blob = f"bl-{len(self.blobs):016x}"
            self.blobs[blob] = bytearray(value)
            value = b""
        return {"t": "call.outputs", "call": call, "outputs": [[index, status, len(value), blob]]}, value

    def generate(self, header: Header, data: bytes | bytearray) -> None:
        args, kwargs = values.loads(data)
        items = [dumps(item) for item in self.function(*args, **kwargs)]
        pieces: list[tuple[bytes, bool]] = []
        for item in items:  # two pieces for each item, to see that they are joined
            pieces += [(item[:3], False), (item[3:], True)]
        for number, (piece, end) in enumerate(pieces):
            if number >= header["pieces"]:
                self.outgoing.append(({"t": "call.piece", "call": header["call"], "piece": number, "end": end}, piece))
        self.outgoing.append(self.output(header["call"], 0, GENERATOR_DONE, dumps(len(items))))

    def call_get(self, header: Header, payload: bytes) -> Frame:
        entries, values = [], b""
        for index in range(header["index"], header["index"] + header.get("count", 1)):
            data = self.stored.get((header["call"], index))
            if data is None:
                break
            reply, value = self.output(header["call"], index, *self.ended(data))
            entries += reply["outputs"]
            values += value
        if not entries:
            raise from_code("not_found", "no such call")
        return {"outputs": entries, "why": ""}, values

    def call_info(self, header: Header, payload: bytes) -> Frame:
        count = sum(call == header["call"] for call, _ in self.stored)
        if not count:
            raise from_code("not_found", "no such call")
        return {"inputs": count}, b""

    def call_ready(self, header: Header, payload: bytes) -> Frame:
        return {"ready": header["calls"]}, b""

    def blob_put(self, header: Header, payload: bytes) -> Frame:
        data = self.blobs.setdefault(header["blob"], bytearray())
        assert header["offset"] == len(data)
        data += payload
        return {"received": len(data)}, b""

    def blob_get(self, header: Header, payload: bytes) -> Frame:
        if header["blob"] not in self.blobs:
            raise from_code("not_found", "no such blob")
        data = self.blobs[header["blob"]]
        start = header["offset"]
        return {"total": len(data)}, bytes(data[start : start + LIMIT])

    def blob_free(self, header: Header, payload: bytes) -> Frame:
        del self.blobs[header["blob"]]
        return {}, b""

    def call_forget(self, header: Header, payload: bytes) -> Frame:
        return {}, b""

    def call_ack(self, header: Header, payload: bytes) -> Frame:
        return {}, b""


class Peer:
    """The other end of real sockets: a `Server` behind each connection, on a thread of its own.

    `lose_after` are how many messages the first, the second … connection lives for; further ones live on.
    """

    def __init__(self, server: Server, lose_after: tuple[int, ...] = ()) -> None:
        self.server = server
        self.lose_after = deque(lose_after)
        self.connections = 0
        self.threads: list[threading.Thread] = []

    def connect(self) -> socket.socket:
        """Return a client's end; stands for `_server.connect`."""
        ours, theirs = socket.socketpair()
        self.connections += 1
        life = self.lose_after.popleft() if self.lose_after else None
        self.threads.append(threading.Thread(target=self._serve, args=(theirs, life), daemon=True))
        self.threads[-1].start()
        return ours

    def _serve(self, link: socket.socket, life: int | None) -> None:
        decoder = Decoder()
        self.server.outgoing.clear()
        with link:
            while data := _received(link):
                for header, payload in decoder.feed(data):
                    if life == 0:
                        return
                    life = None if life is None else life - 1
                    self._answer(link, header, payload)

    def _answer(self, link: socket.socket, header: Header, payload: bytes) -> None:
        try:
            fields, data = self.server.take(header, payload)
            reply = {**fields, "t": "reply", "r": header.get("r")}
        except Error as error:
            code = {InternalError: "internal", VersionError: "version"}.get(type(error), "not_found")
            reply, data = {"t": "error", "r": header.get("r"), "code": code, "message": str(error)}, b""
        try:
            if "r" in header:
                link.sendall(encode(reply, data))
            while self.server.outgoing:
                link.sendall(encode(*self.server.outgoing.popleft()))
        except OSError:
            pass  # the client is gone; what it sent before is still to be read


def _received(link: socket.socket) -> bytes:
    try:
        return link.recv(1 << 16)
    except ConnectionResetError:
        return b""
