"""How do fake nodes, containers and functions behave?"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Protocol

from modicum.server.core.actions import Dispatch
from modicum.server.core.events import (
    ContainerExited,
    ContainerLoaded,
    ContainerReady,
    Device,
    Event,
    ExitReason,
    FunctionSpec,
    Held,
    InputsTakenBack,
    NodeJoined,
    Output,
    OutputsArrived,
    Reported,
    StartFailed,
)

from .sim_timeline import Link, Timeline

BATCH_S = 0.0005
"""An agent answers what ends within this time in one frame."""

SPECIAL_S = {"endless": 1e6, "slow": 0.7}
"""How long inputs run whose time is not their function's usual one."""

RETRY_S = 0.05
"""How often an agent or node that has lost its server tries to find it again."""


@dataclass(frozen=True)
class Function:
    """What a function's containers and inputs are like."""

    spec: FunctionSpec
    run_s: tuple[float, float]
    start_s: tuple[float, float]
    slow: float = 0.0  # share of runs that take much longer
    crashes: float = 0.0  # share of runs that take the container with them
    fails: float = 0.0  # share of runs whose attempt fails
    start_crashes: float = 0.0  # share of containers that end before they are loaded
    broken: bool = False  # its module does not import
    heeds_cancel: bool = True  # what runs can be interrupted


class Server(Protocol):
    """What agents and nodes can reach, while it is up."""

    def tell(self, event: Event) -> None:
        """Something happened."""

    def expects(self, node: str) -> bool:
        """Whether the node has joined, so that its containers can be heard."""


class Surroundings(Protocol):
    """What fakes need of the world around them."""

    timeline: Timeline
    random: Random

    @property
    def server(self) -> Server | None:
        """The server that is up, if one is."""

    def fate(self, key: str) -> str:
        """What running this input leads to: "ok", "slow", "endless" or "poison"."""

    def note_death(self, keys: Iterable[str]) -> None:
        """A container died holding these."""


class FakeContainer:
    """A container with its agent: runs as many inputs at once as it has slots, keeps outputs until acknowledged."""

    def __init__(
        self, world: Surroundings, node: FakeNode, container: str, function: Function, devices: tuple[str, ...] = ()
    ) -> None:
        self.id = container
        self.function = function
        self.devices = devices
        self.alive = True
        self.link = Link(world.timeline, world.random)
        self._world = world
        self._node = node
        self._is_up = False
        self._is_loaded = False
        self._is_exiting = False
        self._waiting: deque[Dispatch] = deque()
        self._running: dict[str, Dispatch] = {}
        self._kept: dict[Dispatch, Output] = {}  # outputs that nobody has acknowledged
        self._unsent: list[Output] = []

    def boot(self) -> None:
        """Start: after a while comes the hello, and after another the function is loaded, or what prevents it."""
        start_s = self._world.random.uniform(*self.function.start_s)
        self._later(start_s / 2, self._booted)
        self._later(start_s, self._load)

    def run(self, inputs: Iterable[Dispatch]) -> None:
        """New inputs came."""
        self._waiting.extend(inputs)
        self._begin()

    def take_back(self, count: int) -> None:
        """Give back unstarted inputs, the last ones first."""
        given = [self._waiting.pop().key for _ in range(min(count, len(self._waiting)))]
        self._tell(InputsTakenBack(self.id, tuple(given)))

    def cancel(self, keys: Iterable[str]) -> None:
        """Answer unstarted ones at once; interrupt what runs, if it lets itself be interrupted."""
        for key in keys:
            for waiting in [each for each in self._waiting if each.key == key]:
                self._waiting.remove(waiting)
                self._answer(waiting, 0.0, False)
            if key in self._running and self.function.heeds_cancel:
                self._answer(self._running.pop(key), 0.0, False)
        self._begin()

    def acknowledge(self, outputs: Iterable[Dispatch]) -> None:
        """These outputs may be forgotten."""
        for each in outputs:
            self._kept.pop(each, None)

    def exit(self) -> None:
        """Finish, then end."""
        self._is_exiting = True
        self._later(self._world.random.uniform(0.001, 0.1), lambda: self.die(ExitReason.FINISHED))

    def stop(self) -> None:
        """Cancel what runs and end, unless the exit handlers hang: then it has to be killed."""
        self._waiting.clear()
        self._running.clear()
        if self._world.random.random() < 0.8:
            self.exit()

    def die(self, reason: ExitReason) -> None:
        """The process is gone."""
        if self.alive:
            self.alive = False
            if reason is not ExitReason.KILLED:
                self._world.note_death(each.key for each in self.held())
            self.link.drop()
            self._node.lost(self, reason)

    def held(self) -> tuple[Held, ...]:
        """What it would name in a hello, by key: outputs not acknowledged, what runs, what waits."""
        all_of_it = [*self._kept, *self._running.values(), *self._waiting]
        return tuple(Held(key, attempt) for key, attempt in dict(all_of_it).items())

    def hang_up(self, pause_s: float) -> None:
        """Lose the connection, and look for the server again after a pause."""
        self.link.drop()
        self._later(pause_s, self._reconnect)

    def _reconnect(self) -> None:
        server = self._world.server
        if server is None or not server.expects(self._node.id):
            self._later(RETRY_S, self._reconnect)
        elif not self.link.up:
            self.link.restore()
            if self._is_up:
                self._hello()

    def _hello(self) -> None:
        self._unsent.clear()
        self._tell(ContainerReady(self.id, self.held(), self._is_loaded))
        if self._kept:
            self._tell(OutputsArrived(self.id, tuple(self._kept.values())))

    def _booted(self) -> None:
        if self._world.random.random() < self.function.start_crashes / 2:
            self.die(ExitReason.CRASHED)
            return
        self._is_up = True
        if self.link.up:
            self._hello()

    def _load(self) -> None:
        if self._world.random.random() < self.function.start_crashes / 2:
            self.die(ExitReason.CRASHED)
        elif self.function.broken:
            self._tell(StartFailed(self.id, "ModuleNotFoundError: No module named 'nonsense'"))
        else:
            self._is_loaded = True
            self._tell(ContainerLoaded(self.id))

    def _begin(self) -> None:
        while self._waiting and len(self._running) < self.function.spec.slots:
            run = self._waiting.popleft()
            self._running[run.key] = run
            fate = self._world.fate(run.key)
            run_s = SPECIAL_S.get(fate, self._world.random.uniform(*self.function.run_s))
            dies = fate == "poison" or self._world.random.random() < self.function.crashes
            self._later(run_s, partial(self._finish, run, run_s, dies))

    def _finish(self, run: Dispatch, run_s: float, dies: bool) -> None:
        if self._running.get(run.key) is not run:  # it was cancelled
            return
        if dies:
            self.die(ExitReason.OOM if self._world.random.random() < 0.4 else ExitReason.CRASHED)
            return
        del self._running[run.key]
        self._answer(run, run_s, self._world.random.random() >= self.function.fails)
        self._begin()

    def _answer(self, run: Dispatch, run_s: float, ok: bool) -> None:
        output = self._kept[run] = Output(run.key, run.attempt, ok, run_s)
        if not self._unsent:
            self._later(BATCH_S, self._flush)
        self._unsent.append(output)

    def _flush(self) -> None:
        if self._unsent and self.link.up:
            self._tell(OutputsArrived(self.id, tuple(self._unsent)))
            self._unsent.clear()

    def _later(self, delay_s: float, deed: Callable[[], None]) -> None:
        self._world.timeline.after(delay_s, lambda: deed() if self.alive else None)

    def _tell(self, event: Event) -> None:
        server = self._world.server
        if server is not None:
            self.link.to_server(lambda: server.tell(event))


