"""What must be true of the core after every event, whatever happened?"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

from .cluster import Node
from .deadlines import due
from .experience import WINDOW_MAX
from .pool import Pool
from .records import ENDING, Claim, Container, ContainerState, Input
from .state import State


class InvariantError(AssertionError):
    """The core contradicts itself: a bug of ours, whatever the events were."""


def check(state: State) -> None:
    """Raise `InvariantError` with what is wrong. It is slow: for tests and for the simulation."""
    for pool in state.pools.values():
        _check_inputs(pool)
        _check_indexes(pool)
        if state.recovered:
            _check_nobody_waits_in_vain(pool)
            _check_somebody_will_look(state, pool)
    for container in state.cluster.containers.values():
        _check_container(container)
    for node in state.cluster.nodes.values():
        _check_node(node)
    _check_counts(state)


def _check_inputs(pool: Pool) -> None:
    """Every input is in exactly one place."""
    places: list[tuple[Input, Container | None]] = [(item, None) for item in pool.queue]
    places += [(item, container) for container in pool.containers.values() for item in container.load.values()]
    _require(len(places) == len(pool.inputs), pool, f"{len(pool.inputs)} inputs in {len(places)} places")
    for item, container in places:
        _require(pool.inputs.get(item.key) is item, pool, f"{item.key} is in a place and not known")
        _require(item.container is container, pool, f"{item.key} is not where it believes to be")
    for item in pool.queue:
        _require(item.claim is Claim.WANTED, pool, f"{item.key} is queued and {item.claim.value}")
        _require(item.started is None, pool, f"{item.key} is queued and its clock runs")


def _check_indexes(pool: Pool) -> None:
    taking = [each for each in pool.containers.values() if each.state is ContainerState.READY and not each.yielding]
    ready = [each for each in pool.containers.values() if each.state is ContainerState.READY]
    _require_same(pool.idle, (each for each in taking if not each.load), pool, "idle")
    _require_same(pool.open, (each for each in taking if len(each.load) < pool.limit(each)), pool, "open")
    _require_same(pool.deep, (each for each in ready if len(each.load) > each.slots), pool, "deep")
    since = [each.resting_since for each in pool.idle.values()]
    _require(since == sorted(since), pool, "the longest idle is not the first")
    ending = sum(each.state in ENDING for each in pool.containers.values())
    _require(pool.ending == ending, pool, f"{ending} containers are ending, counted {pool.ending}")


def _check_nobody_waits_in_vain(pool: Pool) -> None:
    """Nothing is queued while a container has room, nor waits inside one while another idles and could be asked."""
    _require(not (pool.queue and pool.open), pool, "inputs are queued while a container has room")
    asked = any(each.asked for each in pool.deep.values())
    if pool.idle and pool.deep and not asked:
        _require(
            not any(pool.is_worth_moving(each) for each in pool.deep.values()), pool, "a container idles beside work"
        )


def _check_somebody_will_look(state: State, pool: Pool) -> None:
    """Whatever waits in a queue has a container that will take it, or somebody who will ask again."""
    if pool.queue and not pool.live:
        waits = bool(pool.containers) or pool in state.autoscaler.hungry or pool.alarm < inf
        _require(waits, pool, "inputs are queued and nothing will ever come of it")


def _check_container(container: Container) -> None:
    pool = container.pool
    known = pool.removed or pool.containers.get(container.id) is container
    _require(known, pool, f"{container.id} is unknown to its function")
    _require(container.state is ContainerState.READY or not container.load, pool, f"{container.id} holds inputs")
    _require(len(container.load) <= container.slots + WINDOW_MAX - 1, pool, f"{container.id} holds too much")
    _require(container.alarm <= due(container, pool.spec), pool, f"{container.id} has no alarm for its deadline")
    for place, item in enumerate(container.load.values()):
        runs = place < container.slots
        _require((item.started is not None) == runs, pool, f"{item.key} is number {place} and its clock is wrong")
        _require(item.attempt >= 1, pool, f"{item.key} runs in no attempt")


def _check_node(node: Node) -> None:
    used_cpu = sum(each.cpu_milli for each in node.containers.values())
    used_memory = sum(each.memory_mib for each in node.containers.values())
    _require(tuple(node.used) == (used_cpu, used_memory), node, f"its use is counted as {node.used}")


def _check_counts(state: State) -> None:
    everywhere = [each for node in state.cluster.nodes.values() for each in node.containers.values()]
    _require_same(state.cluster.containers, everywhere, "the cluster", "containers")
    starting = sum(each.state is ContainerState.STARTING for each in everywhere)
    _require(state.cluster.starting == starting, "the cluster", f"{starting} start, counted {state.cluster.starting}")


def _require_same(index: dict[str, Container], members: Iterable[Container], owner: object, name: str) -> None:
    expected = {each.id for each in members}
    _require(index.keys() == expected, owner, f"{name} holds {sorted(index)} and should hold {sorted(expected)}")


def _require(holds: bool, owner: object, complaint: str) -> None:
    if not holds:
        name = owner.spec.id if isinstance(owner, Pool) else owner
        raise InvariantError(f"{name}: {complaint}")
