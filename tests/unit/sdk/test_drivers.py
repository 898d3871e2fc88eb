"""How blocking and async callers drive operations over real sockets, and what becomes of their connections."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from modicum import _async, _blocking, _context, _operations, _results, _server
from modicum._exchange import ConnectionLost, Farewell, Item, Receive, Reconnect, Request, Send, Stream
from modicum.exception import ConnectionError, NotFoundError
from modicum.wire.values import dumps
from tests.unit.sdk.driver import LIMIT, Named, Peer, Server

CALL = "fc-1"
Connect = Callable[..., Peer]


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Iterator[Connect]:
    """Let clients reach a server in the head."""
    for place in ("_operations.INLINE_BYTES_MAX", "_blobs.PAYLOAD_BYTES_MAX"):
        monkeypatch.setattr(f"modicum.{place}", LIMIT)
    monkeypatch.setattr(_blocking, "_lanes", {})
    peers: list[Peer] = []

    def make(function: Callable[..., Any], *lose_after: int) -> Peer:
        peer = Peer(Server(function), lose_after)
        peers.append(peer)
        monkeypatch.setattr(_server, "connect", peer.connect)
        return peer

    yield make
    _blocking.close_idle()
    for peer in peers:
        for thread in peer.threads:
            thread.join(5)
            assert not thread.is_alive()


@pytest.fixture
async def peers_end(connect: Connect) -> AsyncIterator[None]:
    """Close the loop's connection, as the loop's end would."""
    yield
    peer = _async._peers.get(asyncio.get_running_loop())
    if peer is not None and peer.end is not None:
        await peer.end.aclose()


def double(x: Any) -> Any:
    return x * 2


def remote(value: Any) -> Any:
    return _operations.remote(Named("fu-1"), CALL, dumps(((value,), {})))


def mapped(**options: bool) -> Any:
    settings = {"order_outputs": True, "return_exceptions": False, **options}
    return _operations.map_(Named("fu-1"), CALL, lambda value: dumps(((value,), {})), **settings)


def test_a_connection_serves_one_operation_after_the_other(connect: Connect) -> None:
    peer = connect(double)
    assert [_blocking.run(remote(n)) for n in range(5)] == [0, 2, 4, 6, 8]
    assert list(_blocking.iterate(mapped(), CALL, iter(range(100)))) == list(range(0, 200, 2))
    assert peer.connections == 1


def stream(peer: Peer, count: int, fails: bool = False) -> Any:
    """Send many requests, and see that no more of them are made than the window lets."""

    def messages() -> Iterator[Any]:
        for number in range(count):
            assert number - len(peer.server.blobs.get("bl-1", b"")) <= Stream.AHEAD
            if fails and number == count - 1:
                yield {"t": "blob.get", "blob": "bl-none", "offset": 0}, b""
            else:
                yield {"t": "blob.put", "blob": "bl-1", "offset": number, "total": count}, b"x"

    answers = yield Stream(messages())
    return [header["received"] for header, _ in answers]


def test_a_blocking_stream(connect: Connect) -> None:
    peer = connect(double)
    assert _blocking.run(stream(peer, 50)) == list(range(1, 51))
    assert _blocking.run(remote(1)) == 2
    assert peer.connections == 1
    peer.server.blobs.clear()
    with pytest.raises(NotFoundError, match="no such blob"):
        _blocking.run(stream(peer, 11, fails=True))
    assert _blocking.run(remote(1)) == 2


@pytest.mark.usefixtures("peers_end")
async def test_an_async_stream(connect: Connect) -> None:
    peer = connect(double)
    assert await _async.run(stream(peer, 50)) == list(range(1, 51))
    peer.server.blobs.clear()
    with pytest.raises(NotFoundError, match="no such blob"):
        await _async.run(stream(peer, 11, fails=True))


def test_operations_at_once_have_connections_of_their_own(connect: Connect) -> None:
    barrier = threading.Barrier(3)

    def slow(x: int) -> int:
        barrier.wait(10)
        return x

    peer = connect(slow)
    results: list[int] = []
    threads = [threading.Thread(target=lambda n=n: results.append(_blocking.run(remote(n)))) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(results) == [0, 1, 2]
    assert peer.connections == 3
    assert len(_blocking._idle()) == 3


def runs(peer: Peer) -> list[int]:
    """Return the inputs that have run since the last look."""
    ran = [index for _, index in peer.server.ran]
    peer.server.ran.clear()
    return sorted(ran)


@pytest.mark.parametrize("life", range(8))
def test_blocking_reconnects(connect: Connect, life: int) -> None:
    """The server answered all that it took before it was lost: nothing may run twice."""
    peer = connect(double, life, life + 1)
    assert _blocking.run(remote(bytes(LIMIT))) == bytes(2 * LIMIT)
    assert runs(peer) == [0]
    assert list(_blocking.iterate(mapped(), CALL, iter([1, bytes(LIMIT), 3]))) == [2, bytes(2 * LIMIT), 6]
    assert runs(peer) == [0, 1, 2]


@pytest.mark.usefixtures("peers_end")
@pytest.mark.parametrize("life", range(8))
async def test_async_reconnects(connect: Connect, life: int) -> None:
    peer = connect(double, life, life + 1)
    assert await _async.run(remote(bytes(LIMIT)), CALL) == bytes(2 * LIMIT)
    assert runs(peer) == [0]
    got = [item async for item in _async.iterate(mapped(), CALL, iter([1, bytes(LIMIT), 3]))]
    assert got == [2, bytes(2 * LIMIT), 6]
    assert runs(peer) == [0, 1, 2]


def outputs_then_lost() -> tuple[Any, list[Any]]:
    """An operation that has an item to give when its connection is lost."""
    seen: list[Any] = []

    def operation() -> Any:
        try:
            yield Request(({"t": "call.get", "call": CALL, "index": 0}, b""))
        except ConnectionLost as lost:
            seen.append(lost)
            yield Item("kept")
        yield Reconnect()
        yield Item("more")

    return operation(), seen


def test_items_may_be_given_before_the_reconnect(connect: Connect) -> None:
    connect(double, 0)
    operation, seen = outputs_then_lost()
    assert list(_blocking.iterate(operation, CALL)) == ["kept", "more"]
    assert len(seen) == 1


@pytest.mark.usefixtures("peers_end")
async def test_items_may_be_given_before_the_reconnect_async(connect: Connect) -> None:
    connect(double, 0)
    operation, seen = outputs_then_lost()
    assert [item async for item in _async.iterate(operation, CALL)] == ["kept", "more"]
    assert len(seen) == 1


def test_whoever_gives_up_says_so(connect: Connect) -> None:
    peer = connect(double)
    results = _blocking.iterate(mapped(), CALL, iter(range(10_000)))
    assert next(results) == 0
    results.close()  # type: ignore[attr-defined]
    peer.threads[0].join(5)
    assert peer.server.sent[-1][0] == {"t": "call.forget", "call": CALL}
    assert not _blocking._idle()


@pytest.mark.usefixtures("peers_end")
async def test_whoever_gives_up_says_so_async(connect: Connect) -> None:
    peer = connect(double)
    results = _async.iterate(mapped(), CALL, iter(range(10_000)))
    assert await anext(results) == 0
    await results.aclose()  # type: ignore[attr-defined]
    assert not _async._peers[asyncio.get_running_loop()].routes
    with pytest.raises(NotFoundError):  # an answer that comes behind the message
        await _async.run(_results.get(CALL, 0, 0))
    assert ("call.forget", CALL) in [(header["t"], header.get("call")) for header, _ in peer.server.sent]


def test_a_refusal_is_raised_and_the_next_call_works(connect: Connect) -> None:
    connect(double)
    with pytest.raises(NotFoundError, match="no such call"):
        _blocking.run(_results.get(CALL, 0, 0))
    assert _blocking.run(remote(1)) == 2


def test_messages_that_are_left_over_end_the_connection(connect: Connect) -> None:
    connect(double)
    lane = _blocking._borrow()
    lane.perform(Send())
    lane._inbox.append(({"t": "call.outputs"}, b""))
    lane.give_back()
    assert not _blocking._idle()
    assert lane._socket is not None
    assert lane._socket.fileno() == -1


def test_a_forked_child_does_not_use_its_parents_connections(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    peer = connect(double)
    _blocking.run(remote(1))
    pid = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: pid + 1)
    assert _blocking.run(remote(2)) == 4
    assert peer.connections == 2
    _blocking.close_idle()
    monkeypatch.setattr(os, "getpid", lambda: pid)


def test_no_server_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise ConnectionError("none")

    monkeypatch.setattr(_server, "connect", refuse)
    monkeypatch.setattr(_blocking, "_lanes", {})
    with pytest.raises(ConnectionError, match="none"):
        _blocking.run(remote(1))


@pytest.mark.parametrize("shut_down", [True, False])
def test_a_loops_connection_ends_with_it(connect: Connect, shut_down: bool) -> None:
    def in_loop_of_its_own() -> Any:
        if shut_down:
            return asyncio.run(_async.run(remote(4), CALL))
        loop = asyncio.new_event_loop()
        loops.append(loop)
        try:
            return loop.run_until_complete(_async.run(remote(4), CALL))
        finally:
            loop.close()

    peer = connect(double)
    loops: list[asyncio.AbstractEventLoop] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # of whoever does not shut his loop down
        assert [in_loop_of_its_own() for _ in range(5)] == [8] * 5
        assert len(_async._peers) == (0 if shut_down else 1)
        _async._peers.clear()
        loops.clear()
        gc.collect()
    for thread in peer.threads:
        thread.join(5)
    assert not [thread for thread in peer.threads if thread.is_alive()]  # each has read the end of its connection
    assert peer.connections == 5


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, float]]:
    """Let outputs come behind something printed; return what is asked of its display."""
    output, asked = Server.output, []

    def printed(self: Server, *args: Any) -> Any:
        header, value = output(self, *args)
        return {**header, "log": ["ap-1", 7]}, value

    def wait(cursor: int, within_s: float) -> bool:
        asked.append((cursor, within_s))
        return within_s > 0

    monkeypatch.setattr(Server, "output", printed)
    monkeypatch.setattr(_context, "shown", {"ap-1": wait})
    return asked


def test_what_was_printed_is_shown_before_the_caller_goes_on(connect: Connect, looked: list[Any]) -> None:
    connect(double)
    assert _blocking.run(remote(1)) == 2
    assert looked == [(7, _context.SHOWN_WITHIN_S)]


@pytest.mark.usefixtures("peers_end")
async def test_what_was_printed_is_shown_before_an_async_caller_goes_on(connect: Connect, looked: list[Any]) -> None:
    connect(double)
    assert await _async.run(remote(1), CALL) == 2
    assert looked == [(7, 0), (7, _context.SHOWN_WITHIN_S)]


@pytest.mark.usefixtures("peers_end")
async def test_a_loops_operations_share_one_connection(connect: Connect) -> None:
    peer = connect(double)
    calls = [f"fc-{n}" for n in range(20)]
    operations = [_operations.remote(Named("fu-1"), call, dumps(((n,), {}))) for n, call in enumerate(calls)]
    got = await asyncio.gather(*(_async.run(o, c) for o, c in zip(operations, calls)))
    assert got == list(range(0, 40, 2))
    assert peer.connections == 1
    assert not _async._peers[asyncio.get_running_loop()].routes


async def drip(count: int) -> AsyncIterator[int]:
    for n in range(count):
        await asyncio.sleep(0)
        yield n


@pytest.mark.usefixtures("peers_end")
async def test_async_map_takes_either_kind_of_iterable(connect: Connect) -> None:
    connect(double)
    for values in (iter(range(700)), drip(700)):
        got = [item async for item in _async.iterate(mapped(), CALL, values)]
        assert got == list(range(0, 1400, 2))


@pytest.mark.usefixtures("peers_end")
async def test_async_map_raises_what_its_iterable_raises(connect: Connect) -> None:
    async def broken() -> AsyncIterator[int]:
        yield 1
        raise LookupError("mine")

    connect(double)
    with pytest.raises(LookupError, match="mine"):
        [item async for item in _async.iterate(mapped(), CALL, broken())]


async def test_zip_of_either_kind() -> None:
    assert [row async for row in _async.zip_any((drip(3), "ab"))] == [(0, "a"), (1, "b")]
    assert list(_async.zip_any(("ab", [1, 2]))) == [("a", 1), ("b", 2)]


def test_pull_is_small_while_values_come_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_blocking, "PULL_SLOW_S", 10.0)
    lane = _blocking._Lane()
    lane.values = iter(range(1000))
    sizes = [len(lane._pull(64)[0]) for _ in range(9)]
    assert sizes == [1, 2, 4, 8, 16, 32, 64, 64, 64]
    monkeypatch.setattr(_blocking, "PULL_SLOW_S", -1.0)
    assert [len(lane._pull(64)[0]) for _ in range(3)] == [64, 1, 1]
    lane.values = iter(())
    assert lane._pull(64) == ([], True)


def test_an_error_that_was_answered_leaves_the_connection_in_use(connect: Connect) -> None:
    peer = connect(double)

    def failing() -> Any:
        yield Request(({"t": "blob.put", "blob": "b", "offset": 0}, b"x"))
        raise KeyError("mine")

    for _ in range(2):
        with pytest.raises(KeyError):
            _blocking.run(failing())
        peer.server.blobs.clear()
        with pytest.raises(NotFoundError):
            _blocking.run(_ask({"t": "blob.get", "blob": "none"}))
    assert peer.connections == 1


def test_a_stream_that_breaks_off_ends_the_connection(connect: Connect) -> None:
    """The answers that it no longer waits for are nobody else's."""
    peer = connect(double)

    def messages() -> Iterator[Any]:
        yield {"t": "blob.put", "blob": "bl-1", "offset": 0, "total": 2}, b"x"
        raise KeyError("gone")

    def breaking() -> Any:
        yield Stream(messages())

    with pytest.raises(KeyError):
        _blocking.run(breaking())
    assert _blocking.run(_ask({"t": "blob.put", "blob": "bl-2", "offset": 0, "total": 5}))[0][0]["received"] == 0
    assert _blocking.run(remote(1)) == 2
    assert peer.connections == 2


