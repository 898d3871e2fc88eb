"""How a server comes to be: the only file that knows all the parts.

One server per home; a lock says so.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import fcntl
import functools
import json
import logging
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any, NoReturn

import uvloop
from sqlalchemy.exc import OperationalError

from modicum.blobs.contents import LocalContents
from modicum.blobs.local import LocalBlobs
from modicum.engines.base import Engine, EngineFailure
from modicum.engines.local import LocalEngine
from modicum.runtimes.cores import core_bytes
from modicum.server import settings as settings_
from modicum.server.agent_code import install_agent, remove_other_agents
from modicum.server.api import calls
from modicum.server.api.apps import check_definition
from modicum.server.api.router import Router
from modicum.server.apps import Apps
from modicum.server.backlog import Backlog
from modicum.server.builds import Builds
from modicum.server.cgroup import leave_clients_cgroups
from modicum.server.controller import Controller
from modicum.server.core import events as ev
from modicum.server.core.state import State
from modicum.server.deliveries import Deliveries
from modicum.server.dicts import Dicts
from modicum.server.ends import Ends
from modicum.server.execs import Execs
from modicum.server.filesets import FileSets
from modicum.server.fleet import Fleet
from modicum.server.history import History
from modicum.server.links import Links
from modicum.server.logging import configure
from modicum.server.logs import Logs
from modicum.server.objects import Objects
from modicum.server.parts import Parts
from modicum.server.publishing import Publishing
from modicum.server.queues import Queues
from modicum.server.records import App, Call
from modicum.server.requests import Requests
from modicum.server.schedules import Schedules
from modicum.server.secrets import Secrets, named_by
from modicum.server.settings import Settings
from modicum.server.usage import Usage
from modicum.server.variants import Variants
from modicum.stores import calls as stored_calls
from modicum.stores import ends as stored_ends
from modicum.stores import objects as stored_objects
from modicum.stores import queries, versions
from modicum.stores import schedules as stored_schedules
from modicum.stores import secrets as stored_secrets
from modicum.stores.database import Database
from modicum.stores.queries import StoredApp
from modicum.wire.channel import Channel
from modicum.wire.messages import CANNOT_START, NODE
from modicum.wire.version import build_id

log = logging.getLogger("modicum.server")

STOPPED = "stopped"
"""A file whose time tells running clients that the server was stopped on purpose: they do not start it again."""

HOUSEKEEPING_EVERY_S = 30.0
CALLS_KNOWN_S = 30 * 24 * 3600.0
"""For so much longer than outputs are kept, it is known that there was a call."""

FORGET_CALLS_EVERY_S = 3600.0

LOGS_SWEPT_EACH = 10
"""At every so many housekeepings: all logs are looked at."""

BLOB_ORPHANED_S = 3600.0
"""A value that nothing names is deleted when it is so old: long after its call could still have come back for it."""


def main(engine: Callable[[Path, str], Engine] = LocalEngine) -> None:
    """Run a server until it is told to stop. Exits with 0 if one runs already."""
    parser = argparse.ArgumentParser(prog="modicum-server", description=__doc__)
    parser.add_argument("--home", help="the server's directory (default: MODICUM_HOME, else ~/.modicum)")
    parser.add_argument("--detached", action="store_true", help="leave the cgroups of whoever starts it")
    arguments = parser.parse_args()
    try:
        settings = settings_.read(os.environ, arguments.home)
        _claim(settings.home)
        lock = open(settings.home / "server.lock", "w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit(0)
        if arguments.detached:
            leave_clients_cgroups()
        configure()
        _leave_no_core()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(Server(settings, engine(settings.home, settings.runtime)).run())
    except (OSError, ValueError, EngineFailure, OperationalError) as error:
        _end_with_reason(error)


def _leave_no_core() -> None:
    """What a crash leaves of our memory, or of the node's, may hold secrets."""
    resource.setrlimit(resource.RLIMIT_CORE, (core_bytes(), core_bytes()))


def _end_with_reason(error: Exception) -> NoReturn:
    """End because of a disk, a file or a setting, with a last line that whoever started us can show."""
    traceback.print_exc()
    told = str(error)
    if isinstance(error, OperationalError):
        told = f"the database: {error.orig}"
    elif isinstance(error, OSError) and error.filename is not None:
        told = f"{error.filename}: {error.strerror}"
    sys.exit(f"{CANNOT_START}{told}{_advice(error)}")


