"""What must be true of the core after every event, whatever happened?"""

from __future__ import annotations

from math import inf

from .cluster import Node
from .deadlines import due
from .experience import WINDOW_MAX
from .pool import Pool
from .records import ENDING, Claim, Container, ContainerState, Need
from .state import State

Owner = Pool | Container | Node | str


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
    waiting = [*pool.queue, *(item for _, _, item in pool.delayed)]
    places = len(waiting)
    for item in waiting:
        if item.container is not None or item.started is not None or item.claim is not Claim.WANTED:
            raise InvariantError(f"{pool.spec.id}: {item.key} is queued, and also {item.claim}, {item.started}")
        if pool.inputs.get(item.key) is not item:
            raise InvariantError(f"{pool.spec.id}: {item.key} is queued and not known")
    for container in pool.containers.values():
        places += len(container.load)
        for item in container.load.values():
            if item.container is not container or pool.inputs.get(item.key) is not item:
                raise InvariantError(f"{pool.spec.id}: {item.key} is in {container.id} and not known to be there")
    _require(places == len(pool.inputs), pool, "an input is in no place, or in two")


def _check_indexes(pool: Pool) -> None:
    ready = [each for each in pool.containers.values() if each.state is ContainerState.READY]
    taking = [each for each in ready if not each.yielding]
    _require_same(pool.idle, [each for each in taking if not each.load], pool, "idle")
    _require_same(pool.open, [each for each in taking if len(each.load) < pool.opens_below(each)], pool, "open")
    _require_same(pool.deep, [each for each in ready if len(each.load) > each.slots], pool, "deep")
    since = [each.resting_since for each in pool.idle.values()]
    _require(since == sorted(since), pool, "the longest idle is not the first")
    ending = sum(each.state in ENDING for each in pool.containers.values())
    _require(pool.ending == ending, pool, f"{ending} containers are ending, not {pool.ending}")
    there = [each for each in pool.containers.values() if each.state not in ENDING]
    old = [each for each in there if each.generation != pool.spec.generation]
    _require_same(pool.old, old, pool, "old")
    news = [each for each in ready if each not in old and not each.yielding]
    stay = [each for each in old if each.state is ContainerState.READY and not each.yielding]
    _require(not (news and stay), pool, "containers of two generations take inputs")
    maximum = pool.spec.max_containers
    staying = [each for each in there if not each.yielding and each.state is not ContainerState.ADOPTED]
    _require(maximum is None or len(staying) <= maximum, pool, "more than max_containers take inputs, or will")


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
    if pool.delayed:
        _require(pool.alarm <= pool.delayed[0][0], pool, "nobody will look at the inputs that are delayed")
    if pool.backlog and not pool.queue:
        _require(pool.loading, pool, "inputs wait in the store, and nobody asks for them")
    if pool.queue and not pool.live:
        waits = bool(pool.containers) or pool in state.autoscaler.hungry or pool.alarm < inf
        _require(waits, pool, "inputs are queued and nothing will ever come of it")


def _check_container(container: Container) -> None:
    pool = container.pool
    known = pool.removed or pool.containers.get(container.id) is container
    _require(known, container, "it is unknown to its function")
    _require(
        container.state is ContainerState.READY or not container.load, container, "it holds inputs, and is not ready"
    )
    _require(len(container.load) <= container.slots + WINDOW_MAX - 1, container, "it holds too much")
    _require(container.alarm <= due(container, pool.spec), container, "it has no alarm for its deadline")
    clocks = [item.started is not None for item in container.load.values()]
    running = min(len(clocks), container.slots)
    _require(sum(clocks[:running]) == running == sum(clocks), container, "a clock runs that should not, or the reverse")
    _require(all(item.attempt for item in container.load.values()), container, "an input runs in no attempt")


def _check_node(node: Node) -> None:
    used_cpu = sum(each.cpu_milli for each in node.containers.values())
    used_memory = sum(each.memory_mib for each in node.containers.values())
    _require(node.used == Need(used_cpu, used_memory), node, "its use is not the sum of its containers")
    held = [(device, each.id) for each in node.containers.values() for device in each.devices]
    held += [(device, name) for name in node.rack.strangers for device in node.rack.held_by(name)]
    _require(len({device for device, _ in held}) == len(held), node, "a GPU has two holders")
    _require(dict(held) == node.rack.holders, node, "not those hold its GPUs that were given them")


def _check_counts(state: State) -> None:
    everywhere = [each for node in state.cluster.nodes.values() for each in node.containers.values()]
    _require_same(state.cluster.containers, everywhere, "the cluster", "containers")
    starting = sum(each.state is ContainerState.STARTING for each in everywhere)
    _require(state.cluster.starting == starting, "the cluster", f"{starting} start, not {state.cluster.starting}")


def _require_same(index: dict[str, Container], members: list[Container], owner: Owner, name: str) -> None:
    if len(index) != len(members) or any(each.id not in index for each in members):
        raise InvariantError(f"{_name(owner)}: {name} holds {sorted(index)}, not {sorted(each.id for each in members)}")


def _require(holds: bool, owner: Owner, complaint: str) -> None:
    if not holds:
        raise InvariantError(f"{_name(owner)}: {complaint}")


def _name(owner: Owner) -> str:
    match owner:
        case str():
            return owner
        case Pool():
            return owner.spec.id
        case _:
            return owner.id