def _ask(header: dict[str, Any]) -> Any:
    return (yield Request((header, b"")))


class GivesUp(BaseException):
    pass


def leaving(said: bool) -> Any:
    yield Farewell({"t": "call.forget", "call": "fc-left"})
    if said:
        yield Farewell(None)
    yield Item(1)
    yield Receive()


def test_who_gives_up_says_farewell(connect: Connect) -> None:
    peer = connect(double)
    _blocking.run(remote(1))
    for said in (False, True):
        items = _blocking.iterate(leaving(said), None)
        assert next(items) == 1
        with pytest.raises(GivesUp):
            items.throw(GivesUp)  # type: ignore[attr-defined]
    _blocking.close_idle()
    for thread in peer.threads:
        thread.join(5)
    assert [header for header, _ in peer.server.sent if header.get("call") == "fc-left"] == [
        {"t": "call.forget", "call": "fc-left"}
    ]


async def test_who_is_cancelled_says_farewell(connect: Connect, peers_end: None) -> None:
    peer = connect(double)
    await _async.run(remote(1), CALL)
    for said in (False, True):
        left = asyncio.ensure_future(_async.run(_waiting(said), "fc-2"))
        await asyncio.sleep(0)
        left.cancel()
        with pytest.raises(asyncio.CancelledError):
            await left
    await _async.run(_ask({"t": "call.forget", "call": "fc-behind"}))
    assert [header["call"] for header, _ in peer.server.sent if header["t"] == "call.forget"].count("fc-left") == 1


def _waiting(said: bool) -> Any:
    yield Farewell({"t": "call.forget", "call": "fc-left"})
    if said:
        yield Farewell(None)
    yield Receive()
