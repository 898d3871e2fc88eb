"""An agent and the other end of its socket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from modicum.agent.link import Link
from modicum.agent.loop import Agent
from tests.unit.agent.peer import Server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    folder = tmp_path / ("x" * 150)
    folder.mkdir()
    made = Server(folder)
    yield made
    made.listener.close()
    if made.connection is not None:
        made.connection.close()


@pytest.fixture
def link(server: Server) -> Iterator[Link]:
    made = Link(str(server.folder), lambda: {"t": "hello"}, lambda: None)
    assert server.accept() == {"t": "hello"}
    yield made
    made._socket.close()


@pytest.fixture
def agent(server: Server) -> Iterator[Agent]:
    made = Agent(str(server.folder))
    assert server.accept()["holding"] == []
    yield made
    made.link._socket.close()
