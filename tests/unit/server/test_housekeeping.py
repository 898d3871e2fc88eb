"""Does the server go on keeping house after what went wrong once?"""

from __future__ import annotations

import asyncio

import pytest

from modicum.server import main
from modicum.server.main import Server
from modicum.server.parts import Parts


async def test_a_chore_that_fails_keeps_no_other_from_its_turn(
    assembled: tuple[Server, Parts, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, parts, _ = assembled
    written, turns = asyncio.Event(), 0

    async def full(parts: Parts) -> None:
        nonlocal turns
        turns += 1
        raise OSError("the disk is full")

    async def write() -> None:
        if turns > 1:
            written.set()

    monkeypatch.setattr(main, "HOUSEKEEPING_EVERY_S", 0)
    monkeypatch.setattr(server, "_sweep_values", full)
    monkeypatch.setattr(server, "_sweep_logs", full)
    monkeypatch.setattr(parts.history, "write", write)
    house = asyncio.create_task(server._keep_house(parts))
    await written.wait()
    house.cancel()
