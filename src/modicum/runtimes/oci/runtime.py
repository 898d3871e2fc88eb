"""How crun or runc makes a container process.

The runtime's command is run by the shell parked in a slot, in the foreground: so the parked process' exit status is the
container's, and its end is the container's end. The runtime's own cgroup code is off, since the keeper has already put
the process where it belongs.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import resource
import shlex
from pathlib import Path

from modicum.runtimes.base import Capabilities, Command, ContainerSpec, Executed, Exit, RuntimeFailure, Usage

from .binary import Binary, close_door, complaint, exit_of
from .config import INIT, build_config, open_files_for
from .executor import Executor
from .slot import Slot, SlotSource

_STARTED_POLL_S = 0.004
"""How often we look whether the runtime has written the container's pid; nobody waits for it but the start's answer."""


class OciRuntime:
    """Starts containers with one binary. `directory` is a private one, on a tmpfs that dies with the node."""

    capabilities = Capabilities(isolation=True)

    def __init__(self, binary: Binary, init: str, directory: Path, slots: SlotSource, process_id: int) -> None:
        self.name = binary.name
        self._binary = binary
        self._init = init
        self._directory = directory
        self._slots = slots
        self._process_id = process_id
        self._open_files = open_files_for(resource.getrlimit(resource.RLIMIT_NOFILE)[1])
        for name in ("state", "execs"):
            (directory / name).mkdir(exist_ok=True)

    async def start(self, spec: ContainerSpec) -> OciProcess:
        """Start it. Raises `RuntimeFailure` with the runtime's own words if it cannot be."""
        slot = await self._slots.take(spec.network)
        try:
            limited = slot.limit(spec.limits)
            bundle = self._write_bundle(spec, slot)
            await limited
            slot.run(self._command(spec, bundle))
        except BaseException as failure:
            await slot.release()
            if isinstance(failure, OSError):
                raise RuntimeFailure(f"container {spec.id}: {failure}") from failure
            raise
        executor = Executor(self._binary, self._directory, spec, slot, self._open_files)
        process = OciProcess(slot, bundle, self._directory / "state" / spec.id, executor)
        try:
            await process.started()
        except asyncio.CancelledError:
            process.kill()
            await process.wait()
            raise
        return process

    def _write_bundle(self, spec: ContainerSpec, slot: Slot) -> Path:
        bundle = self._directory / spec.id
        bundle.mkdir()
        config = build_config(spec, self._init, slot.user_namespace, slot.network_namespace, self._open_files)
        close_door(config, self._binary)
        (bundle / "config.json").write_text(json.dumps(config), encoding="utf-8")
        return bundle

    def _command(self, spec: ContainerSpec, bundle: Path) -> str:
        """The descriptors are ours; the parked shell opens them anew through /proc."""
        ours = f"/proc/{self._process_id}/fd"
        words = (
            self._binary.path,
            *("--root", str(self._directory / "state"), "--log", str(bundle / "log")),
            *self._binary.global_options,
            "run",
            *self._binary.run_options,
            *("--bundle", str(bundle), "--pid-file", str(bundle / "pid"), spec.id),
        )
        return f"{shlex.join(words)} </dev/null >{ours}/{spec.stdout} 2>{ours}/{spec.stderr}"


class OciProcess:
    """A started container."""

    def __init__(self, slot: Slot, bundle: Path, state: Path, executor: Executor) -> None:
        self._slot = slot
        self._executor = executor
        self._bundle = bundle
        self._state = state
        self._killed = False
        # Awaited by wait(); it also runs when nobody asks, so that an ended container never keeps its slot.
        self._end = asyncio.ensure_future(self._follow())

    async def started(self) -> None:
        """Return when the container's init runs. Raises `RuntimeFailure` if the runtime gave up before."""
        while not (self._init_runs() or self._end.done()):
            await asyncio.wait([self._end], timeout=_STARTED_POLL_S)
        if self._end.done():
            ended = self._end.result()
            if ended.detail:
                raise RuntimeFailure(ended.detail)

    async def execute(self, command: Command) -> Executed:
        """Execute a command in it. Raises `RuntimeFailure` if that cannot be, as when it has ended."""
        if self._end.done():
            raise RuntimeFailure("the container has ended")
        return await self._executor.execute(command)

    async def wait(self) -> Exit:
        """Return when it has ended and everything of it is gone."""
        return await asyncio.shield(self._end)

    async def usage(self) -> Usage:
        """Return what it has used up to now."""
        return Usage() if self._end.done() else await self._slot.measure()

    def kill(self) -> None:
        """SIGKILL all of it."""
        if not self._end.done():
            self._killed = True
            self._slot.kill()

    def _init_runs(self) -> bool:
        """The runtime writes the pid first; until it executes the init that process is still its own."""
        try:
            pid = (self._bundle / "pid").read_text(encoding="ascii")
            return bool(pid) and Path(f"/proc/{pid}/cmdline").read_bytes().startswith(INIT.encode())
        except OSError:
            return False

    async def _follow(self) -> Exit:
        status = await self._slot.wait()
        if status < 0:  # somebody killed the runtime's own process, which the container outlives
            self._slot.kill()
        usage = await self._slot.measure()
        detail = complaint(self._bundle / "log") if status > 0 and not (usage.oom or self._killed) else ""
        await self._slot.release()
        self._remove_files()
        return dataclasses.replace(exit_of(status, usage.oom, detail), usage=usage)

    def _remove_files(self) -> None:
        for directory in (self._bundle, self._state):
            remove_flat(directory)


def remove_flat(directory: Path) -> None:
    """Remove a directory of plain files."""
    try:
        for path in directory.iterdir():
            path.unlink()
        directory.rmdir()
    except FileNotFoundError:
        pass
