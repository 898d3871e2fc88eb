"""Sockets say who speaks on them, wherever the home lies."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

import pytest

from modicum.server.links import Links
from modicum.wire.channel import Answer, Channel, connect
from modicum.wire.frames import Header


def tell(channel: Channel, header: Header, payload: bytes) -> Answer:
    return {"principal": channel.principal, "name": channel.name}


def ignore(channel: Channel, header: Header, payload: bytes) -> Answer:
    return None


def links_in(home: Path, closed: asyncio.Queue[Channel]) -> Links:
    home.mkdir(parents=True, exist_ok=True)
    (home / "links").mkdir(mode=0o711, exist_ok=True)
    return Links(home, tell, closed.put_nowait)


async def test_what_stands_in_a_sockets_place(tmp_path: Path) -> None:
    links = links_in(tmp_path, asyncio.Queue())
    (tmp_path / "sock" / "s").mkdir(parents=True)
    with pytest.raises(OSError, match="no socket can be made there: Is a directory") as caught:
        await links.listen_user()
    assert caught.value.filename == str(tmp_path / "sock" / "s")


async def test_a_socket_says_who_speaks_however_long_its_path(tmp_path: Path) -> None:
    home = tmp_path / ("h" * 100) / ("i" * 100)
    closed: asyncio.Queue[Channel] = asyncio.Queue()
    links = links_in(home, closed)
    listeners = [
        await links.listen_user(),
        await links.listen_node(os.getuid()),
        await links.listen_container("ta-1", os.getuid()),
    ]
    for folder, principal, name in (
        ("sock", "user", "user"),
        ("links/node", "node", "node"),
        ("links/ta-1", "container", "ta-1"),
    ):
        channel = await connect(str(home / folder), ignore)
        header, _ = await channel.request({"t": "who", "principal": "user", "name": "somebody else"})
        assert (header["principal"], header["name"]) == (principal, name)
        channel.close()
        await channel.wait_closed()
        ended = await closed.get()
        assert (ended.principal, ended.name, ended.closed) == (principal, name, True)
        assert stat.S_IMODE((home / folder / "s").stat().st_mode) == 0o600
        assert stat.S_IMODE((home / folder).stat().st_mode) == 0o700
    assert links.containers() == ["ta-1"]
    links.remove("ta-1")
    links.remove("ta-1")
    assert links.containers() == []
    for listener in listeners:
        listener.close()


async def test_a_server_takes_over_the_socket_of_a_dead_one(tmp_path: Path) -> None:
    closed: asyncio.Queue[Channel] = asyncio.Queue()
    links = links_in(tmp_path, closed)
    first = await links.listen_user()
    second = await links.listen_user()
    first.close()
    channel = await connect(str(tmp_path / "sock"), ignore)
    assert (await channel.request({"t": "who"}))[0]["name"] == "user"
    channel.close()
    await channel.wait_closed()
    second.close()
