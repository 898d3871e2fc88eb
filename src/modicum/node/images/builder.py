"""How a node makes the layers of an image: each step in a container over the layers below, its upper directory kept."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from modicum.node.launch import Launch, Launcher, Running
from modicum.node.removal import remove_tree
from modicum.runtimes.base import BindMount, RuntimeFailure
from modicum.wire.frames import PAYLOAD_BYTES_MAX

from . import bases, compiled, host, mounts, sources, steps
from .flights import Flight, Flights
from .pruning import Pruner
from .store import LayerStore
from .threads import in_thread

STEPS_AT_ONCE = 4
"""More would only slow each other down."""

_LINES_KEPT = 20

Send = Callable[[dict[str, Any], bytes], None]
Fetch = Callable[[str], AsyncIterator[bytes]]


class BuildFailed(Exception):
    """A layer could not be made. `code` is the step's exit status, or -1 if it was not even run."""

    def __init__(self, layer: str, code: int, message: str) -> None:
        super().__init__(message)
        self.layer = layer
        self.code = code
        self.message = message


class ImageBuilder:
    """Makes and keeps the layers below `home`; sweeps what an earlier, killed node left half done.

    Belongs to the running event loop.
    """

    def __init__(self, launcher: Launcher, home: Path, send: Send) -> None:
        self._launcher = launcher
        self._home = home
        self._send = send
        self._store = LayerStore(home)
        self._flights = Flights()
        self._builds: dict[str, asyncio.Task[None]] = {}
        self._wanted: list[list[str]] = []  # the layers of each build, until the last of it has ended
        self._turns = asyncio.Semaphore(STEPS_AT_ONCE)
        self._chores: set[asyncio.Task[None]] = set()
        self._later(self._store.clear)

    # -- what the node calls -------------------------------------------------------------------------------

    def layers(self) -> list[str]:
        """Return the ids of the layers that are whole."""
        return self._store.ids()

    def pruner(self, in_use: Callable[[], Iterable[str]]) -> Pruner:
        """Return what removes layers; those that a build is working with, or `in_use` names, stay."""
        return Pruner(self._store, lambda: [*in_use(), *(layer for wanted in self._wanted for layer in wanted)])

    def path(self, layer_id: str) -> Path:
        """Return a layer's directory."""
        return self._store.path(layer_id)

    async def build(self, build_id: str, layers: Sequence[dict[str, Any]]) -> None:
        """Make those of `layers` (`{"id", "step"}`, the base first) that are missing.

        Sends `build.output` as it comes, then `build.done` with the image's configuration (`env`, `workdir`, `python`)
        or `build.failed`; nothing more once it was cancelled. Asked twice, as by a server that was started again, it
        builds once.
        """
        if build_id in self._builds:
            return
        self._builds[build_id] = task = asyncio.create_task(self._build(build_id, layers))
        wanted = [layer["id"] for layer in layers]
        self._wanted.append(wanted)
        try:
            await task
            self._send({"t": "build.done", "build": build_id, "config": self._store.config(layers[-1]["id"])}, b"")
        except BuildFailed as failure:
            self._fail(build_id, failure)
        except asyncio.CancelledError:
            if self._builds.get(build_id) is task:
                raise  # not `cancel`: whoever awaits us ends
        except Exception:
            self._fail(build_id, BuildFailed("", -1, "The node failed to build the image; its log says more."))
            raise
        finally:
            self._wanted.remove(wanted)
            if self._builds.get(build_id) is task:
                del self._builds[build_id]

    def cancel(self, build_id: str) -> None:
        """End a build. The step that it waits for ends too, unless another build waits for it."""
        task = self._builds.pop(build_id, None)
        if task is not None:
            task.cancel()

    async def ensure_source(self, layer_id: str, blob_id: str, fetch: Fetch) -> Path:
        """Return the layer made of the tar `blob_id`, fetching and extracting it if it is not there.

        The names in the tar are relative to the container's root directory. The layer's id names the tar's content, so
        that no archive can pass for another's, nor for an image's layer. Raises `BadArchive`.
        """
        if not self._store.has(layer_id):
            await self._flights.join(layer_id, _unseen, lambda _: self._make_source(layer_id, blob_id, fetch))
        return self._store.path(layer_id)

    async def ensure_agent(self, layers: Sequence[str], build: str) -> None:
        """Byte-compile `agent/<build>` with the Python of the image made of `layers`, the base first.

        Each minor version has compiled files of its own there, so this happens once per agent build and version. Every
        container runs those files, so they are made in the base alone, which we bootstrapped: what a later layer put
        beside its Python runs nowhere but in its own image. Raises `RuntimeFailure`.
        """
        base = layers[0]
        config = self._store.config(base)
        done = self._home / "agent" / build / f".compiled-{config['python_minor']}"
        if not done.exists():
            await self._flights.join(str(done), _unseen, lambda _: self._compile_agent(base, build, config))
            done.touch()

    # -- one build -----------------------------------------------------------------------------------------

    async def _build(self, build_id: str, layers: Sequence[dict[str, Any]]) -> None:
        def show(data: bytes) -> None:
            for start in range(0, len(data), PAYLOAD_BYTES_MAX):
                part = data[start : start + PAYLOAD_BYTES_MAX]
                self._send({"t": "build.output", "build": build_id, "size": len(part)}, part)

        below: list[str] = []
        for number, layer in enumerate(layers, start=1):
            if not self._store.has(layer["id"]):
                position = f"{number}/{len(layers)}"
                await self._flights.join(layer["id"], show, self._maker(layer, tuple(below), position))
            below.append(layer["id"])

    def _maker(self, layer: dict[str, Any], below: tuple[str, ...], position: str) -> Callable[[Flight], Any]:
        async def make(flight: Flight) -> None:
            async with self._turns:
                scratch = self._store.scratch()
                try:
                    await self._make(flight, scratch, layer, below, position)
                finally:
                    await _remove(scratch)

        return make

    async def _make(
        self, flight: Flight, scratch: Path, layer: dict[str, Any], below: tuple[str, ...], position: str
    ) -> None:
        upper = scratch / "layer"
        upper.mkdir()
        started = asyncio.get_running_loop().time()
        try:
            flight.show(f"Step {position}: {steps.words(layer['step'])}\n".encode())
            config = await self._run_step(flight, scratch, upper, layer, below)
        except (steps.UnknownStep, bases.BaseFailed, RuntimeFailure, OSError) as error:
            raise BuildFailed(layer["id"], -1, f"Step {position} failed: {error}") from error
        self._store.add(layer["id"], upper, config)
        self._later(self._store.settle)
        taken = asyncio.get_running_loop().time() - started
        flight.show(f"Step {position}: done in {taken:.1f} s\n".encode())

    async def _run_step(
        self, flight: Flight, scratch: Path, upper: Path, layer: dict[str, Any], below: tuple[str, ...]
    ) -> dict[str, Any]:
        """Fill `upper`; return the configuration of the image up to here."""
        step = layer["step"]
        if step["op"] == "debian_slim":
            work = scratch / "work"
            work.mkdir()
            return await bases.build(step["python"], upper, work, lambda line: flight.show(f"{line}\n".encode()))
        if not below:
            raise steps.UnknownStep(f"{step['op']} needs an image to stand on")
        command = steps.command(step)
        config = self._store.config(below[-1])
        code = await self._run_command(flight, scratch, upper, command, below)
        flight.finish_line()
        if code != 0:
            tail = flight.tail(_LINES_KEPT)
            raise BuildFailed(layer["id"], code, f"`{command.words}` exited with status {code}:\n{tail}")
        return config

    async def _run_command(
        self, flight: Flight, scratch: Path, upper: Path, command: steps.Command, below: tuple[str, ...]
    ) -> int:
        folder = scratch / "view"
        folder.mkdir(mode=0o755)
        view = await in_thread(lambda: mounts.lay_out(folder, self._home / "cache", host.collect(), command.files))
        config = self._store.config(below[-1])
        running = await self._launcher.launch(
            Launch(
                id=f"bu-{uuid.uuid4().hex[:16]}",
                layers=self._lower(below),
                argv=command.argv,
                env={**config["env"], "HOME": "/root", **view.environ, **command.environ},
                on_output=lambda _, data: flight.show(data),
                upper=upper,
                mounts=view.mounts,
            )
        )
        return await _ended(running)

    def _lower(self, below: Sequence[str]) -> tuple[Path, ...]:
        return tuple(self._store.path(layer_id) for layer_id in reversed(below))

    def _fail(self, build_id: str, failure: BuildFailed) -> None:
        header = {"t": "build.failed", "build": build_id, "layer": failure.layer, "code": failure.code}
        self._send({**header, "message": failure.message}, b"")

    def _later(self, work: Callable[[], None]) -> None:
        """Do what nobody waits for in a thread."""
        task = asyncio.create_task(asyncio.to_thread(work))
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)

    # -- source and agent ----------------------------------------------------------------------------------

    async def _make_source(self, layer_id: str, blob_id: str, fetch: Fetch) -> None:
        scratch = self._store.scratch()
        try:
            digest = hashlib.sha256()
            with (scratch / "archive").open("wb") as archive:
                async for chunk in fetch(blob_id):
                    digest.update(chunk)
                    archive.write(chunk)
            sources.check(layer_id, digest.hexdigest())
            (scratch / "layer").mkdir()
            await in_thread(lambda: sources.extract(scratch / "archive", scratch / "layer"))
            self._store.add(layer_id, scratch / "layer", {})
        finally:
            await _remove(scratch)

    async def _compile_agent(self, base: str, build: str, config: dict[str, Any]) -> None:
        scratch = self._store.scratch()
        try:
            agent = self._home / "agent" / build
            await self._run_compiler(base, agent, scratch, config)
            await in_thread(lambda: compiled.take(scratch, agent))
        finally:
            await _remove(scratch)

    async def _run_compiler(self, base: str, agent: Path, scratch: Path, config: dict[str, Any]) -> None:
        said = bytearray()
        running = await self._launcher.launch(
            Launch(
                id=f"ag-{uuid.uuid4().hex[:16]}",
                layers=self._lower([base]),
                argv=(config["python"], "-I", "-B", "-c", compiled.PROGRAM, compiled.SOURCE, compiled.OUTPUT),
                env=config["env"],
                on_output=lambda _, data: said.extend(data),
                mounts=(
                    BindMount(agent, compiled.SOURCE),
                    BindMount(scratch, compiled.OUTPUT, read_only=False),
                ),
                network=False,
            )
        )
        if await _ended(running) != 0:
            raise RuntimeFailure(f"the agent does not compile: {said.decode(errors='replace')[-2000:]}")


async def _ended(running: Running) -> int:
    """Wait for a container, ending it if we are cancelled; return a shell's exit status."""
    try:
        ended = await running.wait()
    except asyncio.CancelledError:
        running.kill()
        await running.wait()
        raise
    return 128 + ended.signal if ended.signal else ended.code


async def _remove(folder: Path) -> None:
    """Remove a scratch directory; being cancelled again does not leave half of it."""
    await in_thread(lambda: remove_tree(folder))


def _unseen(_: bytes) -> None:
    """For work whose output nobody watches."""
