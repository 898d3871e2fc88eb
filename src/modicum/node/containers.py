"""Which containers the node runs for the server, from the request to start one to its acknowledged end."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Protocol

from modicum.runtimes import PROCESS
from modicum.runtimes.base import BindMount, Limits, RuntimeFailure, Usage
from modicum.wire.channel import RemoteFailure

from .gpus.grants import Grants
from .gpus.inventory import Inventory
from .images.hints import with_hint
from .launch import Launch
from .launcher import Container, NodeLauncher
from .layout import Layout
from .metering import Meter
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

    def __init__(self, container_id: str, spec: dict[str, Any], deliver: Deliver) -> None:
        self.id = container_id
        self.function = spec.get("function", "")
        self.generation = spec.get("generation", 0)
        self.restricted, self.plain = bool(spec.get("restricted")), bool(spec.get("plain"))
        self.running: Container | None = None
        self.started_at = time.time()
        self.is_unwanted = False
        self.layers: set[str] = set()
        self.devices: tuple[str, ...] = ()  # the GPUs that are its own, until its process has ended
        self.limits = Limits()
        self.meter = Meter({}, time.monotonic())
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

    def __init__(
        self, layout: Layout, launcher: NodeLauncher, images: Images, deliver: Deliver, inventory: Inventory
    ) -> None:
        self._layout = layout
        self._launcher = launcher
        self._images = images
        self._deliver = deliver
        self._grants = Grants(inventory, layout.runtime != PROCESS, layout.run / "nvidia")
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
                "devices": tracked.devices,
                "restricted": tracked.restricted,
                "plain": tracked.plain,
            }
            for tracked in self._tracked.values()
        ]

    async def start(self, container_id: str, spec: dict[str, Any]) -> None:
        """Start one; asked twice, it runs once. Raises `RemoteFailure` if it cannot be started.

        It goes on when the caller is cancelled: a server that goes away takes no container with it.
        """
        if container_id in self._tracked:
            return
        tracked = self._tracked[container_id] = _Tracked(container_id, spec, self._deliver)
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

    async def usage(self) -> dict[str, dict[str, Any]]:
        """Read what each running container has used since it began."""
        running = {each: each.running for each in self._tracked.values() if each.running is not None}
        read = await asyncio.gather(*(each.usage() for each in running.values()), return_exceptions=True)
        now, told = time.monotonic(), {}
        for each, usage in zip(running, read):
            if isinstance(usage, BaseException):
                print(f"what {each.id} uses could not be read: {usage!r}", flush=True)
            elif each.id in self._tracked:
                told[each.id] = _told(each, usage, each.meter.read(usage, now))
        return told

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
                self._grants.give_back(tracked.id)
                del self._tracked[tracked.id]
        if tracked.is_unwanted:
            tracked.running.kill()
        _ = self._own(self._follow(tracked, tracked.running))

    async def _follow(self, tracked: _Tracked, running: Container) -> None:
        delivering = self._own(tracked.outbox.run())
        ended = await running.wait()
        self._grants.give_back(tracked.id)
        tracked.devices = ()
        tracked.outbox.end(
            {
                "t": "node.exited",
                "container": tracked.id,
                "code": ended.code,
                "signal": ended.signal,
                "oom": ended.oom,
                "detail": _why_out_of_memory(tracked, ended.usage) if ended.oom else ended.detail,
                "usage": _told(tracked, ended.usage, tracked.meter.end(ended.usage, time.monotonic())),
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
        limits, request = spec.get("limits") or {}, spec.get("request") or {}
        _check_disk(request.get("disk_bytes") or 0, self._layout)
        tracked.limits = Limits(
            limits.get("pids", 4096), limits.get("memory_bytes"), limits.get("cpus"), request.get("cpus")
        )
        tracked.meter = Meter(request, time.monotonic())
        grant = self._grants.grant(tracked.id, spec.get("devices", ()), environ)
        tracked.devices = tuple(spec.get("devices", ()))
        return Launch(
            id=tracked.id,
            layers=tuple(layers),
            argv=tuple(spec["argv"]),
            env={**environ, **grant.environ},
            on_output=tracked.outbox.add,
            cwd=spec.get("cwd", "/root"),
            hostname=spec.get("hostname", "modicum"),
            mounts=(*mounts, *grant.mounts),
            limits=tracked.limits,
            network=spec.get("network", True),
        )


def _told(tracked: _Tracked, usage: Usage, reading: dict[str, Any]) -> dict[str, Any]:
    return {**reading, "oom": _why_out_of_memory(tracked, usage) if usage.oom else None}


def _why_out_of_memory(tracked: _Tracked, usage: Usage) -> str:
    limit, peak = tracked.limits.memory_bytes, usage.memory_peak_bytes
    had = "" if peak is None else f", peak {_mib(peak)} MiB"
    if limit is None:
        return f"the machine ran out of memory: it had no limit{had}; say with memory=… how much it needs"
    return f"it ran out of memory: limit {_mib(limit)} MiB{had}; ask for more with memory=…"


def _check_disk(wanted_bytes: int, layout: Layout) -> None:
    """Raise `RuntimeFailure` unless there is so much room where containers write."""
    if not wanted_bytes:
        return
    disk = os.statvfs(layout.containers)
    free, total = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
    if wanted_bytes > free:
        raise RuntimeFailure(
            f"it asks for {_mib(wanted_bytes)} MiB of disk, and {_mib(free)} MiB of {_mib(total)} MiB are free on its "
            "machine; ask for less with ephemeral_disk=…, or make room",
        )


def _mib(count: int) -> int:
    return count >> 20
