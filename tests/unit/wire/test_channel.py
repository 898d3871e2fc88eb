"""What a connection does with requests, refusals, faults and its own end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from modicum.wire.channel import Answer, Channel, ChannelClosed, RemoteFailure, connect
from modicum.wire.frames import Header, encode

Handler = Callable[[Channel, Header, bytes], "Awaitable[Answer] | Answer"]


def ignore(channel: Channel, header: Header, payload: bytes) -> Answer:
    return None


@contextlib.asynccontextmanager
async def pair(
    handler: Handler = ignore, closed: list[Channel] | None = None
) -> AsyncIterator[tuple[Channel, Channel]]:
    """A client's and a server's end; the server's has the handler."""
    ours, theirs = socket.socketpair()
    loop = asyncio.get_running_loop()
    _, client = await loop.create_unix_connection(lambda: Channel(ignore), sock=ours)
    _, server = await loop.create_unix_connection(
        lambda: Channel(handler, None if closed is None else closed.append), sock=theirs
    )
    yield client, server
    client.close()
    server.close()
    await asyncio.gather(client.wait_closed(), server.wait_closed())


async def test_answers_find_their_requests() -> None:
    gates = [asyncio.Event(), asyncio.Event()]

    async def handler(channel: Channel, header: Header, payload: bytes) -> Answer:
        await gates[header["n"]].wait()
        return {"n": header["n"]}, payload.upper()

    async with pair(handler) as (client, _):
        first = asyncio.ensure_future(client.request({"t": "x", "n": 0}, b"a"))
        second = asyncio.ensure_future(client.request({"t": "x", "n": 1}, b"b"))
        gates[1].set()
        assert await second == ({"n": 1, "t": "reply", "r": 2}, b"B")
        assert not first.done()
        gates[0].set()
        assert (await first)[1] == b"A"


@pytest.mark.parametrize(
    ("answer", "header", "payload"),
    [(None, {}, b""), ({"a": 1}, {"a": 1}, b""), (({"a": 1}, b"p"), {"a": 1}, b"p")],
)
async def test_every_form_of_answer(answer: Answer, header: Header, payload: bytes) -> None:
    async with pair(lambda *_: answer) as (client, _):
        assert await client.request({"t": "x"}) == ({**header, "t": "reply", "r": 1}, payload)


async def test_refusal_is_raised_with_its_code() -> None:
    def refuse(channel: Channel, header: Header, payload: bytes) -> Answer:
        raise RemoteFailure("not_found", "no such thing")

    async def refuse_later(channel: Channel, header: Header, payload: bytes) -> Answer:
        raise RemoteFailure("not_found", "no such thing")

    handlers: list[Handler] = [refuse, refuse_later]
    for handler in handlers:
        async with pair(handler) as (client, _):
            with pytest.raises(RemoteFailure, match="no such thing") as caught:
                await client.request({"t": "x"})
            assert caught.value.code == "not_found"


async def test_fault_answers_and_is_reported_and_the_connection_goes_on() -> None:
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))

    def handler(channel: Channel, header: Header, payload: bytes) -> Answer:
        return {"ok": 1 // header["n"]}

    async with pair(handler) as (client, _):
        with pytest.raises(RemoteFailure, match="ZeroDivisionError") as caught:
            await client.request({"t": "x", "n": 0})
        assert caught.value.code == "internal"
        assert (await client.request({"t": "x", "n": 1}))[0]["ok"] == 1
    assert isinstance(reported[0]["exception"], ZeroDivisionError)


async def test_one_way_messages_are_not_answered() -> None:
    got = asyncio.Event()

    def handler(channel: Channel, header: Header, payload: bytes) -> Answer:
        if header["t"] == "one-way":
            got.set()
        return {"t": "anything"}

    async with pair(handler) as (client, _):
        client.send({"t": "one-way"})
        await got.wait()
        assert (await client.request({"t": "x"}))[0]["r"] == 1


async def test_requests_that_wait_when_it_ends_fail() -> None:
    closed: list[Channel] = []
    started = asyncio.Event()

    async def never(channel: Channel, header: Header, payload: bytes) -> Answer:
        started.set()
        await asyncio.Event().wait()
        return None

    async with pair(never, closed) as (client, server):
        waiting = asyncio.ensure_future(client.request({"t": "x"}))
        await started.wait()
        (task,) = server._tasks
        server.abort()
        with pytest.raises(ChannelClosed):
            await waiting
        with pytest.raises(ChannelClosed):
            await client.request({"t": "x"})
        client.send({"t": "x"})  # dropped
        assert client.closed and client.buffered == 0
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()
    assert closed == [server]


async def test_a_request_that_is_given_up_leaves_nothing() -> None:
    release = asyncio.Event()

    async def later(channel: Channel, header: Header, payload: bytes) -> Answer:
        await release.wait()
        return None

    async with pair(later) as (client, _):
        waiting = asyncio.ensure_future(client.request({"t": "x"}))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert not client._pending
        release.set()
        await client.request({"t": "x"})


@pytest.mark.parametrize(
    "junk",
    [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\xff" * 64, b"\0\0\0\2\0\0\0\0[]"],
    ids=["http", "ones", "no object"],
)
async def test_broken_protocol_ends_the_connection_alone(junk: bytes) -> None:
    async with pair() as (client, server):
        assert client._transport is not None
        client._transport.write(junk)
        await server.wait_closed()
        assert server.closed


@pytest.mark.parametrize(
    "answer", [{"t": "reply", "r": []}, {"t": "error", "r": {}}, {"t": "reply"}, {"t": "reply", "r": 99}]
)
async def test_answers_to_nothing_are_ignored(answer: Header) -> None:
    async with pair(lambda *_: {"ok": True}) as (client, _):
        client.send(answer)
        assert (await client.request({"t": "x"}))[0]["ok"]


async def test_error_without_words() -> None:
    async with pair() as (client, _):
        waiting = asyncio.ensure_future(client.request({"t": "ask"}))
        await asyncio.sleep(0)
        client._receive({"t": "error", "r": 1}, b"")
        with pytest.raises(RemoteFailure) as caught:
            await waiting
        assert caught.value.code == "internal"


async def test_connect_in_a_directory_with_a_long_path(tmp_path: Path) -> None:
    folder = tmp_path / ("d" * 120) / ("e" * 120)
    folder.mkdir(parents=True)
    handle = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"/proc/self/fd/{handle}/s")
    listener.listen()
    os.close(handle)
    channel = await connect(str(folder), ignore)
    accepted, _ = listener.accept()
    accepted.sendall(encode({"t": "bye"}))
    accepted.close()
    await channel.wait_closed()
    listener.close()


async def test_connect_to_nobody(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await connect(str(tmp_path), ignore)
    with pytest.raises(FileNotFoundError):
        await connect(str(tmp_path / "none"), ignore)
