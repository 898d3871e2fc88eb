"""What does the core do about exactly these events? Drives one core by hand, or with containers that never fail."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush

from modicum.server.core import invariants
from modicum.server.core.actions import (
    Action,
    Dispatch,
    DrainContainer,
    KillContainer,
    Send,
    StartContainer,
    StopContainer,
    TakeBack,
)
from modicum.server.core.events import (
    ContainerExited,
    ContainerReady,
    Event,
    ExitReason,
    FunctionAdded,
    FunctionSpec,
    InputsTakenBack,
    NodeJoined,
    Output,
    OutputsArrived,
    Recovered,
    Tick,
)
from modicum.server.core.state import State

TICKS_MAX = 10_000
"""A core that wants to be woken so often is going round in circles."""


class Driver:
    """A core with its clock. Invariants are checked after every event. Time goes forward only."""

    def __init__(self, make: Callable[[str], State] = State, check: Callable[[State], None] = invariants.check) -> None:
        self.state = make("t")
        self.now = 0.0
        self._check = check

    def feed(self, event: Event, at: float | None = None) -> list[Action]:
        """Let something happen, now or at a later time; returns what the core makes of it."""
        self.now = self.now if at is None else at
        actions = self.state.handle(event, self.now)
        self._check(self.state)
        return actions

    def wait(self, until: float) -> list[Action]:
        """Let time pass, with a tick at each deadline; returns all that the core does meanwhile."""
        actions: list[Action] = []
        for _ in range(TICKS_MAX):
            due = self.state.next_deadline()
            if due is None or due > until:
                self.now = until
                return actions
            actions += self.feed(Tick(), max(due, self.now))
        raise AssertionError(f"at {self.now} s the core still wants to be woken")

    def open(self, *specs: FunctionSpec, cpus: float = 4.0, memory_mib: int = 8192) -> list[Action]:
        """Begin a server's usual life: one node "n", these functions, recovered."""
        self.feed(NodeJoined("n", cpus, memory_mib))
        for spec in specs:
            self.feed(FunctionAdded(spec))
        return self.feed(Recovered())

    def end(
        self, container: str, *inputs: tuple[str, int], run_s: float = 0.01, at: float | None = None
    ) -> list[Action]:
        """Inputs, as (key, attempt), end in a container."""
        return self.feed(
            OutputsArrived(container, tuple(Output(key, attempt, True, run_s) for key, attempt in inputs)), at
        )


class Play:
    """Containers that never fail and links that take no time: how long does work take as the core deals it out?"""

    def __init__(self, driver: Driver, run_s: Callable[[str], float], start_s: float = 0.05) -> None:
        self.driver = driver
        self.ended: dict[str, float] = {}  # key → when
        self.actions: list[tuple[float, Action]] = []
        self._run_s = run_s
        self._start_s = start_s
        self._slots: dict[str, int] = {}
        self._loads: dict[str, list[Dispatch]] = {}  # the first of them run, as many as there are slots
        self._begun: dict[str, set[str]] = {}
        self._planned: list[tuple[float, int, Event]] = []
        self._count = 0

    def run(self, *events: Event, until: float = 1000.0) -> None:
        """Let these happen now, and then whatever follows."""
        for event in events:
            self.follow(self.driver.feed(event))
        for _ in range(TICKS_MAX):
            due = self.driver.state.next_deadline()
            event_at = self._planned[0][0] if self._planned else None
            times = [time for time in (due, event_at) if time is not None]
            if not times or min(times) > until:
                return
            self.driver.now = max(self.driver.now, min(times))
            if event_at is not None and event_at <= self.driver.now:
                self._happen(heappop(self._planned)[2])
            else:
                self.follow(self.driver.feed(Tick()))
        raise AssertionError(f"at {self.driver.now} s it still goes on")

    def follow(self, actions: list[Action]) -> None:
        """Do what the core has asked for."""
        for action in actions:
            self.actions.append((self.driver.now, action))
            self._perform(action)

    def _happen(self, event: Event) -> None:
        if isinstance(event, OutputsArrived):
            key, begun = event.outputs[0].key, self._begun[event.container]
            if key not in begun:
                return  # the container was killed
            begun.discard(key)
            self._loads[event.container] = [each for each in self._loads[event.container] if each.key != key]
            self.ended[key] = self.driver.now
            self._begin(event.container)
        self.follow(self.driver.feed(event))

    def _perform(self, action: Action) -> None:
        match action:
            case StartContainer(container, function):
                self._slots[container] = self.driver.state.pools[function].spec.slots
                self._loads[container], self._begun[container] = [], set()
                self._plan(self._start_s, ContainerReady(container))
            case Send(container, inputs):
                self._loads[container] += inputs
                self._begin(container)
            case TakeBack(container, count):
                waiting = [each for each in self._loads[container] if each.key not in self._begun[container]]
                given = [each.key for each in waiting[::-1][:count]]
                self._loads[container] = [each for each in self._loads[container] if each.key not in given]
                self._plan(0.0, InputsTakenBack(container, tuple(given)))
            case DrainContainer(container):
                self._plan(0.0, ContainerExited(container, ExitReason.FINISHED, ""))
            case KillContainer(container) | StopContainer(container):
                self._loads[container].clear()
                self._begun[container].clear()
                self._plan(0.0, ContainerExited(container, ExitReason.KILLED, ""))
            case _:
                pass

    def _begin(self, container: str) -> None:
        for run in self._loads[container][: self._slots[container]]:
            if run.key not in self._begun[container]:
                self._begun[container].add(run.key)
                run_s = self._run_s(run.key)
                self._plan(run_s, OutputsArrived(container, (Output(run.key, run.attempt, True, run_s),)))

    def _plan(self, delay_s: float, event: Event) -> None:
        self._count += 1
        heappush(self._planned, (self.driver.now + delay_s, self._count, event))
