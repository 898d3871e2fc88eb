"""Which function gets its next container, what stands in the way, and who makes room?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from itertools import islice
from math import inf

from .actions import Failure, StartContainer
from .alarms import Alarms
from .cluster import Cluster, Place, Plan
from .demand import is_renewing, look_again_at, may_lack_one, note, oldest_in, wanted
from .events import FunctionSpec
from .lifecycle import NEWER, Lifecycle
from .pool import Pool
from .records import ENDING, Container, ContainerState, Turn

GIVES_WAY = "another function needs its place"
"""Why a container goes that was busy when it was asked to."""

SLICE_S = 5.0
"""How long a container works at least before it must go for inputs that could not have any otherwise."""


class Obstacle(Enum):
    """Why a container that is wanted is not started now."""

    AT_MAX = "max_containers are there"
    NO_NODE = "no machine has joined"
    BACKING_OFF = "starts have failed"
    TOO_LARGE = "no machine could ever hold it"
    STARTS_MAX = "too many start already"
    FULL = "no machine has room"


class Autoscaler:
    """Closes the gap between the containers that are wanted and those that are there, for all functions in turn."""

    def __init__(
        self, cluster: Cluster, lifecycle: Lifecycle, pools: Mapping[str, Pool], alarms: Alarms[Container | Pool]
    ) -> None:
        self._cluster = cluster
        self._lifecycle = lifecycle
        self._pools = pools
        self._alarms = alarms
        self.hungry: dict[Pool, Plan | None] = {}  # who waits for room or for a right to start, and how room is made

    def settle(self, turn: Turn) -> None:
        """Start containers for the pools that this turn has touched, and, when something came free, for the hungry.

        One each in turn, those that have least first, so that no function fills the cluster before another has one.
        """
        waiting = list(turn.pools)
        for pool in waiting:
            if pool.spec.buffer_containers:
                note(pool, turn.now)
        if self.hungry:
            # Those for whom room is made may not need it any more. For the other hungry nothing has changed.
            if turn.freed or any(self.hungry.get(pool) for pool in waiting):
                waiting = list(dict.fromkeys([*self.hungry, *waiting]))
                self.hungry.clear()
            else:
                waiting = [pool for pool in waiting if pool not in self.hungry]
        while waiting:
            waiting = [pool for pool in sorted(waiting, key=_rank) if self._start_one(turn, pool)]

    def explain(self, pool: Pool, now: float) -> str:
        """Why its inputs wait, in a sentence for their caller."""
        if pool.delayed and not pool.is_waiting:
            return "an attempt failed, and the next one comes after a pause"
        for state in (ContainerState.STARTING, ContainerState.LOADING):
            count = sum(each.state is state for each in pool.containers.values())
            if count:
                failed = pool.broken + pool.streak
                again = f", after {failed} that failed, the last because: {pool.failure}" if failed else ""
                return f"{_containers(count)} of it {'is' if count == 1 else 'are'} {state.value}{again}"
        if _lacks_one(pool, now) and isinstance(self._find_place(pool, now), Obstacle):
            return self._explain_obstacle(pool, now)
        if pool.live:
            return f"its {_containers(pool.live)} {'is' if pool.live == 1 else 'are'} busy"
        return "it is about to start"

    def why_impossible(self, spec: FunctionSpec) -> str:
        """Why no machine could hold a container of this function; nothing if one could, or none is there to ask."""
        if not self._cluster.nodes or self._cluster.needs(spec):
            return ""
        nodes = ", ".join(node.describe(bool(spec.gpus)) for node in self._cluster.nodes.values())
        return f"its container needs {self._size(spec)}, more than any machine has: {nodes}"

    def _start_one(self, turn: Turn, pool: Pool) -> bool:
        """Start a container if one is missing and one can be. Otherwise see to it that somebody asks again in time."""
        if pool.removed or not may_lack_one(pool):
            return False
        if not _lacks_one(pool, turn.now):
            if pool.is_waiting or pool.spec.aim < pool.spec.slots:
                self._watch(pool, turn.now)
            return False
        found = self._find_place(pool, turn.now)
        match found:
            case Obstacle.AT_MAX:  # one of them is ending; that it has gone will be heard
                if is_renewing(pool):
                    self._make_way(turn, pool)
                return False
            case Obstacle.BACKING_OFF:
                self._alarms.set(pool, pool.retry_at)
                return False
            case Obstacle.TOO_LARGE:
                pool.fail_queued(turn, Failure.IMPOSSIBLE, self._explain_obstacle(pool, turn.now))
                return False
            case Obstacle():
                self.hungry[pool] = None
                if found is Obstacle.FULL:
                    self._make_room(turn, pool)
                return False
        self._start(turn, pool, found)
        return True

    def _find_place(self, pool: Pool, now: float) -> Place | Obstacle:
        """Where its next container goes, or what stands in the way."""
        maximum = pool.spec.max_containers
        if maximum is not None and len(pool.containers) >= maximum:
            return Obstacle.AT_MAX
        if not self._cluster.nodes:
            return Obstacle.NO_NODE
        if now < pool.retry_at:
            return Obstacle.BACKING_OFF
        needs = self._cluster.needs(pool.spec)
        if not needs:
            return Obstacle.TOO_LARGE
        if self._cluster.starting >= self._cluster.starts_max:
            return Obstacle.STARTS_MAX
        return self._cluster.place(needs, self._before(pool)) or Obstacle.FULL

    def _start(self, turn: Turn, pool: Pool, place: Place) -> None:
        cluster = self._cluster
        container_id = cluster.new_id()
        container = Container(container_id, pool, place.node, place.need, ContainerState.STARTING, turn.now)
        container.devices = place.devices
        cluster.take(container)
        reason = self._reason(pool, turn.now)
        turn.actions.append(StartContainer(container_id, pool.spec.id, place.node, reason, place.devices))
        pool.containers[container_id] = container
        pool.index(turn, container)

    def _reason(self, pool: Pool, now: float) -> str:
        """Why it starts now. It had failed before if it says so: who reads this looks for crash loops."""
        failed = pool.broken + pool.streak
        again = f"; {failed} in a row failed, the last because: {pool.failure}" if failed else ""
        return self._need_for_one(pool, now) + again

    def _need_for_one(self, pool: Pool, now: float) -> str:
        spec, waiting = pool.spec, len(pool.queue) + pool.backlog
        if is_renewing(pool):
            return NEWER
        if pool.live < spec.min_containers:
            return f"min_containers is {spec.min_containers}"
        if not waiting and spec.buffer_containers:
            return f"buffer_containers is {spec.buffer_containers}"
        if not waiting:
            return f"{len(pool.inputs)} inputs run in {_containers(pool.live)}, and {spec.aim} in each are aimed at"
        waits = "1 input waits" if waiting == 1 else f"{waiting} inputs wait"
        if not pool.live:
            return f"{waits} and no container is there"
        run_s = pool.experience.run_s(now - oldest_in(pool, now))
        return f"{waits}, one takes about {run_s:.3g} s, and it has {_containers(pool.live)}"

    def _watch(self, pool: Pool, now: float) -> None:
        """Ask again when the input that runs longest will have shown itself slow enough for another container."""
        due = look_again_at(pool, now)
        if due < inf:
            self._alarms.set(pool, due)

    def _make_way(self, turn: Turn, pool: Pool) -> None:
        """All that it may have are of an old generation: one goes, so that one of the new can come."""
        if any(each.state in ENDING or each.yielding for each in pool.containers.values()):
            return
        there = [each for each in pool.old.values() if each.state is ContainerState.READY]
        if there:
            self._lifecycle.retire(turn, min(there, key=lambda each: (len(each.load), each.resting_since)), NEWER)

    def _make_room(self, turn: Turn, pool: Pool) -> None:
        """Have others go, so that there will be room for a container of this pool; the mildest way that does."""
        needs, before = self._cluster.needs(pool.spec), self._before(pool)
        for candidates, patient in self._candidates(pool, turn.now):
            plan = self._cluster.plan(needs, candidates, before, patient=patient)
            if plan is not None:
                break
        else:
            self._alarms.set(pool, turn.now + SLICE_S)
            return
        self.hungry[pool] = plan
        for victim in plan.victims:
            if victim.load:
                self._lifecycle.give_way(turn, victim, GIVES_WAY)
            else:
                reason = NEWER if victim.pool is pool else f"{pool.spec.id} needs its place"
                self._lifecycle.drain(turn, victim, reason)

    def _candidates(self, pool: Pool, now: float) -> Iterator[tuple[list[Container], bool]]:
        """Who may have to go for this pool, and whether it must be patient: longer lists, better candidates first.

        Idle containers above the minimum of their function, the longest idle first. Then busy ones of functions that
        would still have more than this one; they go after what they run now. Without them a function with a long queue,
        which is never idle, would keep the cluster to itself. At last, for inputs that have no container at all, those
        that their function's minimum keeps idle, and any that had their time: nobody waits for ever.
        """
        pools = sorted(self._pools.values(), key=lambda each: -each.live)
        idle = [each for other in pools for each in _first(other.idle.values(), other.live - other.spec.min_containers)]
        idle += [each for each in pool.idle.values() if each.id in pool.old and each not in idle]
        candidates = sorted(idle, key=lambda each: each.resting_since)
        yield candidates, False
        working = {other: [each for each in other.containers.values() if each.load] for other in pools}
        for other, busy in working.items():
            going = sum(bool(each.yielding) for each in busy)
            spare = other.live - going - max(other.spec.min_containers, pool.live + 1)
            if other is pool and is_renewing(pool):
                spare = 1
            staying = [each for each in busy if not each.yielding]
            candidates = candidates + _first(sorted(staying, key=lambda each: each.moved), spare)
        yield candidates, True
        if pool.is_waiting and not pool.live:
            last = [each for other in pools for each in other.idle.values()]
            last += [each for busy in working.values() for each in busy if now >= each.since + SLICE_S]
            yield candidates + [each for each in last if each not in candidates and not each.yielding], True

    def _before(self, pool: Pool) -> list[Plan]:
        """How room is made for those who come before this pool: it must not take that room.

        Of equals those who wait already come first, but only as far as their room is about to be free: what runs there
        may run for hours.
        """
        plans = [(other, plan) for other, plan in self.hungry.items() if plan is not None and other is not pool]
        return [
            plan
            for other, plan in plans
            if _rank(other) < _rank(pool) or (_rank(other) == _rank(pool) and self._cluster.is_at_hand(plan))
        ]

    def _explain_obstacle(self, pool: Pool, now: float) -> str:
        match self._find_place(pool, now):
            case Obstacle.AT_MAX:
                return f"all it may have, {_containers(len(pool.containers))}, are busy or ending"
            case Obstacle.NO_NODE:
                return "no machine has joined yet"
            case Obstacle.BACKING_OFF:
                return f"its last container failed, the next starts after a pause: {pool.failure}"
            case Obstacle.TOO_LARGE:
                return self.why_impossible(pool.spec)
            case Obstacle.STARTS_MAX:
                return f"{_containers(self._cluster.starting)} of other functions start first"
            case _:
                nodes = [node.describe_free(bool(pool.spec.gpus)) for node in self._cluster.nodes.values()]
                return f"no machine has {self._size(pool.spec)} free: {', '.join(nodes)}"

    def _size(self, spec: FunctionSpec) -> str:
        """Say what a container asks for; if a machine has no more CPUs than that, all of them."""
        cpus = max((need.cpu_milli / 1000 for need in self._cluster.needs(spec)), default=spec.cpu)
        parts = ["1 CPU" if cpus == 1 else f"{cpus:g} CPUs", f"{spec.memory_mib} MiB"]
        if spec.gpus:
            parts.append(f"the GPU {' or '.join(map(str, spec.gpus))}")
        return f"{', '.join(parts[:-1])} and {parts[-1]}"


def _first(containers: Iterable[Container], count: int) -> list[Container]:
    return list(islice(containers, max(0, count)))


def _rank(pool: Pool) -> tuple[bool, int]:
    """Who comes first when room is short: inputs that wait before minimums, and then those who have least."""
    return not pool.is_waiting, pool.live


def _lacks_one(pool: Pool, now: float) -> bool:
    return wanted(pool, now) > pool.live or is_renewing(pool)


def _containers(count: int) -> str:
    return "1 container" if count == 1 else f"{count} containers"
