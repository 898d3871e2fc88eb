"""A server's parts for every test of this folder that wants them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from modicum.server.api.router import Router
from modicum.server.main import Server
from modicum.server.parts import Parts
from tests.unit.server.parts import assemble


@pytest.fixture
async def assembled(tmp_path: Path) -> AsyncIterator[tuple[Server, Parts, Router]]:
    server, parts, router = assemble(tmp_path)
    yield server, parts, router
    for container in list(parts.fleet.containers.values()):
        parts.fleet._remove(container)
    parts.database.close()
    for log in list(parts.logs._logs):
        parts.logs.remove(log)


@pytest.fixture
def parts(assembled: tuple[Server, Parts, Router]) -> Parts:
    return assembled[1]


@pytest.fixture
def router(assembled: tuple[Server, Parts, Router]) -> Router:
    return assembled[2]
