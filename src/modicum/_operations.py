"""What calling a function means on the wire: one operation for each way of calling.

Each is written once and driven by `_blocking.py` or `_async.py`. The first of the five rooms of `f.remote(x)` is
`function.py`; the frames that are made here go to `server/api/calls.py`.
"""

from __future__ import annotations

import os
from collections import deque

from modicum import _blobs, _context
from modicum._exchange import ConnectionLost, Item, Pull, Receive, Reconnect, Request, Send
from modicum._outputs import Output, load
from modicum.exception import ResourceExhaustedError, from_code
from modicum.wire.messages import AHEAD_BYTES, AHEAD_PIECES, INLINE_BYTES_MAX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Protocol

    from modicum._exchange import Operation
    from modicum.wire.frames import Frame, Header

    class Target(Protocol):
        """What is called: a function, whose id is asked for with its first call if it was only named."""

        method: str | None

        def ready(self, kind: str = "") -> Operation[str]: ...


OUTSTANDING_MAX = 1000
"""Inputs of one map that are on their way or whose results wait to be taken."""

OUTSTANDING_BYTES_MAX = 32 << 20
BATCH_INPUTS = 64
SPAWN_INPUTS = 1024
SPAWN_BYTES = 4 << 20
"""So much of a map that nobody waits for is stored together."""

STORE_AGAIN_S = 1.0
STORE_AGAIN_MAX_S = 30.0
"""A function that has too many inputs is asked again so soon to take more, and at last so seldom."""


def new_call() -> str:
    """Return the id of a new call. The caller makes it up, so that asking twice is asking once."""
    return "fc-" + os.urandom(11).hex()


def remote(target: Target, call: str, arguments: bytes) -> Operation[Any]:
    """Call with one input and return its value, or raise what it raised."""
    inputs = _Inputs(call, (yield from target.ready("sync")), "sync", target.method)
    inputs.hold(0, arguments)
    while True:
        try:
            yield from inputs.send()
            while True:
                header, payload = yield Receive()
                if header["t"] == "call.outputs":
                    output = Output(header["outputs"][0], payload)
                    if output.blob is not None:  # its call is kept until the value has been read
                        yield from output.fetch_through()
                        yield from _forget(call)
                    return output.value()
                _raise_failed(header)
        except ConnectionLost:
            yield Reconnect()


def spawn(target: Target, call: str, arguments: bytes) -> Operation[None]:
    """Call without waiting. When it returns, the input is stored durably."""
    inputs = _Inputs(call, (yield from target.ready("spawn")), "spawn", target.method)
    inputs.hold(0, arguments)
    while True:
        try:
            yield from inputs.send(Request)
            return
        except ConnectionLost:
            yield Reconnect()


def spawn_map(target: Target, call: str, encode: Any) -> Operation[None]:
    """Call with many inputs without waiting; `encode` makes an input of what is pulled from the caller.

    When it returns, all of them are stored durably. A function that has too many is waited for.
    """
    inputs = _Inputs(call, (yield from target.ready("spawn_map")), "spawn", target.method)
    while not inputs.exhausted:
        yield from inputs.gather(encode)
        yield from _store(inputs)


def _store(inputs: _Inputs) -> Operation[None]:
    patience_s = STORE_AGAIN_S
    while True:
        try:
            yield from inputs.store()
            return
        except ConnectionLost:
            yield Reconnect()
        except ResourceExhaustedError as error:
            if patience_s == STORE_AGAIN_S:
                import warnings

                warnings.warn(f"{error}; waiting for that", stacklevel=2)
            yield Receive(patience_s)
            patience_s = min(2 * patience_s, STORE_AGAIN_MAX_S)


def generate(target: Target, call: str, arguments: bytes) -> Operation[None]:
    """Call a generator and give its items as they come."""
    inputs = _Inputs(call, (yield from target.ready("gen")), "gen", target.method)
    inputs.hold(0, arguments)
    incoming = _Incoming(call)
    count: int | None = None
    while True:
        try:
            yield from inputs.send(pieces=incoming.next)
            # Around a lost connection the end may come before the last items.
            while count is None or incoming.items < count:
                header, payload = yield Receive()
                if header["t"] == "call.piece":
                    item = incoming.take(header, payload)
                    if item is not None:
                        yield Item(load(item, bool(header.get("plain"))))
                    if incoming.should_acknowledge():
                        yield Send(incoming.acknowledgement())
                elif header["t"] == "call.outputs":
                    output = Output(header["outputs"][0], payload)
                    yield from output.fetch_through()
                    count = output.value()
                else:
                    _raise_failed(header)
            yield from _forget(call)
            return
        except ConnectionLost:
            yield Reconnect()


