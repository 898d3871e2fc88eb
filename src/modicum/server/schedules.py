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
        self, settings: Settings, database: Database, backlog: Backlog, fleet: Fleet, apps: Apps, logs: Logs
    ) -> None:
        self._zone = settings.schedule_zone
        self._policy = Policy(settings.schedule_catch_up, settings.schedule_overlap == "allow")
        self._database = database
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
                self._put(each)

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
        """Have functions run when they are due, for ever."""
        while True:
            due = self._agenda.due(time.time())
            try:
                await self._deal_with(due)
            except Exception:  # the store's, say; nothing is lost: what is not recorded stays due
                log.exception("schedules failed")
                await asyncio.sleep(AGAIN_S)
            finally:
                for entry in due:
                    self._agenda.again(entry)  # nothing is done to what has been dealt with
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
        ended = set(await self._database.submit(stored_calls.ended_of(calls))) if calls else set()
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
        assert entry.due is not None
        if verdict is Verdict.RUN:
            if is_late(entry, now):
                self._tell(entry, f"was due {_at(entry.due)}, while no server ran; it runs now")
            call = new_call()
            marked = stored.mark(entry.function, entry.since, entry.due, now, call)
            try:
                await self._backlog.add(_stored_call(call, entry.function), [(0, NO_ARGUMENTS, None)], marked)
            except RemoteFailure as error:
                self._tell(entry, f"was due {_at(entry.due)}, and was not run: {error.message}")
                await self._pass_over(entry, now)
            else:
                entry.call, entry.skipped = call, 0
        else:
            await self._pass_over(entry, now)
            if entry.skipped == 1:  # once, however often it is due until its last run has ended
                why = "no server ran" if verdict is Verdict.MISSED else f"its last run, {entry.call}, has not ended"
                self._tell(entry, f"was due {_at(entry.due)}, and was not run: {why}")
        self._agenda.done(entry, now)

    async def _pass_over(self, entry: Entry, now: float) -> None:
        assert entry.due is not None
        await self._database.submit(stored.mark(entry.function, entry.since, entry.due, now, None))
        entry.skipped += 1

    def _tell(self, entry: Entry, what: str) -> None:
        """Tell the users of an app, in its log."""
        function = self._fleet.functions.get(entry.function)
        if function is not None:
            log.info("schedule", extra={"function": entry.function, "why": what})
            self._logs.append(
                function.app, [LogEntry("stderr", "modicum", f"modicum: {function.name} {what}\n".encode())]
            )

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


def _at(moment: float) -> str:
    return f"at {datetime.fromtimestamp(moment).astimezone():%Y-%m-%d %H:%M:%S %Z}"
