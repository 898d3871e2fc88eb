"""Who has functions run when they are due? A loop around `core/schedule.py`, which decides.

A run is a spawned input, made in the same transaction that says its due time is dealt with: of both or neither. From
there on it is like any other: its output is kept, it is retried, and its function's log has what it printed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Iterable, Sequence
from datetime import datetime

from modicum.server import due_times
from modicum.server.apps import Apps
from modicum.server.backlog import Backlog
from modicum.server.core.schedule import Agenda, Entry, Policy, Verdict, decide, is_late
from modicum.server.deliveries import Deliveries
from modicum.server.due_times import BadSchedule
from modicum.server.fleet import Fleet
from modicum.server.log_segments import Entry as LogEntry
from modicum.server.logs import Logs
from modicum.server.records import App, Function
from modicum.server.settings import Settings
from modicum.stores import calls as stored_calls
from modicum.stores import schedules as stored
from modicum.stores.calls import StoredCall
from modicum.stores.database import Database
from modicum.stores.schedules import StoredSchedule
from modicum.wire.channel import RemoteFailure
from modicum.wire.messages import NO_ARGUMENTS

log = logging.getLogger("modicum.schedules")

LOOK_EVERY_S = 5.0
"""How often at least the clock is looked at: nobody tells that it was set, or that the machine has slept."""

AGAIN_S = 1.0
"""After what failed, a disk say, it is tried again."""


class Schedules:
    """Runs functions by their schedules."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        deliveries: Deliveries,
        backlog: Backlog,
        fleet: Fleet,
        apps: Apps,
        logs: Logs,
    ) -> None:
        self._zone = settings.schedule_zone
        self._policy = Policy(settings.schedule_catch_up, settings.schedule_overlap == "allow")
        self._database = database
        self._deliveries = deliveries
        self._backlog = backlog
        self._fleet = fleet
        self._apps = apps
        self._logs = logs
        self._agenda = Agenda()
        self._changed = asyncio.Event()

    def restore(self, schedules: Iterable[StoredSchedule]) -> None:
        """Take up what the last server left: also what has become due since."""
        for each in schedules:
            if each.function in self._fleet.functions:
                try:
                    self._put(each)
                except BadSchedule as error:  # this machine may have lost a time zone: all others go on
                    log.error("schedule not kept", extra={"function": each.function, "why": str(error)})

    def replace(self, app: App, schedules: Sequence[StoredSchedule]) -> None:
        """The functions of an app have these schedules now."""
        for function in set(self._apps.functions_of(app)) - {each.function for each in schedules}:
            self._agenda.remove(function)
        self.add(schedules)

    def add(self, schedules: Iterable[StoredSchedule]) -> None:
        """New functions, or those that are there already, have these schedules now."""
        for each in schedules:
            self._put(each)
        self._changed.set()

    def _put(self, each: StoredSchedule) -> None:
        times = due_times.read(each.schedule, self._zone)
        self._agenda.put(Entry(each.function, times, each.since, each.marked, each.call, each.skipped), time.time())

    def of(self, functions: Iterable[str]) -> list[Entry]:
        """Return the schedules of those functions that have one, in their order."""
        return [self._agenda.entries[each] for each in functions if each in self._agenda.entries]

    async def run(self) -> None:
        """Have functions run when they are due, for ever. It begins when it is known what has ended meanwhile."""
        while True:
            due = self._agenda.due(time.time())
            try:
                await self._deal_with(due)
            except Exception:  # the store's, say; nothing is lost: what is not recorded stays due
                log.exception("schedules failed")
                for entry in due:
                    self._agenda.again(entry, time.time() + AGAIN_S)
            await self._wait()

    async def _wait(self) -> None:
        """Wait until something is due, or something is due at another time than it was."""
        due = self._agenda.next()
        patience_s = LOOK_EVERY_S if due is None else min(due - time.time(), LOOK_EVERY_S)
        self._changed.clear()
        if patience_s > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience_s):
                    await self._changed.wait()

    async def _deal_with(self, due: list[Entry]) -> None:
        there = [entry for entry in due if self._is_there(entry.function)]
        calls = [entry.call for entry in there if entry.call is not None]
        self._deliveries.store()  # what has ended and waits to be stored
        ended = set(await self._database.submit(stored_calls.ended_of(calls))) if calls else set()
        for entry in there:
            if entry.anew:
                await self._database.submit(stored.begin_anew(entry.function, entry.since))
                entry.anew = False
        now = time.time()
        verdicts = [decide(entry, now, entry.call not in {*ended, None}, self._policy) for entry in there]
        work = (self._perform(entry, now, verdict) for entry, verdict in zip(there, verdicts))
        for failure in filter(None, await asyncio.gather(*work, return_exceptions=True)):
            raise failure

    def _is_there(self, function: str) -> bool:
        known = self._fleet.functions.get(function)
        app = self._apps.by_id.get(known.app) if known is not None else None
        if app is None or app.stopping is not None:
            self._agenda.remove(function)
            return False
        return True

    async def _perform(self, entry: Entry, now: float, verdict: Verdict) -> None:
        if verdict is Verdict.WAITS:
            self._agenda.again(entry, now + LOOK_EVERY_S)
            return
        if verdict is Verdict.RUN:
            await self._run(entry, now)
        elif verdict is Verdict.SKIPPED:
            await self._pass_over(entry, now, f"its last run, {entry.call}, has not ended")
        else:
            await self._pass_over(entry, now, "no server ran")
        self._agenda.done(entry, now)

    async def _run(self, entry: Entry, now: float) -> None:
        call = new_call()
        marked = stored.mark(entry.function, entry.since, _due(entry), now, call)
        try:
            added = self._backlog.add(_stored_call(call, entry.function), [(0, NO_ARGUMENTS, None)], marked)
        except RemoteFailure as error:  # too many wait
            await self._pass_over(entry, now, error.message)
            return
        if is_late(entry, now):
            self._tell(entry, "while no server ran; it runs now")
        await added
        entry.call, entry.skipped = call, 0

    async def _pass_over(self, entry: Entry, now: float, why: str) -> None:
        """Do not run what is due. That is told once, however often it happens until the next run."""
        await self._database.submit(stored.mark(entry.function, entry.since, _due(entry), now, None))
        if not entry.skipped:
            self._tell(entry, f"and was not run: {why}")
        entry.skipped += 1

    def _tell(self, entry: Entry, what: str) -> None:
        """Tell the users of an app, in its log, what became of a due time."""
        function = self._fleet.functions.get(entry.function)
        if function is not None:
            due = datetime.fromtimestamp(_due(entry)).astimezone()
            line = f"modicum: {function.name} was due at {due:%Y-%m-%d %H:%M:%S %Z}, {what}\n".encode()
            self._logs.append(function.app, [LogEntry("stderr", "modicum", line)])

    async def run_now(self, function: Function) -> str:
        """Run a function that has a schedule, whether or not it is due; return the call."""
        call = new_call()
        noted = stored.note_run(function.id, call)
        await self._backlog.add(_stored_call(call, function.id), [(0, NO_ARGUMENTS, None)], noted)
        for entry in self.of([function.id]):
            entry.call, entry.skipped = call, 0
        return call


def new_call() -> str:
    """Return an id that no call has."""
    return f"fc-{os.urandom(11).hex()}"


def _stored_call(call: str, function: str) -> StoredCall:
    return StoredCall(call, function, None, None, time.time(), 1)


def _due(entry: Entry) -> float:
    assert entry.due is not None, "it is only asked of what is due"
    return entry.due
