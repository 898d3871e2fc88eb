"""A server's parts for every test of this folder that wants them."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from modicum.server.api.router import Router
from modicum.server.main import Server
from modicum.server.parts import Parts
from modicum.stores.database import Database
from tests.unit.server.parts import assemble


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database; copying it is faster than making another."""
    path = tmp_path_factory.mktemp("store") / "store.db"
    Database(f"sqlite:///{path}").close()
    return path


@pytest.fixture
async def assembled(tmp_path: Path, empty_store: Path) -> AsyncIterator[tuple[Server, Parts, Router]]:
    shutil.copy(empty_store, tmp_path / "store.db")
    server, parts, router = assemble(tmp_path)
    yield server, parts, router
    for container in list(parts.fleet.containers.values()):
        parts.fleet._remove(container)
    parts.database.close()
    parts.logs.close()


@pytest.fixture
def parts(assembled: tuple[Server, Parts, Router]) -> Parts:
    return assembled[1]


@pytest.fixture
def router(assembled: tuple[Server, Parts, Router]) -> Router:
    return assembled[2]