class FakeNode:
    """A machine that starts containers and says when they end."""

    def __init__(
        self, world: Surroundings, node: str, cpus: float, memory_mib: int, devices: tuple[Device, ...] = ()
    ) -> None:
        self.id = node
        self.cpus = cpus
        self.memory_mib = memory_mib
        self.devices = devices
        self.containers: dict[str, FakeContainer] = {}
        self.link = Link(world.timeline, world.random)
        self._world = world
        self._joined = -1  # over which epoch of the link

    def start(self, container: str, function: Function, devices: tuple[str, ...] = ()) -> None:
        """Start a container. Its GPUs must be there, and nobody's."""
        held = {device for each in self.containers.values() for device in each.devices}
        if not {each.id for each in self.devices} - held >= set(devices):
            raise AssertionError(f"{container} was given {devices}, of which {held & set(devices)} are held")
        self.containers[container] = FakeContainer(self._world, self, container, function, devices)
        self.containers[container].boot()

    def kill(self, container: str) -> None:
        """End one at once; one that is not there has ended already, and that was said."""
        if container in self.containers:
            self.containers[container].die(ExitReason.KILLED)

    def lost(self, container: FakeContainer, reason: ExitReason) -> None:
        """One of its containers ended."""
        del self.containers[container.id]
        self._tell(ContainerExited(container.id, reason, f"it was {reason.value}"))

    def join(self) -> None:
        """Find the server, and say what is here."""
        if self._world.server is None:
            self._world.timeline.after(RETRY_S, self.join)
            return
        if self._joined == self.link.epoch:
            return
        self._joined = self.link.epoch
        self.link.restore()
        reported = tuple(
            Reported(each.id, each.function.spec.id, each.function.spec.generation, each.devices)
            for each in self.containers.values()
        )
        self._tell(NodeJoined(self.id, self.cpus, self.memory_mib, reported, self.devices))

    def crash(self) -> None:
        """The machine goes down with everything on it."""
        self.link.drop()
        for container in list(self.containers.values()):
            container.die(ExitReason.NODE_LOST)

    def _tell(self, event: Event) -> None:
        server = self._world.server
        if server is not None:
            self.link.to_server(lambda: server.tell(event))
