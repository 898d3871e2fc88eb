"""Which node takes a container, and what gives way when none has room?"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from math import ceil
from typing import NamedTuple

from .devices import Rack, granted
from .events import Device, FunctionSpec
from .records import ENDING, Container, ContainerState, Need

STARTS_PER_CPU = 2
"""Containers that may start at once, per CPU of the cluster. A start is mostly CPU: more at once make each slower."""

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


class Node:
    """What a node offers, and the containers that fill it with their requests, from the wish to start to the end."""

    __slots__ = ("containers", "cpu_milli", "id", "memory_mib", "rack", "used")

    def __init__(self, node_id: str, cpus: float, memory_mib: int, devices: Iterable[Device] = ()) -> None:
        self.id = node_id
        self.cpu_milli = round(cpus * 1000)
        self.memory_mib = memory_mib
        self.rack = Rack(devices)
        self.containers: dict[str, Container] = {}
        self.used = Need(0, 0)

    def describe(self, with_gpus: bool) -> str:
        """Say how large it is, with the GPUs that it has, or that it has none."""
        parts = [f"{self.cpu_milli / 1000:g} CPUs", f"{self.memory_mib} MiB"]
        return f"{self.id} ({', '.join([*parts, self.rack.describe()] if with_gpus else parts)})"

    def describe_free(self, with_gpus: bool) -> str:
        """Say how much of it is free, of how much."""
        free = self.free_with(())
        parts = [
            f"{max(0, free.cpu_milli) / 1000:g} of {self.cpu_milli / 1000:g} CPUs",
            f"{max(0, free.memory_mib)} of {self.memory_mib} MiB",
        ]
        if with_gpus:
            parts.append(f"{self.rack.describe_free()} of {self.rack.describe()}")
        return f"{self.id} ({', '.join(parts)})"

    def offers(self, need: Need) -> bool:
        """Whether it could hold this, but for the CPUs, if it were empty."""
        fits = need.memory_mib <= self.memory_mib
        return fits and (need.gpu is None or granted(need.gpu, self.rack.devices) is not None)

    def free_with(self, leaving: Collection[Container]) -> Need:
        """What is free, but for GPUs, once these containers of it have gone."""
        cpu_milli = self.cpu_milli - self.used.cpu_milli + sum(each.cpu_milli for each in leaving)
        memory_mib = self.memory_mib - self.used.memory_mib + sum(each.memory_mib for each in leaving)
        return Need(cpu_milli, memory_mib)

    def room_for(self, need: Need, leaving: Collection[Container] = ()) -> tuple[str, ...] | None:
        """The GPUs that would be given, if all of `need` is free once these containers of it have gone; else None."""
        if not _fits(need, self.free_with(leaving)):
            return None
        if need.gpu is None:
            return ()
        return granted(need.gpu, self.rack.free_with([each.id for each in leaving]))

    def leaving(self, patient: bool) -> list[Container]:
        """Containers that are ending; for the patient also those that will, once they have run what they run now."""
        return [each for each in self.containers.values() if each.state in ENDING or (each.yielding and patient)]


class Place(NamedTuple):
    """Where a container may start now, what it will have asked for, and which GPUs it gets."""

    node: str
    need: Need
    devices: tuple[str, ...]


class Plan(NamedTuple):
    """Room for `need` will be on this node once these have gone, and those that leave anyway."""

    node: str
    need: Need
    victims: list[Container]


class Cluster:
    """All nodes. It knows what fits where; who wants what is told by its callers."""

    def __init__(self, prefix: str) -> None:
        self.nodes: dict[str, Node] = {}
        self.containers: dict[str, Container] = {}
        self.starting = 0  # containers in STARTING
        self._prefix = prefix
        self._named = 0

    @property
    def starts_max(self) -> int:
        """How many containers may start at once."""
        return max(1, ceil(STARTS_PER_CPU * sum(node.cpu_milli for node in self.nodes.values()) / 1000))

    def new_id(self) -> str:
        """An id that no other container has, of this server or, thanks to the prefix, of another."""
        self._named += 1
        return f"ta-{self._prefix}{_base36(self._named)}"

    def join(self, node_id: str, cpus: float, memory_mib: int, devices: Iterable[Device] = ()) -> Node:
        """A node offers itself, or offers something else than before."""
        node = Node(node_id, cpus, memory_mib, devices)
        if (before := self.nodes.get(node_id)) is not None:
            node.containers, node.used = before.containers, before.used
            node.rack.inherit(before.rack)
        self.nodes[node_id] = node
        return node

    def needs(self, spec: FunctionSpec) -> list[Need]:
        """What a container of this function may ask for, the best first: only what some machine could hold if empty.

        More CPUs than any machine has that could hold the rest means: such a machine to itself.
        """
        wanted = round(spec.cpu * 1000)
        found = []
        for gpu in spec.gpus or (None,):
            need = Need(wanted, spec.memory_mib, gpu)
            hosts = [node.cpu_milli for node in self.nodes.values() if node.offers(need)]
            if hosts:
                found.append(need._replace(cpu_milli=min(wanted, max(hosts))))
        return found

    def place(self, needs: list[Need], others: Collection[Plan] = ()) -> Place | None:
        """The first of these needs for which there is room that is not kept for others, and the node that has it.

        Of several nodes that with the most free CPU, then memory: load spreads.
        """
        for need in needs:
            best: Place | None = None
            most = Need(-1, -1)
            for node in self.nodes.values():
                free, devices = node.free_with(()), node.room_for(need)
                if devices is not None and free > most and not _is_kept(node, need, others):
                    best, most = Place(node.id, need, devices), free
            if best is not None:
                return best
        return None

    def is_at_hand(self, plan: Plan) -> bool:
        """Whether all have gone, or are about to go, that had to for this plan."""
        node = self.nodes.get(plan.node)
        return node is not None and node.room_for(plan.need, node.leaving(patient=False)) is not None

    def found_on(self, node_id: str, container: str, spec: FunctionSpec) -> tuple[Need, tuple[str, ...]]:
        """What a container of this function must have asked for that runs there, and which GPUs it has."""
        node = self.nodes[node_id]
        return Need(min(round(spec.cpu * 1000), node.cpu_milli), spec.memory_mib), node.rack.held_by(container)

    def take(self, container: Container) -> None:
        """The container fills its node from now on."""
        node = self.nodes[container.node]
        self.containers[container.id] = node.containers[container.id] = container
        node.used = Need(node.used.cpu_milli + container.cpu_milli, node.used.memory_mib + container.memory_mib)
        node.rack.take(container.id, container.devices)
        self.starting += container.state is ContainerState.STARTING

    def release(self, container: Container) -> None:
        """The container is gone."""
        self.starting -= container.state is ContainerState.STARTING
        node = self.nodes[container.node]
        del self.containers[container.id], node.containers[container.id]
        node.used = Need(node.used.cpu_milli - container.cpu_milli, node.used.memory_mib - container.memory_mib)
        node.rack.release(container.id)

    def enter(self, container: Container, state: ContainerState, now: float) -> None:
        """The container enters a new state of its life."""
        self.starting -= container.state is ContainerState.STARTING
        container.state = state
        container.since = now

    def plan(
        self, needs: list[Need], candidates: list[Container], others: Collection[Plan] = (), *, patient: bool = True
    ) -> Plan | None:
        """Which of the candidates, the first of them first, must go so that there will be room for one of `needs`.

        Nobody when what is leaving already makes room; no plan when not even all of them would do. The first need
        counts for which there is a way. Of several nodes, except those with room that is kept for others, that is
        chosen whose last victim comes first. Who is not `patient` does not count on containers that have something to
        run before they go.
        """
        order = {candidate.id: place for place, candidate in enumerate(candidates)}
        for need in needs:
            open_nodes = [node for node in self.nodes.values() if not _is_kept(node, need, others)]
            plans = [_plan(node, need, candidates, patient) for node in open_nodes]
            possible = [plan for plan in plans if plan is not None]
            if possible:
                return min(possible, key=lambda plan: order[plan.victims[-1].id] if plan.victims else -1)
        return None


def _plan(node: Node, need: Need, candidates: list[Container], patient: bool) -> Plan | None:
    leaving = node.leaving(patient)
    victims: list[Container] = []
    for candidate in [each for each in candidates if each.node == node.id]:
        if node.room_for(need, leaving + victims) is not None:
            break
        victims.append(candidate)
    if node.room_for(need, leaving + victims) is None:
        return None
    for victim in victims[:]:  # a large one that came late may make small ones before it needless
        others = [each for each in victims if each is not victim]
        if node.room_for(need, leaving + others) is not None:
            victims = others
    return Plan(node.id, need, victims)


def _is_kept(node: Node, need: Need, others: Collection[Plan]) -> bool:
    """Whether taking this would take room that is being made there for others.

    Who waits for a GPU may wait long: meanwhile CPU and memory that he does not need are for everybody.
    """
    for other in [plan.need for plan in others if plan.node == node.id]:
        if other.gpu is None or need.gpu is not None:
            return True
        left = node.free_with(node.leaving(patient=True))
        if not _fits(other, Need(left.cpu_milli - need.cpu_milli, left.memory_mib - need.memory_mib)):
            return True
    return False


def _fits(need: Need, free: Need) -> bool:
    return need.cpu_milli <= free.cpu_milli and need.memory_mib <= free.memory_mib


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits
