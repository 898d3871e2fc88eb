"""Did the core decide well? An independent book-keeper that sees only events and actions, and trusts nothing inside."""

from __future__ import annotations

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
    Send,
    StartContainer,
    TakeBack,
)
from modicum.server.core.events import (
    ContainerExited,
    ContainerReady,
    Event,
    FunctionSpec,
    InputsArrived,
    InputsCancelled,
    InputsTakenBack,
    NodeJoined,
    NodeLeft,
    OutputsArrived,
    Recovered,
)

GAVE_WAY = "another function needs its place"
"""Why a container goes that was asked to while it was busy."""


class Misjudgement(AssertionError):
    """The core asked for something that it must not ask for, or did not ask for what it must."""


@dataclass
class Seen:
    """A container, as events and actions show it; `out` is what it was sent and has not answered, by attempt."""

    function: str
    node: str
    phase: str
    out: dict[str, int] = field(default_factory=dict)
    void: set[str] = field(default_factory=set)  # cancelled there: their outputs must not count


class Observer:
    """Follows one server from its start to its end."""

    def __init__(self, specs: Mapping[str, FunctionSpec]) -> None:
        self.specs = specs
        self.containers: dict[str, Seen] = {}
        self.ended: set[str] = set()
        self._nodes: dict[str, NodeJoined] = {}
        self._wanted: dict[str, str] = {}  # key → function
        self._attempts: dict[str, int] = {}
        self._measured: dict[str, int] = {}
        self._recovered = False

    def see(self, event: Event, actions: list[Action]) -> None:
        """Take in an event and what the core made of it; raise `Misjudgement` when that is wrong."""
        try:
            accepted = self._absorb(event)
            given = tuple(key for action in actions if isinstance(action, Accept) for key in action.keys)
            _demand(given == accepted, "not these outputs should have been accepted")
            for action in actions:
                self._judge(action)
            sent = [action.container for action in actions if isinstance(action, Send)]
            _demand(len(sent) == len(set(sent)), "several messages to one container")
            _demand(self._recovered or not sent, "inputs were sent before the nodes had reported")
        except Misjudgement as error:
            error.add_note(f"{event}\n→ {actions}")
            raise

    def _absorb(self, event: Event) -> tuple[str, ...]:
        """Keep the books; returns which outputs must be accepted now."""
        match event:
            case Recovered():
                self._recovered = True
            case InputsArrived(function, keys):
                self._wanted.update(dict.fromkeys(keys, function))
                self.ended.difference_update(keys)
            case InputsCancelled(_, keys):
                self._cancelled(keys)
            case ContainerReady(container) if container in self.containers:
                self._ready(event)
            case OutputsArrived(container) if container in self.containers:
                return self._outputs(event)
            case InputsTakenBack(container, keys) if container in self.containers:
                for key in keys:
                    self.containers[container].out.pop(key, None)
            case ContainerExited(container):
                self.containers.pop(container, None)
            case NodeJoined():
                self._node_joined(event)
            case NodeLeft(node):
                self._nodes.pop(node, None)
                self.containers = {name: seen for name, seen in self.containers.items() if seen.node != node}
            case _:
                pass
        return ()

    def _cancelled(self, keys: Iterable[str]) -> None:
        for key in keys:
            self._wanted.pop(key, None)
            holders = [seen for seen in self.containers.values() if key in seen.out]
            for seen in holders:
                seen.void.add(key)
            if not holders:  # it is forgotten; should it come again, it is a new one
                self._attempts.pop(key, None)

    def _ready(self, event: ContainerReady) -> None:
        seen = self.containers[event.container]
        if seen.phase in {"starting", "adopted"}:
            seen.phase = "ready"
        if seen.phase == "ready":
            seen.out = {each.key: each.attempt for each in event.held}
            seen.void &= seen.out.keys()

    def _outputs(self, event: OutputsArrived) -> tuple[str, ...]:
        seen = self.containers[event.container]
        accepted = []
        for output in event.outputs:
            if seen.out.get(output.key) == output.attempt:
                del seen.out[output.key]
                if output.key not in seen.void:
                    accepted.append(output.key)
                    self._wanted.pop(output.key, None)
                    self._measured[seen.function] = self._measured.get(seen.function, 0) + 1
                seen.void.discard(output.key)
        return tuple(accepted)

    def _node_joined(self, event: NodeJoined) -> None:
        self._nodes[event.node] = event
        reported = {each.container for each in event.containers}
        for name in [name for name, seen in self.containers.items() if seen.node == event.node]:
            if name not in reported:
                del self.containers[name]
        for each in event.containers:
            if each.function in self.specs:
                self.containers.setdefault(each.container, Seen(each.function, event.node, "adopted"))

    def _judge(self, action: Action) -> None:
        match action:
            case StartContainer():
                self._judge_start(action)
            case Send():
                self._judge_send(action)
            case DrainContainer(container, reason):
                self._judge_drain(container, reason)
            case KillContainer(container, reason):
                _demand(bool(reason), "killed without a reason")
                if (seen := self.containers.get(container)) is not None:
                    seen.phase = "killed"
                    seen.out.clear()
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
        self.containers[action.container] = Seen(action.function, action.node, "starting")
        largest = max(each.cpus for each in self._nodes.values())
        there = [self.specs[seen.function] for seen in self.containers.values() if seen.node == action.node]
        _demand(sum(min(each.cpu, largest) for each in there) <= node.cpus + 1e-6, f"{action}: more CPUs than it has")
        _demand(sum(each.memory_mib for each in there) <= node.memory_mib, f"{action}: more memory than it has")
        mine = [seen for seen in self.containers.values() if seen.function == action.function]
        _demand(spec.max_containers is None or len(mine) <= spec.max_containers, f"{action}: above max_containers")
        live = sum(seen.phase in {"starting", "adopted", "ready"} for seen in mine)
        known = {key for key, function in self._wanted.items() if function == action.function}
        known = known.union(*(seen.out for seen in mine))
        useful = max(spec.min_containers, ceil(len(known) / spec.slots))
        _demand(live <= useful, f"{action}: {live} containers for {len(known)} inputs")
        starting = sum(seen.phase == "starting" for seen in self.containers.values())
        most = max(1, ceil(2 * sum(each.cpus for each in self._nodes.values())))
        _demand(starting <= most, f"{action}: {starting} start at once")

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
        most = self.specs[seen.function].slots + (63 if measured else 0)
        _demand(len(seen.out) <= most, "sent too much")

    def _judge_drain(self, container: str, reason: str) -> None:
        seen = self.containers[container]
        _demand(not seen.out, f"{container} is to exit and holds {list(seen.out)}")
        _demand(bool(reason), f"{container} is to exit without a reason")
        seen.phase = "draining"
        peers = [each for each in self.containers.values() if each.function == seen.function]
        live = sum(each.phase in {"starting", "adopted", "ready"} for each in peers)
        enough = live >= self.specs[seen.function].min_containers
        gave_way = reason == GAVE_WAY  # for somebody who had none then; he may have got one elsewhere since
        _demand(enough or gave_way or self._somebody_has_none(), f"{container} is to exit below the minimum")

    def _somebody_has_none(self) -> bool:
        """Whether inputs of some function wait that has no container: for them, others go below their minimum."""
        served = {each.function for each in self.containers.values() if each.phase in {"starting", "adopted", "ready"}}
        return not set(self._wanted.values()) <= served


def _demand(holds: bool, complaint: str) -> None:
    if not holds:
        raise Misjudgement(complaint)
