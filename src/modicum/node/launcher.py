"""How the node turns layers into a running container; see `launch.py` for what it promises."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

from modicum.runtimes.base import BindMount, ContainerSpec, Exit, Process, Runtime, RuntimeFailure

from .launch import Launch
from .overlay import Overlays
from .pipes import OutputPipe
from .removal import remove_tree
from .stubs import missing_targets, remove_stubs

_RUNTIME_TARGETS = ("/dev", "/proc", "/run/modicum-init", "/sys")


class NodeLauncher:
    """Starts containers. `run` is on the node's private tmpfs, `containers` on the disk that holds the layers."""

    def __init__(self, runtime: Runtime, overlays: Overlays, run: Path, containers: Path, resolv_conf: Path) -> None:
        self._runtime = runtime
        self._overlays = overlays
        self._roots = run / "roots"
        self._containers = containers
        self._resolv_conf = resolv_conf
        self._removals: set[asyncio.Future[None]] = set()
        self._roots.mkdir(exist_ok=True)

    async def launch(self, launch: Launch) -> Container:
        """Start it. Raises `RuntimeFailure` if it cannot be started; nothing of it is left then."""
        place = _Place(self._containers / launch.id, self._roots / launch.id, launch)
        pipes: dict[str, OutputPipe] = {}
        try:
            place.make(self._overlays)
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

    def _spec(self, launch: Launch, place: _Place, stdout: int, stderr: int) -> ContainerSpec:
        own = (BindMount(self._resolv_conf, "/etc/resolv.conf"), BindMount(place.hosts, "/etc/hosts"))
        return ContainerSpec(
            id=launch.id,
            root=place.root,
            argv=launch.argv,
            env=launch.env,
            cwd=launch.cwd,
            hostname=launch.hostname,
            stdout=stdout,
            stderr=stderr,
            mounts=(*own, *launch.mounts),
            limits=launch.limits,
            network=launch.network,
        )

    def _clear(self, place: _Place) -> None:
        """Unmount now; the files may be many, so they go in a thread."""
        place.dismount(self._overlays)
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


class _Place:
    """Where one container's root and changes are."""

    def __init__(self, directory: Path, mounts: Path, launch: Launch) -> None:
        self.directory = directory
        self.root = mounts / "root"
        self.hosts = mounts / "hosts"
        self._mounts = mounts
        self._launch = launch
        self._upper = launch.upper or directory / "upper"
        self._missing: tuple[str, ...] = ()
        self._is_mounted = False

    def make(self, overlays: Overlays) -> None:
        work = self.directory / "work"
        for made in (self.directory, self._upper, work, self._mounts, self.root):
            made.mkdir(exist_ok=True)
        overlays.mount(self.root, self._launch.layers, self._upper, work)
        self._is_mounted = True
        self.hosts.write_text(f"127.0.0.1\tlocalhost\n127.0.1.1\t{self._launch.hostname}\n", encoding="utf-8")
        if self._launch.upper is not None:
            targets = [mount.target for mount in self._launch.mounts]
            self._missing = missing_targets(self.root, [*targets, "/etc/resolv.conf", "/etc/hosts", *_RUNTIME_TARGETS])

    def dismount(self, overlays: Overlays) -> None:
        if self._is_mounted:
            self._is_mounted = False
            overlays.unmount(self.root)
        remove_stubs(self._upper, self._missing)
        for name in ("root", "hosts", ""):
            path = self._mounts / name
            try:
                (os.rmdir if path.is_dir() else os.unlink)(path)
            except OSError:
                continue  # never made


def _pipe(launch: Launch, stream: str) -> OutputPipe:
    return OutputPipe(lambda data: launch.on_output(stream, data))
