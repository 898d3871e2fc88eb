"""Does the core keep its promises whatever happens? A whole control plane of fakes, on virtual time, from a seed.

`simulate(seed)` draws functions, machines, calls and misfortunes: crashes, slow starts, lost connections and machines,
restarted servers. Invariants and an independent observer look at every step. Then the world calms down, and every input
must have ended exactly once and every function be back at its minimum.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from modicum.server.core import invariants
from modicum.server.core.actions import (
    Accept,
    Action,
    CancelInputs,
    DrainContainer,
    FailInputs,
    Failure,
    KillContainer,
    Send,
    StartContainer,
    TakeBack,
)
from modicum.server.core.events import (
    ContainerReady,
    Event,
    ExitReason,
    FunctionAdded,
    FunctionSpec,
    InputsArrived,
    InputsCancelled,
    NodeJoined,
    NodeLeft,
    OutputsArrived,
    Recovered,
    Tick,
)
from modicum.server.core.records import ContainerView
from modicum.server.core.state import State

from .sim_fakes import FakeContainer, FakeNode, Function
from .sim_observer import Misjudgement, Observer
from .sim_timeline import Timeline

BUSY_S = 8.0
"""For so long calls arrive and misfortunes happen."""

CALM_S = 600.0
"""By then everything must have ended: the work of the largest seed, one after the other, and all back-offs."""


class Core(Protocol):
    """What is simulated: the real `State`, or a mutant of it."""

    def handle(self, event: Event, now: float) -> list[Action]:
        """What shall be done."""

    def next_deadline(self) -> float | None:
        """When to tick."""

    def containers(self) -> Iterable[ContainerView]:
        """What it believes to be there."""


@dataclass
class Outcome:
    """How a simulation went, in numbers."""

    events: int = 0
    restarts: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    actions: Counter[str] = field(default_factory=Counter)


class FakeServer:
    """A controller that performs what its core decides, by way of links that may be broken."""

    def __init__(self, world: World, core: Core) -> None:
        self.core = core
        self.alive = True
        self._world = world
        self._observer = Observer({name: each.spec for name, each in world.functions.items()})
        self._sessions: dict[str, int] = {}  # node or container → the epoch of the link on which it said hello
        self._tick_at: float | None = None

    def expects(self, node: str) -> bool:
        """Whether the node has joined over the link that it has now."""
        return self._sessions.get(node) == self._world.nodes[node].link.epoch

    def tell(self, event: Event) -> None:
        """Have the core handle an event; do what it says; plan its next tick."""
        if not self.alive:
            return
        world = self._world
        match event:
            case NodeJoined(node):
                self._sessions[node] = world.nodes[node].link.epoch
            case ContainerReady(container, held):
                agent = world.find(container)
                self._sessions[container] = agent.link.epoch if agent is not None else -1
                event = ContainerReady(container, tuple(each for each in held if each.key not in self._observer.ended))
            case _:
                pass
        actions = self.core.handle(event, world.timeline.now)
        world.outcome.events += 1
        world.outcome.actions.update(type(action).__name__ for action in actions)
        self._observer.see(event, actions)
        world.check(self.core)
        for action in actions:
            self._perform(action)
        if isinstance(event, OutputsArrived):
            keys = [output.key for output in event.outputs]
            self._to_container(event.container, lambda agent: agent.acknowledge(keys))
        self._plan_tick()

    def _plan_tick(self) -> None:
        due = self.core.next_deadline()
        if due is None or (self._tick_at is not None and self._tick_at <= due):
            return
        timeline = self._world.timeline
        at = self._tick_at = max(due, timeline.now) + self._world.random.uniform(0.0, 0.001)

        def tick() -> None:
            if self._tick_at == at:
                self._tick_at = None
                self.tell(Tick())

        timeline.after(at - timeline.now, tick)

    def _perform(self, action: Action) -> None:
        world = self._world
        match action:
            case StartContainer(container, function, node):
                to = world.nodes[node]
                self._to_node(to, lambda: to.start(container, world.functions[function]))
            case KillContainer(container):
                for each in world.nodes.values():
                    self._kill_on(each, container)
            case DrainContainer(container):
                self._to_container(container, lambda agent: agent.exit())
            case Send(container, inputs):
                self._to_container(container, lambda agent: agent.run(inputs))
            case TakeBack(container, count):
                self._to_container(container, lambda agent: agent.take_back(count))
            case CancelInputs(container, keys):
                self._to_container(container, lambda agent: agent.cancel(keys))
            case Accept(keys):
                world.end(keys, "accepted")
            case FailInputs(keys, failure):
                world.end(keys, failure.value)

    def _kill_on(self, node: FakeNode, container: str) -> None:
        self._to_node(node, lambda: node.kill(container))

    def _to_node(self, node: FakeNode, deed: Callable[[], None]) -> None:
        if self.expects(node.id):
            node.link.to_peer(deed)

    def _to_container(self, container: str, deed: Callable[[FakeContainer], None]) -> None:
        agent = self._world.find(container)
        if agent is not None and self._sessions.get(container) == agent.link.epoch:
            agent.link.to_peer(lambda: deed(agent) if agent.alive else None)


class World:
    """Functions, machines, callers and misfortunes, all drawn from one seed."""

    def __init__(self, seed: int, make: Callable[[str], Core], check: Callable[[Core], None]) -> None:
        self.random = Random(seed)
        self.timeline = Timeline()
        self.outcome = Outcome()
        self.check = check
        self.functions = {each.spec.id: each for each in _draw_functions(self.random)}
        self.nodes = {each.id: each for each in _draw_nodes(self, self.random)}
        self.server: FakeServer | None = None
        self.unended: dict[str, str] = {}  # key → function
        self._make = make
        self._fates: dict[str, str] = {}
        self._deaths: Counter[str] = Counter()
        self._felled: Counter[str] = Counter()  # containers that a misfortune ended, by function
        self._generation = 0

    def run(self) -> Outcome:
        """Let it all happen."""
        self._start_server()
        self._plan_calls()
        self._plan_misfortunes()
        self.timeline.run(BUSY_S)
        _demand(self.timeline.run(CALM_S, self._is_over), f"never ended: {sorted(self.unended)}")
        self.timeline.run(self.timeline.now + 20.0)
        self._demand_rest()
        return self.outcome

    def fate(self, key: str) -> str:
        """What running this input leads to."""
        return self._fates[key]

    def find(self, container: str) -> FakeContainer | None:
        """The container, if it is alive."""
        return next((node.containers[container] for node in self.nodes.values() if container in node.containers), None)

    def note_death(self, keys: Iterable[str]) -> None:
        """A container died holding these."""
        self._deaths.update(keys)

    def end(self, keys: Iterable[str], how: str) -> None:
        """Inputs ended; callers may have given some up, or, before the server restarted, have been told."""
        for key in keys:
            function = self.unended.pop(key, None)
            if function is not None:
                self.outcome.ended[how] += 1
                self._demand_plausible(key, how, self.functions[function])

    def _demand_plausible(self, key: str, how: str, function: Function) -> None:
        possible = {
            "accepted": self._fates[key] in {"ok", "slow"},
            Failure.TIMEOUT.value: self._fates[key] == "endless",
            Failure.CRASHED.value: self._deaths[key] > 3,
            Failure.START_FAILED.value: self._may_fail_to_start(function),
            Failure.IMPOSSIBLE.value: function.spec.memory_mib > 100_000,
        }
        _demand(possible.get(how, False), f"{key}, which is {self._fates[key]}, ended as {how}")

    def _may_fail_to_start(self, function: Function) -> bool:
        too_slow = function.start_s[1] > function.spec.startup_timeout_s
        return function.broken or function.start_crashes > 0 or too_slow or self._felled[function.spec.id] >= 3

    def _is_over(self) -> bool:
        return not self.unended and self.server is not None

    def _demand_rest(self) -> None:
        """Every function is back at its minimum, and the core and the machines agree on what is there."""
        assert self.server is not None
        believed = list(self.server.core.containers())
        there = {container for node in self.nodes.values() for container in node.containers}
        _demand({each.id for each in believed} == there, f"the core believes in {believed}, there are {there}")
        counts = Counter(each.function for each in believed)
        for name, function in self.functions.items():
            minimum = 0 if function.spec.memory_mib > 100_000 else function.spec.min_containers
            enough = counts[name] == minimum or (counts[name] == 0 and self._may_fail_to_start(function))
            _demand(enough, f"{name} has {counts[name]} containers at rest, not {minimum}")

    def _plan_calls(self) -> None:
        random = self.random
        for name, function in self.functions.items():
            for call in range(random.randint(1, 4)):
                count = random.choice((1, 3, 10, 30 if function.run_s[1] > 0.1 else 80))
                keys = tuple(f"fc-{name}{call}:{index}" for index in range(count))
                self._draw_fates(keys, function)
                at = random.uniform(0.0, BUSY_S)
                self.timeline.after(at, lambda name=name, keys=keys: self._call(name, keys))  # type: ignore[misc]
                if random.random() < 0.2:
                    some = tuple(random.sample(keys, random.randint(1, count)))
                    later = at + random.uniform(0.0, 2.0)
                    self.timeline.after(later, lambda name=name, some=some: self._cancel(name, some))  # type: ignore[misc]

    def _draw_fates(self, keys: Iterable[str], function: Function) -> None:
        for key in keys:
            self._fates[key] = "slow" if self.random.random() < function.slow else "ok"
            if self.random.random() < 0.01:
                self._fates[key] = self.random.choice(("endless", "poison"))

    def _call(self, function: str, keys: tuple[str, ...]) -> None:
        self.unended.update(dict.fromkeys(keys, function))
        if self.server is not None:
            self.server.tell(InputsArrived(function, keys))

    def _cancel(self, function: str, keys: tuple[str, ...]) -> None:
        wanted = tuple(key for key in keys if self.unended.get(key) == function)
        for key in wanted:
            del self.unended[key]
        self.outcome.ended["cancelled"] += len(wanted)
        if self.server is not None and wanted:
            self.server.tell(InputsCancelled(function, wanted))
            if self.random.random() < 0.2:
                self._call(function, wanted)

    def _plan_misfortunes(self) -> None:
        random = self.random
        for _ in range(random.choice((0, 2, 6, 12))):
            misfortune = random.choice(
                (self._crash_container, self._hang_up, self._hang_up, self._crash_node, self._flap, self._partition)
            )
            self.timeline.after(random.uniform(0.0, BUSY_S), misfortune)
        for _ in range(random.choice((0, 0, 1, 2))):
            self.timeline.after(random.uniform(0.5, BUSY_S), self._restart_server)

    def _some_container(self) -> FakeContainer | None:
        there = [container for node in self.nodes.values() for container in node.containers.values()]
        return self.random.choice(there) if there else None

    def _some_node(self) -> FakeNode:
        return self.random.choice(list(self.nodes.values()))

    def _crash_container(self) -> None:
        if (container := self._some_container()) is not None:
            self._felled[container.function.spec.id] += 1
            container.die(ExitReason.CRASHED)

    def _hang_up(self) -> None:
        if (container := self._some_container()) is not None:
            container.hang_up(self.random.uniform(0.001, 0.3))

    def _crash_node(self) -> None:
        node = self._some_node()
        node.crash()
        self._lose(node)

    def _flap(self) -> None:
        """The node's connection breaks and is there again before anybody has given it up."""
        node = self._some_node()
        node.link.drop()
        self.timeline.after(self.random.uniform(0.001, 0.2), node.join)

    def _partition(self) -> None:
        """The node is given up while it lives on, and comes back with what it runs."""
        node = self._some_node()
        node.link.drop()
        for container in node.containers.values():
            container.hang_up(0.01)
        self._lose(node)

    def _lose(self, node: FakeNode) -> None:
        server = self.server
        if server is not None:
            server.tell(NodeLeft(node.id, "its connection broke"))
        self.timeline.after(self.random.uniform(0.1, 2.0), node.join)

    def _restart_server(self) -> None:
        if self.server is None:
            return
        self.outcome.restarts += 1
        self.server.alive = False
        self.server = None
        for node in self.nodes.values():
            node.link.drop()
            for container in node.containers.values():
                container.hang_up(self.random.uniform(0.01, 0.3))
        self.timeline.after(self.random.uniform(0.01, 0.5), self._start_server)

    def _start_server(self) -> None:
        self._generation += 1
        server = self.server = FakeServer(self, self._make(f"{self._generation}-"))
        for each in self.functions.values():
            server.tell(FunctionAdded(each.spec))
        for node in self.nodes.values():
            self.timeline.after(self.random.uniform(0.0, 1.2), node.join)
        by_function: dict[str, list[str]] = {}
        for key, function in self.unended.items():
            by_function.setdefault(function, []).append(key)
        for function, keys in by_function.items():
            self.timeline.after(self.random.uniform(0.0, 1.5), self._resubmitter(server, function, keys))
        self.timeline.after(1.0, lambda: server.tell(Recovered()))

    def _resubmitter(self, server: FakeServer, function: str, keys: list[str]) -> Callable[[], None]:
        def resubmit() -> None:
            still = tuple(key for key in keys if self.unended.get(key) == function)
            if still:
                server.tell(InputsArrived(function, still))

        return resubmit


