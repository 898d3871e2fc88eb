"""Which node takes a container, and what gives way when none has room?"""

from __future__ import annotations

from collections.abc import Collection
from math import ceil
from typing import NamedTuple

from .events import FunctionSpec
from .records import ENDING, Container, ContainerState, Need

STARTS_PER_CPU = 2
"""Containers that may start at once, per CPU of the cluster. A start is mostly CPU: more at once make each slower."""

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


class Node:
    """What a node offers, and the containers that fill it with their requests, from the wish to start to the end."""

    __slots__ = ("containers", "cpu_milli", "id", "memory_mib", "used")

    def __init__(self, node_id: str, cpus: float, memory_mib: int) -> None:
        self.id = node_id
        self.cpu_milli = round(cpus * 1000)
        self.memory_mib = memory_mib
        self.containers: dict[str, Container] = {}
        self.used = Need(0, 0)

    def __str__(self) -> str:
        return f"{self.id} ({self.cpu_milli / 1000:g} CPUs, {self.memory_mib} MiB)"

    def free_with(self, leaving: list[Container]) -> Need:
        """What is free once these containers of it have gone."""
        cpu_milli = self.cpu_milli - self.used.cpu_milli + sum(each.cpu_milli for each in leaving)
        memory_mib = self.memory_mib - self.used.memory_mib + sum(each.memory_mib for each in leaving)
        return Need(cpu_milli, memory_mib)

    def leaving(self, patient: bool) -> list[Container]:
        """Containers that are ending; for the patient also those that will, once they have run what they run now."""
        return [each for each in self.containers.values() if each.state in ENDING or (each.yielding and patient)]


class Plan(NamedTuple):
    """Room will be on this node once these have gone, and those that leave anyway."""

    node: str
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

    def join(self, node_id: str, cpus: float, memory_mib: int) -> Node:
        """A node offers itself, or offers something else than before."""
        node = Node(node_id, cpus, memory_mib)
        if (before := self.nodes.get(node_id)) is not None:
            node.containers, node.used = before.containers, before.used
        self.nodes[node_id] = node
        return node

    def need(self, spec: FunctionSpec) -> Need:
        """What a container of this function asks for. More CPUs than any machine has means: a machine to itself."""
        largest = max((node.cpu_milli for node in self.nodes.values()), default=None)
        wanted = round(spec.cpu * 1000)
        return Need(wanted if largest is None else min(wanted, largest), spec.memory_mib)

    def holds(self, need: Need) -> bool:
        """Whether some node could hold it if it were empty."""
        return any(_fits(need, Need(node.cpu_milli, node.memory_mib)) for node in self.nodes.values())

    def place(self, need: Need, closed: Collection[str] = ()) -> str | None:
        """The node with the most free CPU, then memory, among those that have room and are not closed: load spreads."""
        best: Node | None = None
        most = Need(-1, -1)
        for node in self.nodes.values():
            free = node.free_with([])
            if _fits(need, free) and free > most and node.id not in closed:
                best, most = node, free
        return best.id if best is not None else None

    def take(self, container: Container) -> None:
        """The container fills its node from now on."""
        node = self.nodes[container.node]
        self.containers[container.id] = node.containers[container.id] = container
        node.used = Need(node.used.cpu_milli + container.cpu_milli, node.used.memory_mib + container.memory_mib)
        self.starting += container.state is ContainerState.STARTING

    def release(self, container: Container) -> None:
        """The container is gone."""
        self.starting -= container.state is ContainerState.STARTING
        node = self.nodes[container.node]
        del self.containers[container.id], node.containers[container.id]
        node.used = Need(node.used.cpu_milli - container.cpu_milli, node.used.memory_mib - container.memory_mib)

    def enter(self, container: Container, state: ContainerState, now: float) -> None:
        """The container enters a new state of its life."""
        self.starting -= container.state is ContainerState.STARTING
        container.state = state
        container.since = now

    def plan(
        self, need: Need, candidates: list[Container], closed: Collection[str] = (), *, patient: bool = True
    ) -> Plan | None:
        """Which of the candidates, the first of them first, must go so that there will be room for `need`.

        Nobody when what is leaving already makes room; no plan when not even all of them would do. Of several nodes,
        except the closed ones, that is chosen whose last victim comes first. Who is not `patient` does not count on
        containers that have something to run before they go.
        """
        plans = [_plan(node, need, candidates, patient) for node in self.nodes.values() if node.id not in closed]
        possible = [plan for plan in plans if plan is not None]
        order = {candidate.id: place for place, candidate in enumerate(candidates)}
        return min(possible, key=lambda plan: order[plan.victims[-1].id] if plan.victims else -1, default=None)


def _plan(node: Node, need: Need, candidates: list[Container], patient: bool) -> Plan | None:
    leaving = node.leaving(patient)
    victims: list[Container] = []
    for candidate in [each for each in candidates if each.node == node.id]:
        if _fits(need, node.free_with(leaving + victims)):
            break
        victims.append(candidate)
    if not _fits(need, node.free_with(leaving + victims)):
        return None
    for victim in victims[:]:  # a large one that came late may make small ones before it needless
        others = [each for each in victims if each is not victim]
        if _fits(need, node.free_with(leaving + others)):
            victims = others
    return Plan(node.id, victims)


def _fits(need: Need, free: Need) -> bool:
    return need.cpu_milli <= free.cpu_milli and need.memory_mib <= free.memory_mib


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits
