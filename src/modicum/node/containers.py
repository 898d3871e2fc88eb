"""Which containers the node runs for the server, from the request to start one to its acknowledged end."""

from __future__ import annotations

import asyncio
import time
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Protocol

from modicum.runtimes.base import BindMount, Limits, RuntimeFailure
from modicum.wire.channel import RemoteFailure

from .images.hints import with_hint
from .launch import Launch
from .launcher import Container, NodeLauncher
from .layout import Layout
from .outbox import Deliver, Outbox

SOCKET, AGENT = "/run/modicum", "/run/modicum-agent"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Images(Protocol):
    """What starting a container needs of the image builder."""

    def path(self, layer_id: str) -> Path:
        """Return a layer's directory."""

    def holding_files(self, set_id: str, layers: list[str]) -> AbstractAsyncContextManager[Path]:
        """Give the directory of a file set over the image made of these layers, the base first; it stays meanwhile."""

    async def ensure_agent(self, layers: list[str], build: str) -> None:
        """Have the agent's code compiled for the Python of these layers, the base first."""


class _Tracked:
    """A container from its start to its acknowledged end."""

    def __init__(self, container_id: str, function: str, generation: int, deliver: Deliver) -> None:
        self.id = container_id
        self.function = function
        self.generation = generation
        self.running: Container | None = None
        self.started_at = time.time()
        self.is_unwanted = False
        self.layers: set[str] = set()
        self.outbox = Outbox(container_id, deliver, self._on_full)

    def _on_full(self, is_full: bool) -> None:
        if self.running is None:
            return  # before its start is through it has no time to say much
        if is_full:
            self.running.pause_output()
        else:
            self.running.resume_output()


class Containers:
    """The server's containers on this node."""

    def __init__(self, layout: Layout, launcher: NodeLauncher, images: Images, deliver: Deliver) -> None:
        self._layout = layout
        self._launcher = launcher
        self._images = images
        self._deliver = deliver
        self._tracked: dict[str, _Tracked] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def report(self) -> list[dict[str, Any]]:
        """Return all containers whose end the server has not acknowledged."""
        return [
            {
                "id": tracked.id,
                "function": tracked.function,
                "generation": tracked.generation,
                "started_at": tracked.started_at,
            }
            for tracked in self._tracked.values()
        ]

    async def start(self, container_id: str, spec: dict[str, Any]) -> None:
        """Start one; asked twice, it runs once. Raises `RemoteFailure` if it cannot be started.

        It goes on when the caller is cancelled: a server that goes away takes no container with it.
        """
        if container_id in self._tracked:
            return
        function, generation = spec.get("function", ""), spec.get("generation", 0)
        tracked = self._tracked[container_id] = _Tracked(container_id, function, generation, self._deliver)
        tracked.layers.update(spec.get("layers", ()))
        await asyncio.shield(self._own(self._start(tracked, spec)))

    def layers(self) -> list[str]:
        """Return the layers of all containers, with repetitions."""
        return [layer for tracked in self._tracked.values() for layer in tracked.layers]

    def kill(self, container_id: str) -> bool:
        """End one at once; its exit follows. Returns whether there is such a one."""
        tracked = self._tracked.get(container_id)
        if tracked is not None:
            tracked.is_unwanted = True
            if tracked.running is not None:
                tracked.running.kill()
        return tracked is not None

    def running(self, container_id: str) -> Container:
        """Return one that runs. Raises `RemoteFailure` if there is none of this id."""
        tracked = self._tracked.get(container_id)
        if tracked is None or tracked.running is None:
            raise RemoteFailure("not_found", f"the container {container_id} does not run any longer")
        return tracked.running

    async def flush(self, container_ids: list[str]) -> None:
        """Return when the server has all that these have written up to now."""
        found = [self._tracked[name] for name in container_ids if name in self._tracked]
        for tracked in found:
            if tracked.running is not None:
                tracked.running.flush()
        await asyncio.gather(*(tracked.outbox.flushed() for tracked in found))

    async def close(self) -> None:
        """End all of them and return when nothing of them is left."""
        ending = [tracked.running for tracked in self._tracked.values() if tracked.running is not None]
        for name in list(self._tracked):
            self.kill(name)
        await asyncio.gather(*(running.wait() for running in ending), return_exceptions=True)
        for task in list(self._tasks):
            task.cancel()

    def _own(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        self._tasks.add(task)  # cancelled by close()
        task.add_done_callback(self._tasks.discard)
        return task

    async def _start(self, tracked: _Tracked, spec: dict[str, Any]) -> None:
        try:
            launch = await self._plan(tracked, spec)
            tracked.running = await self._launcher.launch(launch)
        except RuntimeFailure as failure:
            raise RemoteFailure("start_failed", str(failure)) from failure
        except (KeyError, TypeError, ValueError, OSError, RemoteFailure) as failure:
            message = with_hint(f"container {tracked.id} cannot be started: {type(failure).__name__}: {failure}")
            raise RemoteFailure("start_failed", message) from failure
        finally:
            if tracked.running is None:
                del self._tracked[tracked.id]
        if tracked.is_unwanted:
            tracked.running.kill()
        _ = self._own(self._follow(tracked, tracked.running))

    async def _follow(self, tracked: _Tracked, running: Container) -> None:
        delivering = self._own(tracked.outbox.run())
        ended = await running.wait()
        tracked.outbox.end(
            {
                "t": "node.exited",
                "container": tracked.id,
                "code": ended.code,
                "signal": ended.signal,
                "oom": ended.oom,
                "detail": ended.detail,
            }
        )
        await delivering
        del self._tracked[tracked.id]

    async def _plan(self, tracked: _Tracked, spec: dict[str, Any]) -> Launch:
        environ = {"PATH": _PATH, "HOME": "/root", **spec["env"]}
        layers = [self._images.path(layer) for layer in spec["layers"]]
        mounts: list[BindMount] = []
        if spec.get("link"):
            build = environ["MODICUM_BUILD"]
            await self._images.ensure_agent(spec["layers"][::-1], build)
            mounts.append(BindMount(self._layout.links / tracked.id, SOCKET))
            environ["MODICUM_SOCKET"] = SOCKET
            mounts.append(BindMount(self._layout.node / "agent" / build, AGENT))
        for set_id in spec.get("files", ()):
            async with self._images.holding_files(set_id, spec["layers"][::-1]) as folder:
                layers.insert(0, folder)
                tracked.layers.add(folder.name)
        limits = spec.get("limits") or {}
        return Launch(
            id=tracked.id,
            layers=tuple(layers),
            argv=tuple(spec["argv"]),
            env=environ,
            on_output=tracked.outbox.add,
            cwd=spec.get("cwd", "/root"),
            hostname=spec.get("hostname", "modicum"),
            mounts=tuple(mounts),
            limits=Limits(limits.get("pids", 4096), limits.get("memory_bytes"), limits.get("cpus")),
            network=spec.get("network", True),
        )
