"""Did the core decide well? An independent book-keeper that sees only events and actions, and trusts nothing inside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import ceil

from modicum.server.core.actions import (
    Accept,
    Action,
    CancelInputs,
    DrainContainer,
    FailInputs,
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
    ContainerExited,
    ContainerLoaded,
    ContainerReady,
    Event,
    FunctionAdded,
    FunctionSpec,
    InputsArrived,
    InputsCancelled,
    InputsTakenBack,
    NodeJoined,
    NodeLeft,
    Output,
    OutputsArrived,
    Recovered,
    StopRequested,
)

MAY_UNDERCUT = (
    "another function needs its place",
    "a newer version",
    "it was",
    "it is used once",
    "max_",
)
"""How the reasons begin for which containers go although their function has no more than its minimum."""

LIVE = frozenset({"starting", "adopted", "loading", "ready"})
"""Phases of containers that work, or will."""


class Misjudgement(AssertionError):
    """The core asked for something that it must not ask for, or did not ask for what it must."""


@dataclass
class Seen:
    """A container, as events and actions show it; `out` is what it was sent and has not answered, by attempt."""

    function: str
    node: str
    phase: str
    generation: int
    out: dict[str, int] = field(default_factory=dict)
    void: set[str] = field(default_factory=set)  # cancelled there: their outputs must not count
    leaves: bool = False  # it was asked to go after what it runs
    uses: int = 0  # inputs that it was ever sent
    devices: tuple[str, ...] = ()


class Observer:
    """Follows one server from its start to its end."""

    def __init__(self, specs: Mapping[str, FunctionSpec]) -> None:
        self.specs = dict(specs)
        self.containers: dict[str, Seen] = {}
        self.ended: set[str] = set()
        self._nodes: dict[str, NodeJoined] = {}
        self._wanted: dict[str, str] = {}  # key → function
        self._attempts: dict[str, int] = {}
        self._failures: dict[str, int] = {}
        self._backlog: dict[str, int] = {}
        self._past: set[tuple[str, str, int]] = set()  # attempts that have failed where, and are repeated
        self._asked: set[str] = set()  # functions more of whose inputs are on their way from the store
        self._measured: dict[str, int] = {}
        self._recovered = False

    def see(self, event: Event, actions: list[Action]) -> None:
        """Take in an event and what the core made of it; raise `Misjudgement` when that is wrong."""
        try:
            accepted, retried = self._absorb(event)
            given = tuple(key for action in actions if isinstance(action, Accept) for key in action.keys)
            _demand(given == accepted, "not these outputs should have been accepted")
            again = [entry.key for action in actions if isinstance(action, RetryInputs) for entry in action.entries]
            if isinstance(event, OutputsArrived):
                _demand(again[: len(retried)] == retried, "not these inputs should have been retried")
            for action in actions:
                self._judge(action)
            sent = [action.container for action in actions if isinstance(action, Send)]
            _demand(len(sent) == len(set(sent)), "several messages to one container")
            _demand(self._recovered or not sent, "inputs were sent before the nodes had reported")
        except Misjudgement as error:
            error.add_note(f"{event}\n→ {actions}")
            raise

    def _absorb(self, event: Event) -> tuple[tuple[str, ...], list[str]]:
        """Keep the books; returns which outputs must be accepted now, and which inputs retried."""
        match event:
            case Recovered():
                self._recovered = True
            case FunctionAdded(spec):
                self.specs[spec.id] = spec
            case InputsArrived():
                self._arrived(event)
            case BacklogChanged(function, count):
                self._backlog[function] = count
                self._asked.discard(function)
            case InputsCancelled(_, keys):
                self._cancelled(keys)
            case OutputsArrived(container) if container in self.containers:
                return self._outputs(event)
            case NodeJoined():
                self._node_joined(event)
            case NodeLeft(node):
                self._nodes.pop(node, None)
                self.containers = {name: seen for name, seen in self.containers.items() if seen.node != node}
            case _:
                self._follow(event)
        return (), []

    def _follow(self, event: Event) -> None:
        """Something happened to a container."""
        seen = self.containers.get(getattr(event, "container", ""))
        if seen is None:
            return
        match event:
            case ContainerReady():
                self._ready(event)
            case ContainerLoaded() if seen.phase in LIVE:
                seen.phase = "ready"
            case StopRequested(_, graceful):
                seen.leaves |= graceful
            case InputsTakenBack(_, keys):
                for key in keys:
                    seen.out.pop(key, None)
            case ContainerExited(container):
                del self.containers[container]
            case _:
                pass

    def _arrived(self, event: InputsArrived) -> None:
        for place, key in enumerate(event.keys):
            is_void = any(key in seen.void for seen in self.containers.values())
            if key not in self._wanted or is_void:
                self._failures[key] = event.failures[place] if event.failures and not is_void else 0
            self._wanted[key] = event.function
        self.ended.difference_update(event.keys)

    def _cancelled(self, keys: Iterable[str]) -> None:
        for key in keys:
            self._wanted.pop(key, None)
            holders = [seen for seen in self.containers.values() if key in seen.out]
            for seen in holders:
                seen.void.add(key)
            if not holders:  # it is forgotten; should it come again, it is a new one
                self._attempts.pop(key, None)
                self._failures.pop(key, None)

    def _ready(self, event: ContainerReady) -> None:
        seen = self.containers[event.container]
        if seen.phase in LIVE - {"ready"}:
            seen.phase = "ready" if event.loaded else "loading"
        if seen.phase == "ready":
            past = {key for key, attempt in event.held if (event.container, key, attempt) in self._past}
            seen.out = {each.key: each.attempt for each in event.held if each.key not in past}
            seen.void &= seen.out.keys()

    def _outputs(self, event: OutputsArrived) -> tuple[tuple[str, ...], list[str]]:
        seen = self.containers[event.container]
        accepted, retried = [], []
        for output in event.outputs:
            if seen.out.get(output.key) != output.attempt:
                continue
            del seen.out[output.key]
            if output.key in seen.void:
                seen.void.discard(output.key)
                self._past.add((event.container, output.key, output.attempt))
                continue
            self._measured[seen.function] = self._measured.get(seen.function, 0) + 1
            if self._is_final(seen, output):
                accepted.append(output.key)
                self._wanted.pop(output.key, None)
            elif output.key in self._wanted:
                retried.append(output.key)
                self._past.add((event.container, output.key, output.attempt))
        return tuple(accepted), retried

    def _is_final(self, seen: Seen, output: Output) -> bool:
        retries = self.specs[seen.function].retries
        return output.ok or retries is None or self._failures.get(output.key, 0) >= retries.max_retries

    def _node_joined(self, event: NodeJoined) -> None:
        self._nodes[event.node] = event
        reported = {each.container for each in event.containers}
        for name in [name for name, seen in self.containers.items() if seen.node == event.node]:
            if name not in reported:
                del self.containers[name]
        for each in event.containers:
            if each.function in self.specs:
                adopted = Seen(each.function, event.node, "adopted", each.generation, devices=each.devices)
                self.containers.setdefault(each.container, adopted)

    def _judge(self, action: Action) -> None:
        match action:
            case StartContainer():
                self._judge_start(action)
            case Send():
                self._judge_send(action)
            case DrainContainer(container, reason):
                self._judge_drain(container, reason)
            case KillContainer(container, reason) | StopContainer(container, reason):
                _demand(bool(reason), "ended without a reason")
                if (seen := self.containers.get(container)) is not None:
                    seen.phase = "killed"
                    seen.out.clear()
            case _:
                self._judge_inputs(action)

    def _judge_inputs(self, action: Action) -> None:
        match action:
            case RetryInputs():
                self._judge_retries(action)
            case LoadInputs(function, count):
                _demand(0 < count <= self._backlog.get(function, 0), f"{action}: there are not so many")
                _demand(function not in self._asked, f"{action}: it was asked for already")
                self._asked.add(function)
            case TakeBack(container, count):
                _demand(0 < count < len(self.containers[container].out), f"{action}: it does not have so many")
            case CancelInputs(container, keys):
                _demand(set(keys) <= self.containers[container].out.keys(), f"{action}: it does not have them")
            case Accept(keys):
                self._end(keys)
            case FailInputs(keys, _, message):
                _demand(bool(message), f"{action}: failed without a word")
                self._end(keys)
                for key in keys:
                    self._wanted.pop(key, None)
                    for seen in self.containers.values():
                        seen.out.pop(key, None)

    def _end(self, keys: Iterable[str]) -> None:
        for key in keys:
            _demand(key not in self.ended, f"{key} ended twice")
            self.ended.add(key)

    def _judge_start(self, action: StartContainer) -> None:
        spec, node = self.specs[action.function], self._nodes.get(action.node)
        _demand(self._recovered, f"{action}: before the nodes had reported")
        _demand(node is not None, f"{action}: no such node")
        assert node is not None
        _demand(bool(action.reason), f"{action}: without a reason")
        _demand(action.container not in self.containers, f"{action}: the id is taken")
        self._judge_devices(action, spec, node)
        self.containers[action.container] = Seen(
            action.function, action.node, "starting", spec.generation, devices=action.devices
        )
        there = [self.specs[seen.function] for seen in self.containers.values() if seen.node == action.node]
        _demand(sum(min(each.cpu, node.cpus) for each in there) <= node.cpus + 1e-6, f"{action}: more CPUs than it has")
        _demand(sum(each.memory_mib for each in there) <= node.memory_mib, f"{action}: more memory than it has")
        mine = [seen for seen in self.containers.values() if seen.function == action.function]
        _demand(spec.max_containers is None or len(mine) <= spec.max_containers, f"{action}: above max_containers")
        live = sum(seen.phase in LIVE for seen in mine)
        known = {key for key, function in self._wanted.items() if function == action.function}
        count = len(known.union(*(seen.out for seen in mine))) + self._backlog.get(action.function, 0)
        busy = sum(bool(seen.out) for seen in mine)
        useful = max(spec.min_containers, ceil(count / spec.aim) + (busy if spec.slots > 1 else 0))
        useful += spec.buffer_containers if count else 0
        fresh = sum(seen.phase in LIVE and seen.generation == spec.generation for seen in mine)
        takes_over = fresh == 1 < live  # all others are of an old generation
        _demand(live <= useful or takes_over, f"{action}: {live} containers for {count} inputs")
        starting = sum(seen.phase == "starting" for seen in self.containers.values())
        most = max(1, ceil(2 * sum(each.cpus for each in self._nodes.values())))
        _demand(starting <= most, f"{action}: {starting} start at once")

    def _judge_devices(self, action: StartContainer, spec: FunctionSpec, node: NodeJoined) -> None:
        """It gets what it asked for, whole, and nothing that another has."""
        there = {each.id: each.type for each in node.devices}
        held = {device for seen in self.containers.values() if seen.node == action.node for device in seen.devices}
        _demand(set(action.devices) <= there.keys() - held, f"{action}: it is given what another has, or nobody")
        kinds = {there[each] for each in action.devices}
        count = len(set(action.devices))
        fulfilled = [wish for wish in spec.gpus if wish.number == count and kinds == {wish.type or min(kinds)}]
        _demand(bool(fulfilled) if spec.gpus else not action.devices, f"{action}: it asked for {spec.gpus}")
        if fulfilled and not any(seen.node == action.node for seen in self.containers.values()):
            free = Counter(there.values())  # nothing else can have stood in the way
            better = spec.gpus[: spec.gpus.index(fulfilled[0])]
            missed = [wish for wish in better if free[wish.type or ""] >= wish.number]
            _demand(not missed, f"{action}: {missed} was free and comes first")

    def _judge_retries(self, action: RetryInputs) -> None:
        for key, failures, delay_s in action.entries:
            _demand(key in self._wanted, f"{action}: nobody wants {key}")
            retries = self.specs[self._wanted[key]].retries
            assert retries is not None
            _demand(failures == self._failures.get(key, 0) + 1, f"{action}: {key} has not failed so often")
            _demand(failures <= retries.max_retries, f"{action}: {key} was to be given up")
            _demand(0 <= delay_s <= retries.max_delay_s, f"{action}: it waits too long")
            self._failures[key] = failures
            for name, seen in self.containers.items():
                if key in seen.out:
                    self._past.add((name, key, seen.out.pop(key)))

    def _judge_send(self, action: Send) -> None:
        seen = self.containers.get(action.container)
        _demand(seen is not None and seen.phase == "ready", "sent to one that is not ready")
        assert seen is not None
        _demand(len(action.inputs) > 0, "sent nothing")
        for key, attempt in action.inputs:
            _demand(self._wanted.get(key) == seen.function, "sent something that does not wait for it")
            _demand(not any(key in other.out for other in self.containers.values()), "sent what another has")
            _demand(attempt > self._attempts.get(key, 0), "sent as an attempt that was before")
            self._attempts[key] = attempt
            seen.out[key] = attempt
        measured = self._measured.get(seen.function, 0) >= 8
        spec = self.specs[seen.function]
        most = spec.slots + (63 if measured and not spec.batch_size else 0)
        _demand(len(seen.out) <= most, "sent too much")
        seen.uses += len(action.inputs)
        _demand(seen.uses == 1 or not spec.single_use, "a container for a single use was used twice")
        _demand(not seen.leaves, "sent to one that is to go")
        peers = [each for each in self.containers.values() if each.function == seen.function and each.phase == "ready"]
        if seen.generation != spec.generation:
            fresh = [each for each in peers if each.generation == spec.generation and not each.leaves]
            _demand(not fresh or spec.single_use, "sent to an old one although a new one is there")

    def _judge_drain(self, container: str, reason: str) -> None:
        seen = self.containers[container]
        _demand(not seen.out, f"{container} is to exit and holds {list(seen.out)}")
        _demand(bool(reason), f"{container} is to exit without a reason")
        seen.phase = "draining"
        peers = [each for each in self.containers.values() if each.function == seen.function]
        enough = sum(each.phase in LIVE for each in peers) >= self.specs[seen.function].min_containers
        may = reason.startswith(MAY_UNDERCUT)  # say, for somebody who had none then, and may have got one elsewhere
        _demand(enough or may or self._somebody_has_none(), f"{container} is to exit below the minimum")

    def _somebody_has_none(self) -> bool:
        """Whether inputs of some function wait that has no container: for them, others go below their minimum."""
        served = {each.function for each in self.containers.values() if each.phase in LIVE}
        waiting = {*self._wanted.values(), *(name for name, count in self._backlog.items() if count)}
        return not waiting <= served


def _demand(holds: bool, complaint: str) -> None:
    if not holds:
        raise Misjudgement(complaint)
