"""Who handles which event? `State` is the core's only door, and it only routes.

An event and the time go in, actions come out. The same events at the same times give the same actions: there is no
clock, chance or I/O in here. From here the way of a call goes on in `pool.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any, ClassVar

from . import events
from .actions import Action, FailInputs, Failure, KillContainer
from .alarms import Alarms
from .autoscale import Autoscaler
from .cluster import Cluster
from .lifecycle import Lifecycle
from .pool import Pool
from .records import Container, ContainerState, ContainerView, Stats, Turn


class State:
    """All that is known of functions, inputs, containers and nodes.

    `prefix` makes the ids of its containers differ from those of other servers, before and after. Time may not go
    backwards between calls.
    """

    def __init__(self, prefix: str) -> None:
        self.alarms: Alarms[Container | Pool] = Alarms()
        self.cluster = Cluster(prefix)
        self.pools: dict[str, Pool] = {}
        self.lifecycle = Lifecycle(self.cluster)
        self.autoscaler = Autoscaler(self.cluster, self.lifecycle, self.pools, self.alarms)
        self.orphans: dict[str, tuple[str, str, int]] = {}  # container → function, node, generation: it may come yet
        self.recovered = False
        self._now = 0.0

    def handle(self, event: events.Event, now: float) -> list[Action]:
        """Take in what happened at `now` (seconds on any monotonic clock); what shall be done about it, in order."""
        self._now = now
        turn = Turn(now)
        self._ROUTES[type(event)](self, turn, event)
        if self.recovered:
            self._ring(turn)
            for pool in turn.pools:
                pool.dispatch(turn)
                pool.rebalance(turn)
            self.autoscaler.settle(turn)
            for pool in turn.pools:
                if pool.backlog:
                    pool.refill(turn)
        return turn.actions

    def next_deadline(self) -> float | None:
        """When to call again with a `Tick`, if nothing happens before. It may come to nothing: alarms are lazy."""
        return self.alarms.next() if self.recovered else None

    def why_waiting(self, function: str) -> str:
        """Why the function's inputs wait, in a sentence for their caller."""
        pool = self.pools.get(function)
        if pool is None:
            return "its app has ended"
        if not self.recovered:
            return "the server has just started and waits for its machines to report"
        return self.autoscaler.explain(pool, self._now)

    def why_impossible(self, spec: events.FunctionSpec) -> str:
        """Why no machine could hold a container of this function; nothing if one could, or none is there to ask."""
        return self.autoscaler.why_impossible(spec)

    def pauses_s(self, function: str) -> float:
        """How long no container of a function is started, because the last ones failed."""
        pool = self.pools.get(function)
        return max(pool.retry_at - self._now, 0.0) if pool is not None else 0.0

    def waits_for_container(self, function: str) -> int:
        """How many inputs of a function wait while none of its containers can take any: 0 if one can, or none wait."""
        pool = self.pools.get(function)
        if pool is None or any(_takes_inputs(each) for each in pool.containers.values()):
            return 0
        return len(pool.queue) + len(pool.delayed) + pool.backlog

    def queued(self, function: str) -> int:
        """How many inputs of a function wait here, in memory: not those in the store, nor those in its containers."""
        pool = self.pools.get(function)
        return len(pool.queue) + len(pool.delayed) if pool is not None else 0

    def stats(self, function: str) -> Stats:
        """How a function is used now; all zero for one that is gone."""
        pool = self.pools.get(function)
        return pool.stats() if pool is not None else Stats(0, 0, 0, 0)

    def containers(self) -> Iterator[ContainerView]:
        """Everything that fills a node, the oldest first."""
        for each in self.cluster.containers.values():
            running = min(len(each.load), each.slots)
            yield ContainerView(each.id, each.pool.spec.id, each.node, each.state.value, running, each.since)

    def function_of(self, container: str) -> str | None:
        """The function that a container runs; None when the container is unknown or gone."""
        known = self.cluster.containers.get(container)
        return known.pool.spec.id if known is not None else None

    def inputs_of(self, container: str) -> Collection[str]:
        """The inputs that a container was given and has not ended, as far as this server knows."""
        known = self.cluster.containers.get(container)
        return known.load.keys() if known is not None else ()

    def _ring(self, turn: Turn) -> None:
        for owner in self.alarms.ring(turn.now):
            if isinstance(owner, Container):
                self.lifecycle.ring(turn, owner)
            else:
                turn.touch(owner)
                turn.freed = True  # it asked to be looked at again by now

    def _function_added(self, turn: Turn, event: events.FunctionAdded) -> None:
        spec = event.spec
        known = self.pools.get(spec.id)
        if known is not None:
            if spec.generation != known.spec.generation:
                self.lifecycle.renew(turn, known, spec, event.recreate)
            else:
                self.lifecycle.respec(turn, known, spec)
            return
        pool = self.pools[spec.id] = Pool(spec, self.alarms)
        turn.touch(pool)
        for container, (function, node, generation) in list(self.orphans.items()):
            if function == spec.id:
                del self.orphans[container]
                self.lifecycle.adopt(turn, pool, container, node, generation)

    def _function_removed(self, turn: Turn, event: events.FunctionRemoved) -> None:
        pool = self.pools.pop(event.function, None)
        if pool is not None:
            self.lifecycle.remove(turn, pool, event.why)

    def _node_joined(self, turn: Turn, event: events.NodeJoined) -> None:
        node = self.cluster.join(event.node, event.cpus, event.memory_mib, event.devices)
        reported = {each.container for each in event.containers}
        node.rack.keep_strangers(reported)
        for container in [each for each in node.containers.values() if each.id not in reported]:
            self.lifecycle.exited(turn, container, events.ExitReason.NODE_LOST, f"{event.node} no longer has it")
        for each in event.containers:
            self._container_reported(turn, each, event.node)
        turn.freed = True
        for pool in self.pools.values():
            turn.touch(pool)

    def _container_reported(self, turn: Turn, reported: events.Reported, node: str) -> None:
        known = self.cluster.containers.get(reported.container)
        pool = self.pools.get(reported.function)
        if known is None:
            self.cluster.nodes[node].rack.take_for_stranger(reported.container, reported.devices)
        if known is not None:
            if known.state is ContainerState.KILLED:
                turn.actions.append(KillContainer(known.id, "it had to end before, and is still there"))
        elif pool is not None:
            self.lifecycle.adopt(turn, pool, reported.container, node, reported.generation)
        elif self.recovered:
            turn.actions.append(KillContainer(reported.container, "its app has ended"))
        else:
            self.orphans[reported.container] = (reported.function, node, reported.generation)

    def _node_left(self, turn: Turn, event: events.NodeLeft) -> None:
        node = self.cluster.nodes.get(event.node)
        if node is None:
            return
        for container in list(node.containers.values()):
            self.lifecycle.exited(turn, container, events.ExitReason.NODE_LOST, event.detail)
        self.orphans = {
            container_id: orphan for container_id, orphan in self.orphans.items() if orphan[1] != event.node
        }
        del self.cluster.nodes[event.node]

    def _recovered(self, turn: Turn, event: events.Recovered) -> None:
        self.recovered = True
        turn.actions += [KillContainer(container, "its app has ended") for container in self.orphans]
        self.orphans.clear()
        for pool in self.pools.values():
            turn.touch(pool)

    def _inputs_arrived(self, turn: Turn, event: events.InputsArrived) -> None:
        pool = self.pools.get(event.function)
        if pool is None:
            turn.actions.append(FailInputs(event.keys, Failure.CANCELLED, "its app has ended"))
            return
        if not pool.inputs and not pool.loading:  # somebody new, who may have mended what failed before
            pool.retry_at = min(pool.retry_at, turn.now)
            self.autoscaler.hungry.pop(pool, None)  # inputs that wait may ask for more than a minimum could
        pool.arrive(event.keys, event.failures, event.once)
        turn.touch(pool)

    def _backlog_changed(self, turn: Turn, event: events.BacklogChanged) -> None:
        pool = self.pools.get(event.function)
        if pool is not None:
            pool.backlog, pool.loading = event.count, False
            turn.touch(pool)

    def _inputs_cancelled(self, turn: Turn, event: events.InputsCancelled) -> None:
        pool = self.pools.get(event.function)
        if pool is not None:
            pool.cancel(turn, event.keys)
            turn.touch(pool)

    def _container_ready(self, turn: Turn, event: events.ContainerReady) -> None:
        container = self.cluster.containers.get(event.container)
        if container is not None:
            self.lifecycle.ready(turn, container, event)

    def _container_loaded(self, turn: Turn, event: events.ContainerLoaded) -> None:
        container = self.cluster.containers.get(event.container)
        if container is not None:
            self.lifecycle.loaded(turn, container)

    def _stop_requested(self, turn: Turn, event: events.StopRequested) -> None:
        container = self.cluster.containers.get(event.container)
        if container is not None:
            self.lifecycle.obey(turn, container, event.graceful)

    def _interaction_changed(self, turn: Turn, event: events.InteractionChanged) -> None:
        container = self.cluster.containers.get(event.container)
        if container is not None:
            self.lifecycle.interact(turn, container, event.is_going_on)

    def _outputs_arrived(self, turn: Turn, event: events.OutputsArrived) -> None:
        container = self.cluster.containers.get(event.container)
        if container is not None:
            container.pool.end(turn, container, event.outputs)
            turn.touch(container.pool)

    def _inputs_taken_back(self, turn: Turn, event: events.InputsTakenBack) -> None:
        container = self.cluster.containers.get(event.container)
        if container is not None:
            container.pool.take_back(turn, container, event.keys)
            turn.touch(container.pool)

    def _start_failed(self, turn: Turn, event: events.StartFailed) -> None:
        container = self.cluster.containers.get(event.container)
        if container is not None:
            self.lifecycle.start_failed(turn, container, event.message)

    def _container_exited(self, turn: Turn, event: events.ContainerExited) -> None:
        self.orphans.pop(event.container, None)
        container = self.cluster.containers.get(event.container)
        if container is not None:
            self.lifecycle.exited(turn, container, event.reason, event.detail)
        else:
            turn.freed |= any(node.rack.release(event.container) for node in self.cluster.nodes.values())

    def _tick(self, turn: Turn, event: events.Tick) -> None:
        """Nothing but time: alarms ring after every event."""

    _ROUTES: ClassVar[dict[type, Callable[[State, Turn, Any], None]]] = {
        events.FunctionAdded: _function_added,
        events.FunctionRemoved: _function_removed,
        events.NodeJoined: _node_joined,
        events.NodeLeft: _node_left,
        events.Recovered: _recovered,
        events.InputsArrived: _inputs_arrived,
        events.InputsCancelled: _inputs_cancelled,
        events.BacklogChanged: _backlog_changed,
        events.ContainerReady: _container_ready,
        events.ContainerLoaded: _container_loaded,
        events.StopRequested: _stop_requested,
        events.InteractionChanged: _interaction_changed,
        events.OutputsArrived: _outputs_arrived,
        events.InputsTakenBack: _inputs_taken_back,
        events.StartFailed: _start_failed,
        events.ContainerExited: _container_exited,
        events.Tick: _tick,
    }


def _takes_inputs(container: Container) -> bool:
    return container.state is ContainerState.READY and not container.yielding
