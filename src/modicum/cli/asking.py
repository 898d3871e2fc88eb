"""How commands ask the local server."""

from __future__ import annotations

import socket
from typing import Any

from modicum import _server
from modicum.exception import ConnectionError


def ask(header: dict[str, Any]) -> dict[str, Any]:
    """Ask the server, started if none runs. Raises what it answers with, or `ConnectionError`."""
    return _ask(_server.connect(), header)


def ask_if_running(header: dict[str, Any]) -> dict[str, Any] | None:
    """Ask the server if one runs; return None otherwise: what does not run has nothing to tell."""
    link = _server.running()
    return None if link is None else _ask(link, header)


def _ask(link: socket.socket, header: dict[str, Any]) -> dict[str, Any]:
    with link:
        try:
            return _server.ask(link, header)
        except OSError as error:
            raise ConnectionError(f"the server ended the connection: {error}; ask again") from None
