"""How one step runs: its command in a container over the layers below, whose changes become the new layer."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modicum.node.launch import Launch, Launcher, Running
from modicum.runtimes.base import BindMount, RuntimeFailure
from modicum.wire.configuration import configure

from . import bases, mounts, steps
from .files import FAILURES, FileLayers
from .flights import Flight
from .ground import Ground, StepRefused
from .hints import with_hint
from .store import LayerStore
from .threads import in_thread

_LINES_KEPT = 20

_TOGETHER = 'exec "$@" 2>&1'
"""Output and errors of a step are one text, and in order only in one pipe."""


class StepFailed(Exception):
    """A step made no layer. `code` is its exit status, or -1 if it was not even run."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Job:
    """A step to be run on the layers `below`, the base first; `configured` are the configuring steps before it.

    `variables` are of its secrets. `agent` names the build of our code that it may run. `scratch` is a directory to
    work in, in which `layer` becomes the new layer.
    """

    step: Mapping[str, Any]
    configured: tuple[Mapping[str, Any], ...]
    below: tuple[str, ...]
    agent: str
    scratch: Path
    position: str
    layer_id: str
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def layer(self) -> Path:
        """Where the new layer is made."""
        return self.scratch / "layer"


class Stepper:
    """Runs steps over the layers in `store` and the sets in `files`. What installers download stays below `home`.

    `ground` is what images stand on.
    """

    def __init__(self, launcher: Launcher, store: LayerStore, files: FileLayers, home: Path, ground: Ground) -> None:
        self._launcher = launcher
        self._store = store
        self._files = files
        self._home = home
        self._ground = ground

    async def run(self, job: Job, flight: Flight, final: Path) -> dict[str, Any]:
        """Fill `job.layer`, which will be moved to `final`; return the base's configuration, to be recorded with it.

        Raises `StepFailed`.
        """
        job.layer.mkdir()
        started = asyncio.get_running_loop().time()
        try:
            flight.show(f"{_headline(job)}\n".encode())
            config = await self._make(job, flight)
            await in_thread(lambda: self._ground.seal(job.layer, final))
        except (steps.UnknownStep, StepRefused, bases.BaseFailed, RuntimeFailure, OSError, *FAILURES) as error:
            raise StepFailed(-1, with_hint(f"Step {job.position} failed: {error}")) from error
        taken = asyncio.get_running_loop().time() - started
        flight.show(f"Step {job.position}: done in {taken:.1f} s\n".encode())
        return config

    async def _make(self, job: Job, flight: Flight) -> dict[str, Any]:
        self._ground.check(job.step)
        if job.step["op"] == "debian_slim":
            work = job.scratch / "work"
            work.mkdir()
            return await self._ground.base(job.step, job.layer, work, lambda line: flight.show(f"{line}\n".encode()))
        if not job.below:
            raise steps.UnknownStep(f"{job.step['op']} needs an image to stand on")
        base = self._store.config(job.below[-1])
        if job.step["op"] == "add_files":
            await self._files.fill(job.step["files"], job.layer_id, job.below, job.layer)
            return base
        config = configure(base, job.configured)
        command = steps.command(job.step, config)
        code = await self._run(job, flight, command, config)
        flight.finish_line()
        if code != 0:
            tail = flight.tail(_LINES_KEPT).removeprefix(_headline(job)).lstrip("\n")
            raise StepFailed(code, with_hint(f"`{command.words}` exited with status {code}:\n{tail}"))
        return base

    async def _run(self, job: Job, flight: Flight, command: steps.Command, config: Mapping[str, Any]) -> int:
        folder = job.scratch / "view"
        folder.mkdir(mode=0o755)
        cache, ground = self._home / "cache", self._ground
        view = await in_thread(lambda: mounts.lay_out(folder, cache, ground.settings(), command.files))
        agent = (BindMount(self._home / "agent" / job.agent, steps.AGENT),) if command.needs_agent else ()
        async with self._layers(job) as layers:
            running = await self._launcher.launch(
                Launch(
                    id=f"bu-{uuid.uuid4().hex[:16]}",
                    layers=layers,
                    argv=("/bin/sh", "-c", _TOGETHER, "step", *command.argv),
                    env={"HOME": "/root", **view.environ, **config["env"], **job.variables, **command.environ},
                    on_output=lambda _, data: flight.show(data),
                    cwd=config["workdir"],
                    upper=job.layer,
                    mounts=(*view.mounts, *agent),
                )
            )
            try:
                async with asyncio.timeout(command.timeout_s):
                    return await ended(running)
            except TimeoutError:
                raise StepFailed(-1, f"`{command.words}` did not end within its {command.timeout_s:g} s") from None

    @asynccontextmanager
    async def _layers(self, job: Job) -> AsyncIterator[tuple[Path, ...]]:
        """Give what the step stands on, the topmost first: over the image its program's files, which are not kept."""
        files = job.step.get("shipped", {}).get("files")
        image = tuple(self._store.path(layer_id) for layer_id in reversed(job.below))
        if not files:
            yield image
            return
        async with self._files.holding(files, job.below) as program:
            yield (program, *image)


def _headline(job: Job) -> str:
    return f"Step {job.position}: {steps.words(job.step)}"


async def ended(running: Running) -> int:
    """Wait for a container, ending it if we are cancelled; return a shell's exit status."""
    try:
        end = await running.wait()
    except asyncio.CancelledError:
        running.kill()
        await running.wait()
        raise
    return 128 + end.signal if end.signal else end.code