def simulate(
    seed: int,
    make: Callable[[str], Core] = State,
    check: Callable[[Core], None] = invariants.check,  # type: ignore[assignment]
) -> Outcome:
    """Run the world of this seed to its end. Raises what was violated, with the seed in a note."""
    try:
        return World(seed, make, check).run()
    except Exception as error:
        error.add_note(f"simulate(seed={seed})")
        raise


def _draw_functions(random: Random) -> Iterable[Function]:
    for number in range(random.randint(1, 4)):
        longest_s = random.choice((0.0003, 0.004, 0.02, 0.2, 0.8))
        minimum = random.choice((0, 0, 1))
        impossible = random.random() < 0.05
        yield Function(
            FunctionSpec(
                id=f"fu-{number}",
                app="ap-1",
                cpu=random.choice((0.125, 0.5, 1.0, 64.0)) if not minimum else 0.125,
                memory_mib=1_000_000 if impossible else random.choice((128, 512)),
                min_containers=minimum,
                max_containers=random.choice((None, None, 1, 2, 5)),
                scaledown_window_s=random.choice((2.0, 5.0)),
                timeout_s=random.choice((3.0, 5.0)),
                startup_timeout_s=3.0,
            ),
            run_s=(longest_s / random.choice((1, 3, 100)), longest_s),
            start_s=random.choice(((0.03, 0.05), (0.05, 0.6), (0.1, 3.2))),
            slow=random.choice((0.0, 0.02)),
            crashes=random.choice((0.0, 0.0, 0.01)),
            start_crashes=random.choice((0.0, 0.0, 0.0, 0.3)),
            broken=not minimum and random.random() < 0.05,
            heeds_cancel=random.random() < 0.5,
        )


def _draw_nodes(world: World, random: Random) -> Iterable[FakeNode]:
    for number in range(random.choice((1, 1, 2, 3))):
        yield FakeNode(world, f"node-{number}", random.choice((1.0, 2.0, 4.0)), random.choice((2048, 8192)))


def _demand(holds: bool, complaint: str) -> None:
    if not holds:
        raise Misjudgement(complaint)
