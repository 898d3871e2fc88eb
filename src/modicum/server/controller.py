"""How decisions are performed: a loop around the core and one table, action → performer. Decides nothing itself.

The fourth of the five rooms of `f.remote(x)`: `api/calls.py` brings an event, `core/state.py` answers with actions, and
here an input is sent to a container, or a node is asked to start one. From here the input goes to `agent/loop.py`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from modicum.server import records
from modicum.server.core import actions as act
from modicum.server.core import events as ev
from modicum.server.core.state import State
from modicum.server.deliveries import Deliveries
from modicum.server.fleet import Fleet
from modicum.wire.frames import batches
from modicum.wire.messages import INTERNAL, TERMINATED, TIMEOUT

log = logging.getLogger("modicum.controller")

_STATUS = {
    act.Failure.TIMEOUT: TIMEOUT,
    act.Failure.CRASHED: INTERNAL,
    act.Failure.OOM: INTERNAL,
    act.Failure.START_FAILED: INTERNAL,
    act.Failure.CANCELLED: TERMINATED,
    act.Failure.IMPOSSIBLE: INTERNAL,
}


class Controller:
    """Feeds the core with events, one at a time, and performs what it answers."""

    def __init__(self, state: State, fleet: Fleet, deliveries: Deliveries) -> None:
        self.state = state
        self._fleet = fleet
        self._deliveries = deliveries
        self._events: deque[ev.Event] = deque()
        self._handling = False
        self._timer: asyncio.TimerHandle | None = None
        self._armed_for = 0.0
        self.on_load: Callable[[str, int], None] = lambda function, count: None
        self._performers: dict[type, Callable[[Any], None]] = {
            act.StartContainer: self._start_container,
            act.DrainContainer: lambda a: fleet.drain(a.container, a.reason),
            act.StopContainer: lambda a: fleet.stop(a.container, a.reason),
            act.KillContainer: lambda a: fleet.kill(a.container, a.reason),
            act.Send: self._send,
            act.TakeBack: lambda a: fleet.tell(a.container, {"t": "take_back", "count": a.count}),
            act.CancelInputs: lambda a: fleet.tell(a.container, {"t": "cancel", "keys": list(a.keys)}),
            act.Accept: lambda a: deliveries.accept(a.keys),
            act.RetryInputs: lambda a: deliveries.retry(a.entries),
            act.LoadInputs: lambda a: self.on_load(a.function, a.count),
            act.FailInputs: self._fail,
        }
        fleet.on_event = self.handle

    def handle(self, event: ev.Event) -> None:
        """Give the core an event and perform its actions. Events that performing causes come after it."""
        self._events.append(event)
        if self._handling:
            return
        self._handling = True
        try:
            while self._events:
                for action in self._decide(self._events.popleft()):
                    self._perform(action)
        finally:
            self._handling = False
        self._arm()

    def _decide(self, event: ev.Event) -> list[act.Action]:
        try:
            return self.state.handle(event, time.monotonic())
        except Exception:  # a fault of ours; other functions' work must go on
            log.exception("the core failed", extra={"event": repr(event)[:500]})
            return []

    def _perform(self, action: act.Action) -> None:
        try:
            self._performers[type(action)](action)
        except Exception:
            log.exception("action failed", extra={"action": repr(action)[:500]})

    def _arm(self) -> None:
        deadline = self.state.next_deadline()
        if self._timer is not None:
            if deadline is not None and self._armed_for <= deadline:
                return  # it will tick early, see that there is nothing to do and be armed anew
            self._timer.cancel()
            self._timer = None
        if deadline is not None:
            self._armed_for = deadline
            self._timer = asyncio.get_running_loop().call_at(deadline, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.handle(ev.Tick())

    # -- performers ----------------------------------------------------------------------------------------

    def _start_container(self, action: act.StartContainer) -> None:
        log.info("start", extra={"container": action.container, "function": action.function, "why": action.reason})
        self._fleet.start(action.container, action.function, action.node, action.devices)

    def _send(self, action: act.Send) -> None:
        for entries, payload in batches(self._entries(action)):
            self._fleet.tell(action.container, {"t": "run", "inputs": entries}, payload)

    def _entries(self, action: act.Send) -> Iterator[tuple[list[Any], bytes]]:
        inputs = self._deliveries.inputs
        for dispatch in action.inputs:
            waiting = inputs.get(dispatch.key)
            if waiting is None:
                continue  # nobody wants it any longer; the core hears of that by an event of its own
            if waiting.call.begun:
                self._refuse_second_run(action.container, dispatch.key, waiting)
                continue
            waiting.call.container = waiting.container = action.container
            entry = [dispatch.key, dispatch.attempt, len(waiting.payload), waiting.blob]
            if waiting.call.method is not None:
                entry.append(waiting.call.method)
            yield entry, waiting.payload

    def _refuse_second_run(self, container: str, key: str, waiting: records.Input) -> None:
        """A generator of which its caller has items is never run again in silence."""
        self._events.append(ev.InputsCancelled(waiting.call.function, (key,)))
        self._events.append(ev.InputsTakenBack(container, (key,)))
        message = "the generator's container was lost after it had given items; it is not begun again by itself"
        self._deliveries.finish(key, records.Output(INTERNAL, message.encode(), None))

    def _fail(self, action: act.FailInputs) -> None:
        error = self._fleet.start_errors.get(action.message)
        for key in action.keys:
            waiting = self._deliveries.inputs.get(key)
            if waiting is None:
                continue
            if error is not None:
                self._deliveries.finish(key, replace(error))
            else:
                message = f"{self._fleet.name_of(waiting.call.function)}: {action.message}"
                self._deliveries.finish(key, records.Output(_STATUS[action.failure], message.encode(), None))