def map_(target: Target, call: str, encode: Any, order_outputs: bool, return_exceptions: bool) -> Operation[None]:
    """Call with many inputs and give their values; `encode` makes an input of what is pulled from the caller.

    Never more than `OUTSTANDING_MAX` inputs are on their way or waiting to be taken: the caller's iterable is read
    and results are kept only as fast as he takes them. An exception is raised at its place, or given as a value.
    """
    inputs = _Inputs(call, (yield from target.ready("map")), "map", target.method)
    results = _Results(order_outputs)
    lost = False
    while True:
        try:
            if lost:
                yield Reconnect()
                yield from inputs.take_rest(results)
                yield from inputs.send()
                lost = False
            else:
                more = inputs.has_room(results.given) and (yield from inputs.feed(encode))
                if inputs.exhausted and results.given == inputs.count:
                    break
                frame = yield Receive(0 if more else None)
                if frame is not None:
                    yield from inputs.take(frame, results)
        except ConnectionLost:
            lost = True
        for ok, value in results.take():
            if not ok and not return_exceptions:
                raise value
            yield Item(value)
    yield from _forget(call)


def _forget(call: str) -> Operation[None]:
    """Say that nobody waits any longer."""
    yield from _tell({"t": "call.forget", "call": call})


def _tell(header: Header) -> Operation[None]:
    """Send what a server that is gone meanwhile need not know."""
    try:
        yield Send((header, b""))
    except ConnectionLost:
        pass


class _Inputs:
    """The inputs of a call that have no output yet. The caller holds them: what a server loses is sent again."""

    def __init__(self, call: str, function: str, kind: str, method: str | None) -> None:
        self._header = {"t": "call.inputs", "call": call, "function": function, "kind": kind}
        if method is not None:
            self._header["method"] = method
        parent = _context.key()
        if parent is not None:
            self._header["parent"] = parent
        self._held: dict[int, tuple[bytes, str | None]] = {}
        self._bytes = 0
        self._arrived: deque[Output] = deque()
        self.count = 0
        self.exhausted = False

    def hold(self, index: int, data: bytes) -> None:
        """Take in an input; it leaves with the next `send`."""
        self._held[index] = data, None
        self._bytes += len(data)
        self.count += 1

    def has_room(self, given: int) -> bool:
        """Return whether another input may be taken from the caller."""
        if self.exhausted or self._bytes >= OUTSTANDING_BYTES_MAX:
            return False
        return self.count - given < OUTSTANDING_MAX

    def feed(self, encode: Any) -> Operation[bool]:
        """Take what the caller's iterable has now and send it; return whether there was anything."""
        pulled, self.exhausted = yield Pull(BATCH_INPUTS)
        first = self.count
        for value in pulled:
            self.hold(self.count, encode(value))
        yield from self.send(indices=range(first, self.count))
        return bool(pulled)

    def gather(self, encode: Any) -> Operation[None]:
        """Take as much as is stored together, or what the caller's iterable has now."""
        asked = taken = BATCH_INPUTS
        while not self.exhausted and taken == asked:
            if self._bytes >= SPAWN_BYTES or len(self._held) >= SPAWN_INPUTS:
                break
            pulled, self.exhausted = yield Pull(asked)
            taken = len(pulled)
            for value in pulled:
                self.hold(self.count, encode(value))

    def store(self) -> Operation[None]:
        """Send what is held, as requests, and forget it: it is stored. A call without inputs is stored too."""
        if self.count:
            yield from self.send(Request)
        else:
            yield Request(({**self._header, "first": 0, "sizes": []}, b""))
        self._held.clear()
        self._bytes = 0

    def send(self, kind: Any = Send, indices: Any = None, **fields: Any) -> Operation[None]:
        """Send these inputs, by default all that are held, in as few frames as they fit in."""
        frame = _Frame({**self._header, **fields})
        for index in list(self._held) if indices is None else indices:
            yield from self._put_blob(index)
            data, blob = self._held[index]
            if not frame.fits(index, data):
                yield kind(frame.message())
                frame = _Frame({**self._header, **fields})
            frame.add(index, data, blob)
        if frame.sizes:
            yield kind(frame.message())

    def _put_blob(self, index: int) -> Operation[None]:
        data, blob = self._held[index]
        if blob is None and len(data) > INLINE_BYTES_MAX:
            blob = _blobs.new_blob()
            yield from _blobs.put(blob, data)
            self._held[index] = b"", blob
            self._bytes -= len(data)

    def take(self, frame: Frame, results: _Results) -> Operation[None]:
        """Take in a frame of outputs."""
        header, payload = frame
        if header["t"] != "call.outputs":
            return _raise_failed(header)
        start = 0
        for entry in header["outputs"]:
            self._arrived.append(Output(entry, payload[start : start + entry[2]]))
            start += entry[2]
        return (yield from self._settle(results))

    def take_rest(self, results: _Results) -> Operation[None]:
        """Take in what came before the connection was lost: those inputs have run and are not sent again."""
        yield from self._settle(results)
        while True:
            frame = yield Receive(0)
            if frame is None:
                return
            yield from self.take(frame, results)

    def _settle(self, results: _Results) -> Operation[None]:
        """Make values of what has arrived. A lost connection leaves the rest for the next time."""
        while self._arrived:
            output = self._arrived[0]
            held = self._held.get(output.index)
            # One that is not held came twice, around a lost connection.
            if held is not None and (yield from _give(output, results)):
                del self._held[output.index]
                self._bytes -= len(held[0])
            self._arrived.popleft()