def _advice(error: Exception) -> str:
    """Return what to do about a home that cannot be used."""
    cause = error.orig if isinstance(error, OperationalError) else error
    number = getattr(cause, "errno", None)
    if number == errno.ENOSPC or "disk is full" in str(cause):
        return "; make room, or set MODICUM_HOME to a directory on another disk"
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "; set MODICUM_HOME to a directory of your own"
    return ""


def _claim(home: Path) -> None:
    """Make the home, for its owner's eyes only whatever it was before: what containers leave in it may be set-uid."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    if home.stat().st_uid != os.geteuid():
        sys.exit(f"{CANNOT_START}{home} belongs to somebody else; set MODICUM_HOME to a directory of your own")
    home.chmod(0o700)


class Server:
    """The parts, from start to stop. `engine` supplies its nodes."""

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self._settings = settings
        self._engine = engine
        self._router = Router()
        self._tasks: list[asyncio.Task[None]] = []
        self._forget_calls_at = 0.0

    async def run(self) -> None:
        """Serve until a signal or a request says stop."""
        parts = self._assemble()
        await self._restore(parts)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, _resolve, parts.stop)
        node_listener, user_listener = await self._begin(parts)
        work = (self._recover(parts), self._keep_house(parts), parts.usage.run())
        self._tasks = [asyncio.create_task(each) for each in work]
        log.info("server ready", extra={"pid": os.getpid(), "build": build_id()})
        try:
            everything = await parts.stop
        finally:
            for task in self._tasks:
                task.cancel()
        if everything:
            with contextlib.suppress(OSError):  # without it clients start another; a home may also have been deleted
                (self._settings.home / STOPPED).touch()
        user_listener.close()
        if everything:
            await self._end_everything(parts)
        node_listener.close()
        self._links.remove_sockets()
        await asyncio.sleep(0)  # lets the answer to the stop request leave
        parts.deliveries.store()
        with contextlib.suppress(OperationalError):  # a full disk: what was used of late goes uncounted
            await parts.usage.write()
        parts.database.close()
        (self._settings.home / "server.json").unlink(missing_ok=True)
        log.info("server stopped")

    async def _begin(self, parts: Parts) -> tuple[asyncio.Server, asyncio.Server]:
        """Have a keeper, and listen for the node and for users. If it fails it leaves no keeper of its own."""
        try:
            await parts.engine.start()
            parts.fleet.owner = install_agent(self._settings.home, parts.engine.directory)
            node_listener = await self._links.listen_node(parts.fleet.owner)
            user_listener = await self._links.listen_user()
            self._write_facts()
        except BaseException:
            await parts.engine.undo_start()
            raise
        return node_listener, user_listener

    def _assemble(self) -> Parts:
        settings, home = self._settings, self._settings.home
        database = Database(settings.database_url)
        blobs = LocalBlobs(home / "blobs")
        files = FileSets(home / "filesets", LocalContents(home / "contents"), _boot())
        logs = Logs(home / "logs", settings.log_bytes_max, settings.logs_bytes_max, settings.logs_kept_s)
        self._links = Links(home, self._router, self._closed)
        deliveries = Deliveries(blobs, database)
        deliveries.log_end = logs.end
        fleet = Fleet(settings, self._links, deliveries)
        state = State(os.urandom(4).hex())
        fleet.why_no_node = self._engine.failure
        controller = Controller(state, fleet, deliveries)
        backlog = Backlog(database, deliveries, controller, fleet.app_of, fleet.name_of)
        apps = Apps(settings, database, fleet, deliveries, logs, backlog)
        variants = Variants(database, fleet, apps)
        apps.redefined = variants.redefined
        publishing = Publishing(apps, database, settings.versions_kept)
        schedules = Schedules(settings, database, deliveries, backlog, fleet, apps, logs)
        apps.scheduled, publishing.scheduled = schedules.add, schedules.replace
        history = History(database)
        deliveries.on_finish = history.input_ended
        ends = Ends(database, logs, apps.by_id, fleet.functions)
        ends.pauses_s = state.pauses_s
        execs = Execs()
        execs.on_interaction = lambda container, on: controller.handle(ev.InteractionChanged(container, on))
        fleet.on_end = ends.ended
        fleet.on_gone = execs.container_ended
        secrets = Secrets(home, database)
        fleet.variables_of = lambda function: secrets.variables(named_by({"options": function.options}))
        builds = Builds(database, fleet, logs)
        builds.claim = apps.claim
        builds.variables_of = secrets.variables
        objects = Objects(database, blobs, settings.client_grace_s, settings.reattach_grace_s)
        requests = Requests(database)
        stop = asyncio.get_running_loop().create_future()
        parts = Parts(
            settings=settings,
            database=database,
            blobs=blobs,
            files=files,
            logs=logs,
            deliveries=deliveries,
            fleet=fleet,
            controller=controller,
            backlog=backlog,
            apps=apps,
            publishing=publishing,
            schedules=schedules,
            variants=variants,
            history=history,
            secrets=secrets,
            usage=Usage(database, apps.by_id, fleet.functions),
            builds=builds,
            execs=execs,
            objects=objects,
            dicts=Dicts(database, objects, blobs),
            queues=Queues(database, objects, requests, settings.client_grace_s),
            requests=requests,
            engine=self._engine,
            stop=stop,
        )
        publishing.check = functools.partial(check_definition, parts)
        self._router.parts = parts
        return parts

    async def _restore(self, parts: Parts) -> None:
        """Take up what the last server left: apps, functions, images, and how many spawned inputs have no output.

        Raises `EngineFailure` if it promised them more than this one keeps.
        """
        stored = await parts.database.submit(queries.everything)
        if not parts.settings.isolated:
            _refuse_isolated(stored.apps)
        parts.secrets.restore(await parts.database.submit(stored_secrets.everything))
        images = await parts.database.submit(versions.images_kept)
        for app in stored.apps:
            kept = images.get(app.id, set())
            facts: dict[str, Any] = {"deployed": app.deployed, "version": app.version, "images": kept}
            parts.apps.take_in(App(app.id, app.name, app.key, app.detached, app.tags, **facts))
        for function in sorted(stored.functions, key=lambda each: each.parent is not None):
            parts.variants.restore(function)
        parts.schedules.restore(await parts.database.submit(stored_schedules.everything))
        for image in stored.images:
            parts.builds.restore(*image)
        parts.builds.restore_forced(stored.forced)
        await parts.usage.restore()
        waiting = await parts.database.submit(stored_calls.waiting)
        await parts.objects.restore()
        await parts.queues.restore()
        parts.backlog.restore(await parts.database.submit(stored_calls.last_number), waiting)

    async def _recover(self, parts: Parts) -> None:
        """Give nodes and their agents a moment to report what runs before anything is decided."""
        if parts.apps.by_id:
            try:
                async with asyncio.timeout(parts.settings.recovery_s):
                    await parts.fleet.node_joined.wait()
                    while any(c.channel is None or c.ready is not None for c in parts.fleet.containers.values()):
                        await parts.fleet.wait_change()
            except TimeoutError:
                pass
        parts.fleet.sweep_links()
        parts.controller.handle(ev.Recovered())
        self._tasks.append(asyncio.create_task(parts.schedules.run()))
        await parts.fleet.node_joined.wait()  # before, nobody knows what uses another build's code
        if not parts.fleet.is_working:
            remove_other_agents(parts.engine.directory)

    async def _keep_house(self, parts: Parts) -> None:
        for sweeps in count():
            chores = [self._expire, self._expire_shared, self._sweep_values, self._write_history]
            for chore in [self._sweep_logs, self._sweep_secrets, *chores] if sweeps % LOGS_SWEPT_EACH == 0 else chores:
                try:
                    await chore(parts)
                except Exception:  # a full disk, say: the next one may make room, and this one works another time
                    log.exception("housekeeping failed", extra={"what": chore.__name__})
            await asyncio.sleep(HOUSEKEEPING_EVERY_S)

    async def _sweep_logs(self, parts: Parts) -> None:
        await parts.logs.sweep()
        await parts.database.submit(stored_ends.forget(time.time() - parts.settings.logs_kept_s))

    async def _sweep_secrets(self, parts: Parts) -> None:
        drafted = [each for app in parts.apps.by_id.values() for each in app.drafted.values()]
        await parts.secrets.sweep([*parts.fleet.functions.values(), *drafted])

    async def _sweep_values(self, parts: Parts) -> None:
        stored = await parts.database.submit(stored_calls.blobs) | await parts.database.submit(stored_objects.blobs)
        parts.blobs.sweep(stored | parts.deliveries.blobs_in_use(), "bl-", time.time() - BLOB_ORPHANED_S)
        await asyncio.to_thread(parts.files.contents.sweep, time.time() - BLOB_ORPHANED_S)

    async def _write_history(self, parts: Parts) -> None:
        await parts.history.write()
        await parts.history.forget()
        await parts.usage.forget(parts.settings.usage_kept_s)

    async def _expire(self, parts: Parts) -> None:
        """Forget outputs after their time, and much later that there were any."""
        parts.deliveries.expire_unclaimed(parts.settings.unclaimed_s)
        kept_s = parts.settings.outputs_kept_s
        while await parts.database.submit(stored_calls.expire(time.time() - kept_s)):
            pass
        if time.monotonic() >= self._forget_calls_at:
            self._forget_calls_at = time.monotonic() + FORGET_CALLS_EVERY_S
            await parts.database.submit(stored_calls.forget_calls(time.time() - kept_s - CALLS_KNOWN_S))
        await parts.database.submit(queries.forget_ended(time.time() - kept_s - CALLS_KNOWN_S))

    async def _expire_shared(self, parts: Parts) -> None:
        """Forget what dicts, queues and requests were to keep for their time."""
        await parts.dicts.expire()
        await parts.queues.expire()
        await parts.requests.expire(parts.blobs)

    async def _end_everything(self, parts: Parts) -> None:
        """End all apps but deployed ones, and the engine, which ends whatever containers there are still."""
        try:
            for app in [each.id for each in parts.apps.by_id.values() if not each.deployed]:
                try:
                    async with asyncio.timeout(5):
                        await parts.apps.stop(app)
                except TimeoutError:
                    log.warning("app did not end", extra={"app": app})
        finally:
            await parts.engine.stop()

    def _closed(self, channel: Channel) -> None:
        """A connection has ended: what hung on it gets its grace."""
        parts = self._router.parts
        assert parts is not None
        parts.execs.closed(channel)
        if channel.principal == NODE:
            parts.fleet.node_leaves(channel)
            self._engine.check()
            return
        container = parts.fleet.containers.get(channel.name)
        if container is not None and container.channel is channel:
            container.channel = None
        parts.apps.detach(channel)
        parts.queues.left(channel)
        orphans = [call for call in parts.deliveries.calls.values() if call.channel is channel]
        for call in orphans:
            call.channel = None
        if orphans:
            grace_s = parts.settings.client_grace_s
            asyncio.get_running_loop().call_later(grace_s, _abandon, parts, orphans)

    def _write_facts(self) -> None:
        facts = {"pid": os.getpid(), "build": build_id(), "socket": str(self._settings.home / "sock" / "s")}
        (self._settings.home / "server.json").write_text(json.dumps(facts))


def _refuse_isolated(apps: Sequence[StoredApp]) -> None:
    """Nobody's code loses its isolation because another starts the next server without one."""
    theirs = ", ".join(f"{app.name} ({app.id})" for app in apps if app.isolated)
    if theirs:
        deployed = ", ".join(f"`modicum app stop {app.name}`" for app in apps if app.isolated and app.deployed)
        raise EngineFailure(
            f"apps here run with isolation, and MODICUM_RUNTIME=process has none: {theirs}; end them by "
            f"`modicum server start`{f', {deployed}' if deployed else ''} and `modicum server stop` without "
            "MODICUM_RUNTIME=process in the environment, or use another MODICUM_HOME"
        )


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _resolve(stop: asyncio.Future[bool]) -> None:
    if not stop.done():
        stop.set_result(True)


def _abandon(parts: Parts, orphans: list[Call]) -> None:
    """Give up calls whose callers did not come back; spawned ones need nobody, and those of detached apps go on."""
    for call in orphans:
        app = parts.apps.by_id.get(call.app)
        if app is not None and app.detached and app.stopping is None:
            continue
        if call.channel is None and not call.durable and parts.deliveries.calls.get(call.id) is call:
            calls.abandon(parts, call)


if __name__ == "__main__":
    main()
