"""Why did containers end, and who is told? The store keeps it for days; the app's log, what nobody expected."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import NamedTuple

from modicum.server.core.events import ExitReason
from modicum.server.log_segments import Entry
from modicum.server.logs import Logs
from modicum.server.records import App, Container, Function
from modicum.stores import ends
from modicum.stores.database import Database

log = logging.getLogger("modicum.ends")

TOLD_PAUSE_S = 1.0
"""A shorter pause before the next start is nobody's concern."""

_SENTENCES = {
    ExitReason.KILLED: "was ended",
    ExitReason.CRASHED: "crashed",
    ExitReason.OOM: "was killed by the kernel",
    ExitReason.NODE_LOST: "was lost",
    ExitReason.START_FAILED: "did not start",
}
"""Ends that nobody expected; one that was asked to exit and did has no sentence."""


class Exit(NamedTuple):
    """How a container's process ended."""

    code: int
    signal: int | None


class Ends:
    """Hears of each container's end. `pauses_s` tells how long its function now waits with the next start."""

    def __init__(self, database: Database, logs: Logs, apps: dict[str, App], functions: dict[str, Function]) -> None:
        self._database = database
        self._logs = logs
        self._apps = apps
        self._functions = functions
        self.pauses_s: Callable[[str], float] = lambda function: 0.0

    def ended(self, container: Container, reason: ExitReason, detail: str, left: Exit | None) -> None:
        """A container has gone."""
        app, function = self._apps.get(container.app), self._functions.get(container.function) or container.made_of
        name = function.name if function is not None else ""
        ended = ends.Ended(
            id=container.id,
            app=container.app,
            app_name=app.name if app is not None else "",
            function=container.function,
            function_name=name,
            node=container.node,
            started_at=container.started_at,
            ended_at=time.time(),
            reason=reason.value,
            detail=detail,
            exit_code=left.code if left is not None and left.signal is None else None,
            signal=left.signal if left is not None else None,
        )
        self._database.submit(ends.add(ended)).add_done_callback(_check)
        if app is not None and app.stopping is None and reason in _SENTENCES:
            self._tell(container, name, f"{_SENTENCES[reason]}: {detail}")

    def _tell(self, container: Container, name: str, what: str) -> None:
        pause_s = self.pauses_s(container.function)
        then = f"; the next start waits for {pause_s:.0f} s" if pause_s >= TOLD_PAUSE_S else ""
        line = f"container {container.id} of {name or 'a function'} {what}{then}\n".encode()
        self._logs.name(container.app, container.function, name)
        self._logs.append(container.app, [Entry("system", container.id, line, container.function)])


def _check(stored: asyncio.Future[None]) -> None:
    if not stored.cancelled() and (error := stored.exception()) is not None:
        log.error("a container's end was not stored", exc_info=error)
