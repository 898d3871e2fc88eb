"""What the server of these tests says of itself, and waiting until something is so."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from modicum import _server


def status() -> dict[str, Any]:
    link = _server.running()
    assert link is not None
    with link:
        return _server.ask(link, {"t": "server.status"})


def eventually(condition: Callable[[], object], within_s: float = 10.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
