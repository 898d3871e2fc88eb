"""Does every piece of output reach the server, in order and bounded?"""

from __future__ import annotations

import asyncio

import pytest

from modicum.node.outbox import BUFFERED_BYTES_MAX, Outbox
from modicum.wire.frames import PAYLOAD_BYTES_MAX, Header

LAST: Header = {"t": "node.exited", "container": "ta-1"}


class Line:
    """A server that acknowledges when it is told to."""

    def __init__(self) -> None:
        self.sent: list[tuple[Header, bytes]] = []
        self.open = asyncio.Event()
        self.open.set()

    async def deliver(self, header: Header, payload: bytes) -> None:
        self.sent.append((header, payload))
        await self.open.wait()


@pytest.fixture
def line() -> Line:
    return Line()


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_in_order_and_the_end_last(line: Line) -> None:
    outbox = Outbox("ta-1", line.deliver, lambda _: None)
    outbox.add("stdout", b"a\x1e\x02k\x03b")
    outbox.add("stderr", b"c\x1e")
    outbox.end(LAST)
    await outbox.run()
    header, payload = line.sent[0]
    assert header["entries"] == [["stdout", None, 1], ["stdout", "k", 1], ["stderr", None, 1], ["stderr", None, 1]]
    assert payload == b"abc\x1e"
    assert line.sent[1:] == [(LAST, b"")]


async def test_frames_stay_within_their_limit(line: Line) -> None:
    outbox = Outbox("ta-1", line.deliver, lambda _: None)
    for _ in range(40):
        outbox.add("stdout", b"x" * 65536)
    outbox.end(LAST)
    await outbox.run()
    sizes = [len(payload) for _, payload in line.sent]
    assert sum(sizes) == 40 * 65536
    assert max(sizes) == PAYLOAD_BYTES_MAX


async def test_reading_stops_when_too_much_waits(line: Line) -> None:
    said: list[bool] = []
    outbox = Outbox("ta-1", line.deliver, said.append)
    line.open.clear()
    running = asyncio.ensure_future(outbox.run())
    for _ in range(BUFFERED_BYTES_MAX // 65536):
        outbox.add("stdout", b"x" * 65536)
    assert said == [True]
    line.open.set()
    await settle()
    assert said == [True, False]
    outbox.end(LAST)
    await running


async def test_flushed_means_acknowledged(line: Line) -> None:
    outbox = Outbox("ta-1", line.deliver, lambda _: None)
    await outbox.flushed()
    line.open.clear()
    running = asyncio.ensure_future(outbox.run())
    outbox.add("stdout", b"x")
    flushing = asyncio.ensure_future(outbox.flushed())
    await settle()
    assert line.sent
    assert not flushing.done()
    line.open.set()
    await flushing
    outbox.end(LAST)
    await running
