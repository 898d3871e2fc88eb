"""How a node makes the layers of an image: each step in a container over the layers below, its upper directory kept."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from modicum.node.launch import Launch, Launcher
from modicum.node.removal import remove_tree
from modicum.runtimes.base import BindMount, RuntimeFailure
from modicum.wire.configuration import configure
from modicum.wire.frames import PAYLOAD_BYTES_MAX

from . import compiled
from .files import FileLayers
from .filesets import Server
from .flights import Flight, Flights
from .ground import DebianGround, Ground
from .pruning import Pruner
from .stepper import Job, StepFailed, Stepper, ended
from .store import LayerStore
from .threads import in_thread

STEPS_AT_ONCE = 4
"""More would only slow each other down."""

Send = Callable[[dict[str, Any], bytes], None]
Layer = Mapping[str, Any]


class BuildFailed(Exception):
    """A layer could not be made. `code` is the step's exit status, or -1 if it was not even run."""

    def __init__(self, layer: str, code: int, message: str) -> None:
        super().__init__(message)
        self.layer = layer
        self.code = code
        self.message = message


class ImageBuilder:
    """Makes and keeps the layers below `home`; sweeps what an earlier, killed node left half done.

    `server` gives the files that are in layers. Belongs to the running event loop.
    """

    def __init__(
        self, launcher: Launcher, home: Path, send: Send, server: Server, ground: Ground | None = None
    ) -> None:
        self._launcher = launcher
        self._ground = ground or DebianGround()
        self._home = home
        self._send = send
        self._store = LayerStore(home)
        self._flights = Flights()
        self._builds: dict[str, asyncio.Task[None]] = {}
        self._wanted: list[list[str]] = []  # the layers of each build, until the last of it has ended
        self._turns = asyncio.Semaphore(STEPS_AT_ONCE)
        self._chores: set[asyncio.Task[None]] = set()
        self._files = FileLayers(home, self._store, server, self._flights)
        self._stepper = Stepper(launcher, self._store, self._files, home, self._ground)
        self._later(self._store.clear)

    # -- what the node calls -------------------------------------------------------------------------------

    def layers(self) -> list[str]:
        """Return the ids of the layers that are whole."""
        return self._store.ids()

    def pruner(self, in_use: Callable[[], Iterable[str]]) -> Pruner:
        """Return what removes layers; those that a build is working with, or `in_use` names, stay."""
        wanted = self._wanted
        return Pruner(self._store, lambda: [*in_use(), *self._files.held(), *(each for ids in wanted for each in ids)])

    def path(self, layer_id: str) -> Path:
        """Return a layer's directory."""
        return self._store.path(layer_id)

    async def build(self, build_id: str, layers: Sequence[Layer], configured: Sequence[Layer] = ()) -> None:
        """Make the missing ones of `layers` (`{"id", "step", "configured", "agent", "variables"}`), the base first.

        `configured` are the steps that only configure, of the image and of each layer those before it. Sends
        `build.output` as it comes, then `build.done` with the image's configuration (`env`, `workdir`, `entrypoint`,
        `cmd`, `shell`, `python`) or `build.failed`; nothing more once it was cancelled. Asked twice, as by a server
        that was started again, it builds once.
        """
        if build_id in self._builds:
            return
        self._builds[build_id] = task = asyncio.create_task(self._build(build_id, layers))
        wanted = [layer["id"] for layer in layers]
        self._wanted.append(wanted)
        try:
            await task
            config = configure(self._store.config(layers[-1]["id"]), configured)
            self._send({"t": "build.done", "build": build_id, "config": config}, b"")
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

    def holding_files(self, set_id: str, layers: Sequence[str]) -> AbstractAsyncContextManager[Path]:
        """Give the directory of a file set to be laid over the image made of `layers`, the base first.

        No pruning removes it until the end of this; then `in_use` has to name it.

        Raises `ValueError` for a set that is none or does not fit the image, or what the server answers.
        """
        return self._files.holding(set_id, layers)

    async def ensure_agent(self, layers: Sequence[str], build: str) -> None:
        """Byte-compile `agent/<build>` with the Python of the image made of `layers`, the base first.

        Each minor version has compiled files of its own there, so this happens once per agent build and version. Every
        container runs those files, so they are made in the base alone, which we bootstrapped: what a later layer put
        beside its Python runs nowhere but in its own image. Raises `RuntimeFailure`.
        """
        if not self._ground.compiles_agent:
            return
        base = layers[0]
        config = self._store.config(base)
        done = self._home / "agent" / build / f".compiled-{config['python_minor']}"
        if not done.exists():
            await self._flights.join(str(done), _unseen, lambda _: self._compile_agent(base, build, config))
            done.touch()

    # -- one build -----------------------------------------------------------------------------------------

    async def _build(self, build_id: str, layers: Sequence[Layer]) -> None:
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

    def _maker(self, layer: Layer, below: tuple[str, ...], position: str) -> Callable[[Flight], Any]:
        async def make(flight: Flight) -> None:
            async with self._turns:
                scratch = self._store.scratch()
                try:
                    await self._make(flight, scratch, layer, below, position)
                finally:
                    await _remove(scratch)

        return make

    async def _make(self, flight: Flight, scratch: Path, layer: Layer, below: tuple[str, ...], position: str) -> None:
        configured = tuple(layer.get("configured", ()))
        job = Job(
            layer["step"],
            configured,
            below,
            layer.get("agent", ""),
            scratch,
            position,
            layer["id"],
            layer.get("variables", {}),
        )
        try:
            config = await self._stepper.run(job, flight, self._store.path(layer["id"]))
            self._store.add(layer["id"], job.layer, config)
        except StepFailed as failure:
            raise BuildFailed(layer["id"], failure.code, failure.message) from failure
        self._later(self._store.settle)

    def _fail(self, build_id: str, failure: BuildFailed) -> None:
        header = {"t": "build.failed", "build": build_id, "layer": failure.layer, "code": failure.code}
        self._send({**header, "message": failure.message}, b"")

    def _later(self, work: Callable[[], None]) -> None:
        """Do what nobody waits for in a thread."""
        task = asyncio.create_task(asyncio.to_thread(work))
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)

    # -- agent ---------------------------------------------------------------------------------------------

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
                layers=(self._store.path(base),),
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
        if await ended(running) != 0:
            raise RuntimeFailure(f"the agent does not compile: {said.decode(errors='replace')[-2000:]}")


async def _remove(folder: Path) -> None:
    """Remove a scratch directory; being cancelled again does not leave half of it."""
    await in_thread(lambda: remove_tree(folder))


def _unseen(_: bytes) -> None:
    """For work whose output nobody watches."""