def _give(output: Output, results: _Results) -> Operation[bool]:
    """Add an output to the results; return False if its bytes are lost, so that its input has to run again."""
    try:
        if output.blob is not None:
            if not (yield from output.fetch()):
                return False
            yield from _tell({"t": "blob.free", "blob": output.blob})
        results.add(output.index, True, output.value())
    except (ConnectionLost, GeneratorExit):
        raise
    except BaseException as error:  # noqa: BLE001 - the function's own: it is given or raised at its place
        results.add(output.index, False, error)
    return True


class _Frame:
    """Neighbouring inputs that share a frame."""

    def __init__(self, header: Header) -> None:
        self._header = header
        self._first = 0
        self._parts: list[bytes] = []
        self._bytes = 0
        self._blobs: dict[str, str] = {}
        self.sizes: list[int] = []

    def fits(self, index: int, data: bytes) -> bool:
        if not self.sizes:
            return True
        return index == self._first + len(self.sizes) and self._bytes + len(data) <= INLINE_BYTES_MAX

    def add(self, index: int, data: bytes, blob: str | None) -> None:
        if not self.sizes:
            self._first = index
        if blob is not None:
            self._blobs[str(len(self.sizes))] = blob
        self.sizes.append(len(data))
        self._parts.append(data)
        self._bytes += len(data)

    def message(self) -> Frame:
        header = {**self._header, "first": self._first, "sizes": self.sizes}
        if self._blobs:
            header["blobs"] = self._blobs
        return header, b"".join(self._parts)


class _Results:
    """Outputs that have come and are not yet given to the caller, in the order in which he wants them."""

    def __init__(self, ordered: bool) -> None:
        self._ordered = ordered
        self._by_index: dict[int, tuple[bool, Any]] = {}
        self._arrived: deque[tuple[bool, Any]] = deque()
        self.given = 0

    def add(self, index: int, ok: bool, value: Any) -> None:
        if self._ordered:
            self._by_index[index] = ok, value
        else:
            self._arrived.append((ok, value))

    def take(self) -> Iterator[tuple[bool, Any]]:
        """Yield what may be given now."""
        while self._arrived or self.given in self._by_index:
            self.given += 1
            yield self._arrived.popleft() if self._arrived else self._by_index.pop(self.given - 1)


class _Incoming:
    """The pieces of a generator that have come, and how many of them the other side knows of."""

    def __init__(self, call: str) -> None:
        self.next = 0
        self.items = 0
        self._call = call
        self._parts: list[bytes] = []
        self._acknowledged = 0
        self._bytes = 0

    def take(self, header: Header, payload: bytes) -> bytes | None:
        """Take in a piece; return the item that it completes. One that came before a lost connection is ignored."""
        if header["piece"] != self.next:
            return None
        self.next += 1
        self._bytes += len(payload)
        self._parts.append(payload)
        if not header["end"]:
            return None
        item = b"".join(self._parts)
        self._parts = []
        self.items += 1
        return item

    def should_acknowledge(self) -> bool:
        """Return whether the other side should hear now how far we are."""
        return self._bytes > AHEAD_BYTES // 4 or self.next - self._acknowledged > AHEAD_PIECES // 4

    def acknowledgement(self) -> Frame:
        """Return the message that says how far we are."""
        self._acknowledged, self._bytes = self.next, 0
        return {"t": "call.ack", "call": self._call, "pieces": self.next}, b""


def _raise_failed(header: Header) -> None:
    if header["t"] == "call.failed":
        raise from_code(header["code"], header["message"])
