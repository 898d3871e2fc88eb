"""An agent and the other end of its socket."""

from __future__ import annotations

import socket
import threading
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
    end(made)


@pytest.fixture
def agent(server: Server) -> Iterator[Agent]:
    made = Agent(str(server.folder))
    assert server.accept()["holding"] == []
    yield made
    end(made.link)


def end(link: Link) -> None:
    """Close a link. A thread that reads from it is left waiting for ever: it must not read from another's socket."""
    link._connect = lambda: threading.Event().wait()  # type: ignore[method-assign,assignment,return-value]
    link._socket.shutdown(socket.SHUT_RDWR)
    link._socket.close()
