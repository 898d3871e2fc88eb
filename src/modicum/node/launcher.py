"""How the node turns layers into a running container. What that promises is in `launch.py`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from modicum.runtimes.base import (
    BindMount,
    Command,
    ContainerSpec,
    Executed,
    Exit,
    Process,
    Runtime,
    RuntimeFailure,
    Usage,
)

from .launch import Launch
from .pipes import OutputPipe
from .removal import remove_tree


class Place(Protocol):
    """Where one container's root and changes are."""

    directory: Path
    """Removed with all that is in it when the container has ended."""

    root: Path

    @property
    def mounts(self) -> tuple[BindMount, ...]:
        """Return what the container sees besides what it was launched with."""

    async def make(self) -> None:
        """Have the root ready. Raises `OSError` or `RuntimeFailure`."""

    def environ(self, given: dict[str, str]) -> dict[str, str]:
        """Return the variables of a container here, given those it was launched with."""

    def dismount(self) -> None:
        """Undo what removing the directory does not. Harmless when nothing was made."""


class NodeLauncher:
    """Starts containers with a runtime. `place_of` says where each of them is put."""

    def __init__(self, runtime: Runtime, place_of: Callable[[Launch], Place]) -> None:
        self._runtime = runtime
        self._place_of = place_of
        self._removals: set[asyncio.Future[None]] = set()

    async def launch(self, launch: Launch) -> Container:
        """Start it. Raises `RuntimeFailure` if it cannot be started; nothing of it is left then."""
        place = self._place_of(launch)
        pipes: dict[str, OutputPipe] = {}
        try:
            await place.make()
            pipes = {name: _pipe(launch, name) for name in ("stdout", "stderr")}
            spec = self._spec(launch, place, pipes["stdout"].write_end, pipes["stderr"].write_end)
            process = await self._runtime.start(spec)
        except BaseException as failure:
            for pipe in pipes.values():
                pipe.drain()
                pipe.close()
            self._clear(place)
            if isinstance(failure, OSError):
                raise RuntimeFailure(f"container {launch.id}: {failure}") from failure
            raise
        for pipe in pipes.values():
            pipe.close_write_end()
        return Container(process, pipes, lambda: self._clear(place))

    async def close(self) -> None:
        """Return when the directories of all ended containers are gone."""
        await asyncio.gather(*self._removals, return_exceptions=True)

    def _spec(self, launch: Launch, place: Place, stdout: int, stderr: int) -> ContainerSpec:
        return ContainerSpec(
            id=launch.id,
            root=place.root,
            argv=launch.argv,
            env=place.environ(launch.env),
            cwd=launch.cwd,
            hostname=launch.hostname,
            stdout=stdout,
            stderr=stderr,
            mounts=(*place.mounts, *launch.mounts),
            limits=launch.limits,
            network=launch.network,
        )

    def _clear(self, place: Place) -> None:
        """Unmount now; the files may be many, so they go in a thread."""
        place.dismount()
        removal = asyncio.ensure_future(asyncio.to_thread(remove_tree, place.directory))
        self._removals.add(removal)  # awaited by close()
        removal.add_done_callback(self._removed)

    def _removed(self, removal: asyncio.Future[None]) -> None:
        self._removals.discard(removal)
        if not removal.cancelled() and removal.exception() is not None:
            print(f"a container's directory could not be removed: {removal.exception()}", flush=True)


class Container:
    """A launched container."""

    def __init__(self, process: Process, pipes: dict[str, OutputPipe], clear: Callable[[], None]) -> None:
        self._process = process
        self._pipes = pipes
        self._clear = clear
        # Awaited by wait(); it also runs when nobody asks, so that an ended container never keeps its mounts.
        self._end = asyncio.ensure_future(self._follow())

    async def wait(self) -> Exit:
        """Return when it has ended, its output has been delivered and its mounts are gone."""
        return await asyncio.shield(self._end)

    async def execute(self, command: Command) -> Executed:
        """Execute a command in it. Raises `RuntimeFailure`."""
        return await self._process.execute(command)

    async def usage(self) -> Usage:
        """Return what it has used up to now."""
        return await self._process.usage()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def flush(self) -> None:
        """Deliver all output that it has written up to now."""
        for pipe in self._pipes.values():
            pipe.drain()

    def pause_output(self) -> None:
        """Stop reading its output; when the pipes are full its writes block."""
        for pipe in self._pipes.values():
            pipe.pause()

    def resume_output(self) -> None:
        """Read its output again."""
        for pipe in self._pipes.values():
            pipe.resume()

    async def _follow(self) -> Exit:
        ended = await self._process.wait()
        for pipe in self._pipes.values():
            pipe.drain()
            pipe.close()
        self._clear()
        return ended


def _pipe(launch: Launch, stream: str) -> OutputPipe:
    return OutputPipe(lambda data: launch.on_output(stream, data))
