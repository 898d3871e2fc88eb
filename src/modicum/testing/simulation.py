"""Does the core keep its promises whatever happens? A whole control plane of fakes, on virtual time, from a seed.

`simulate(seed)` draws functions, machines, calls and misfortunes: crashes, slow starts, lost connections and machines,
restarted servers. Invariants and an independent observer look at every step. Then the world calms down, and every input
must have ended exactly once and every function be back at its minimum.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from random import Random
from typing import Protocol

from modicum.server.core import invariants
from modicum.server.core.actions import (
    Accept,
    Action,
    CancelInputs,
    Dispatch,
    DrainContainer,
    FailInputs,
    Failure,
    KillContainer,
    LoadInputs,
    RetryInputs,
    Send,
    StartContainer,
    StopContainer,
    TakeBack,
)
from modicum.server.core.events import (
    BacklogChanged,
    ContainerReady,
    Event,
    ExitReason,
    FunctionAdded,
    InputsArrived,
    InputsCancelled,
    NodeJoined,
    NodeLeft,
    OutputsArrived,
    Recovered,
    StopRequested,
    Tick,
)
from modicum.server.core.records import ContainerView
from modicum.server.core.state import State

from .sim_draws import draw_functions, draw_nodes
from .sim_fakes import FakeContainer, FakeNode, Function
from .sim_observer import Misjudgement, Observer
from .sim_timeline import Timeline

BUSY_S = 8.0
"""For so long calls arrive and misfortunes happen."""

CALM_S = 1800.0
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
                held = tuple(each for each in held if each.key not in self._observer.ended)
                event = ContainerReady(container, held, event.loaded)
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
            ended = [Dispatch(output.key, output.attempt) for output in event.outputs]
            self._to_container(event.container, lambda agent: agent.acknowledge(ended))
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
            case StartContainer(container, function, node, _, devices):
                to, definition = world.nodes[node], world.functions[function]
                self._to_node(to, lambda: to.start(container, definition, devices))
            case KillContainer(container):
                for each in world.nodes.values():
                    self._kill_on(each, container)
            case DrainContainer(container):
                self._to_container(container, lambda agent: agent.exit())
            case StopContainer(container):
                self._to_container(container, lambda agent: agent.stop())
            case LoadInputs(function, count):
                self._world.timeline.after(0.003, lambda: self._load(function, count))
            case _:
                self._perform_on_inputs(action)

    def _perform_on_inputs(self, action: Action) -> None:
        match action:
            case Send(container, inputs):
                self._to_container(container, lambda agent: agent.run(inputs))
            case TakeBack(container, count):
                self._to_container(container, lambda agent: agent.take_back(count))
            case CancelInputs(container, keys):
                self._to_container(container, lambda agent: agent.cancel(keys))
            case RetryInputs(entries):
                self._world.failures.update({entry.key: entry.failures for entry in entries})
            case Accept(keys):
                self._world.end(keys, "accepted")
            case FailInputs(keys, failure):
                self._world.end(keys, failure.value)
            case _:
                pass

    def _load(self, function: str, count: int) -> None:
        """Inputs come from the store; what has ended since is not there any more."""
        if not self.alive:
            return
        stored = self._world.stored[function]
        keys = tuple(stored[: min(count, self._world.random.choice((1, 5, 1000)))])
        del stored[: len(keys)]
        keys = tuple(key for key in keys if key in self._world.unended)
        if keys:
            self.tell(InputsArrived(function, keys, tuple(self._world.failures[key] for key in keys)))
        self.tell(BacklogChanged(function, len(stored)))

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
        self.functions = {each.spec.id: each for each in draw_functions(self.random)}
        self.nodes = {each.id: each for each in draw_nodes(self, self.random)}
        self.server: FakeServer | None = None
        self.unended: dict[str, str] = {}  # key → function
        self.stored: dict[str, list[str]] = {name: [] for name in self.functions}  # those that no server was given yet
        self.failures: Counter[str] = Counter()
        self._make = make
        self._fates: dict[str, str] = {}
        self._durable: set[str] = set()
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
        self.timeline.run(self.timeline.now + 40.0)
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
            Failure.CRASHED.value: self._deaths[key] > 2,  # of four, one may have come while it was on its way there
            Failure.OOM.value: self._deaths[key] > 0,
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
        old = [each for node in self.nodes.values() for each in node.containers.values() if self._is_old(each)]
        _demand(not old, f"{old} are of an old generation, at rest")

    def _is_old(self, container: FakeContainer) -> bool:
        return container.function.spec.generation != self.functions[container.function.spec.id].spec.generation

    def _plan_calls(self) -> None:
        random = self.random
        for name, function in self.functions.items():
            for call in range(random.randint(1, 4)):
                count = random.choice((1, 3, 10, 30 if function.run_s[1] > 0.1 else 80))
                keys = tuple(f"fc-{name}{call}:{index}" for index in range(count))
                self._draw_fates(keys, function)
                at = random.uniform(0.0, BUSY_S)
                begin = self._spawn if random.random() < 0.3 else self._call
                self.timeline.after(at, partial(begin, name, keys))
                if random.random() < 0.2:
                    some = tuple(random.sample(keys, random.randint(1, count)))
                    later = at + random.uniform(0.0, 2.0)
                    self.timeline.after(later, partial(self._cancel, name, some))

    def _draw_fates(self, keys: Iterable[str], function: Function) -> None:
        for key in keys:
            self._fates[key] = "slow" if self.random.random() < function.slow else "ok"
            if self.random.random() < 0.01:
                self._fates[key] = self.random.choice(("endless", "poison"))

    def _call(self, function: str, keys: tuple[str, ...]) -> None:
        self.unended.update(dict.fromkeys(keys, function))
        if self.server is not None:
            self.server.tell(InputsArrived(function, keys))

    def _spawn(self, function: str, keys: tuple[str, ...]) -> None:
        """These go to the store first."""
        self.unended.update(dict.fromkeys(keys, function))
        self._durable.update(keys)
        self.stored[function] += keys
        if self.server is not None:
            self.server.tell(BacklogChanged(function, len(self.stored[function])))

    def _cancel(self, function: str, keys: tuple[str, ...]) -> None:
        wanted = tuple(key for key in keys if self.unended.get(key) == function)
        for key in wanted:
            del self.unended[key]
        self.outcome.ended["cancelled"] += len(wanted)
        if self.server is not None and wanted:
            self.server.tell(InputsCancelled(function, wanted))
            left = [key for key in self.stored[function] if key not in wanted]
            if len(left) < len(self.stored[function]):
                self.stored[function] = left
                self.server.tell(BacklogChanged(function, len(left)))
            if self.random.random() < 0.2:
                self._call(function, wanted)

    def _plan_misfortunes(self) -> None:
        random = self.random
        for _ in range(random.choice((0, 2, 6, 12))):
            misfortune = random.choice(
                (
                    self._crash_container, self._hang_up, self._hang_up, self._crash_node, self._flap, self._partition,
                    self._stop_container,
                )
            )  # fmt: skip
            self.timeline.after(random.uniform(0.0, BUSY_S), misfortune)
        for _ in range(random.choice((0, 0, 1, 3))):
            self.timeline.after(random.uniform(0.0, BUSY_S), self._deploy)
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

    def _stop_container(self) -> None:
        if (container := self._some_container()) is not None and self.server is not None:
            self.server.tell(StopRequested(container.id, self.random.random() < 0.5))

    def _deploy(self) -> None:
        """A function gets another definition."""
        name = self.random.choice(list(self.functions))
        before = self.functions[name]
        spec = replace(
            before.spec,
            generation=before.spec.generation + 1,
            exits=self.random.random() < 0.3,
            max_containers=self.random.choice((before.spec.max_containers, 1, 3)),
        )
        self.functions[name] = replace(before, spec=spec)
        if self.server is not None:
            self.server.tell(FunctionAdded(spec, self.random.random() < 0.3))

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
        for name, each in self.functions.items():
            server.tell(FunctionAdded(each.spec))
            self.stored[name] = [key for key, of in self.unended.items() if of == name and key in self._durable]
            server.tell(BacklogChanged(name, len(self.stored[name])))
        for node in self.nodes.values():
            self.timeline.after(self.random.uniform(0.0, 1.2), node.join)
        by_function: dict[str, list[str]] = {}
        for key, function in self.unended.items():
            if key in self._durable:
                continue
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


def _demand(holds: bool, complaint: str) -> None:
    if not holds:
        raise Misjudgement(complaint)
