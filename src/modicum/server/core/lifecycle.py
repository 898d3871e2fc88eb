"""What becomes of a container, and of its inputs, when something happens to it?"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from .actions import CancelInputs, DrainContainer, FailInputs, Failure, KillContainer, StopContainer
from .cluster import Cluster
from .deadlines import DRAIN_S, SLOW_S, due, is_interacting, may_ask_back, timeout_of, void_at
from .events import ContainerReady, ExitReason, FunctionSpec, Held
from .failures import back_off_start, blame, count_start_failure, end_attempts, running_in
from .pool import Pool
from .records import BEGINNING, ENDING, Claim, Container, ContainerState, Input, Turn

NEWER = "a newer version of its function takes over"
"""Why containers of an old generation go."""

STOPPED = "it was asked to stop"

_BLAMELESS = frozenset({ExitReason.NODE_LOST, ExitReason.KILLED})
"""Ends of which neither the input that ran nor the container's image is suspected."""


class Lifecycle:
    """Moves containers through their lives, as `records.py` draws them."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def adopt(self, turn: Turn, pool: Pool, container_id: str, node: str, generation: int) -> None:
        """A joining node runs a container that this server did not start. Its agent will say hello."""
        size, devices = self._cluster.found_on(node, container_id, pool.spec)
        container = Container(container_id, pool, node, size, ContainerState.ADOPTED, turn.now)
        container.devices = devices
        container.generation = generation or pool.spec.generation
        if container.generation != pool.spec.generation:
            pool.old[container_id] = container
        self._cluster.take(container)
        pool.containers[container_id] = container
        pool.index(turn, container)
        turn.touch(pool)

    def ready(self, turn: Turn, container: Container, hello: ContainerReady) -> None:
        """Its agent said hello, a first time or after a lost connection. What it holds is the truth about its load."""
        if container.state in ENDING:
            _repeat_end(turn, container)
            return
        if hello.loaded:
            self._admit(turn, container)
        elif container.state is not ContainerState.READY:
            self._enter(turn, container, ContainerState.LOADING)
            container.pool.index(turn, container)
        if any(_is_overtaken(container, each) for each in hello.held):
            self.kill(turn, container, "it runs an input that has been given to another container since")
        elif container.state is ContainerState.READY:
            _reload(turn, container, hello.held)
        self._fit_in(turn, container)

    def loaded(self, turn: Turn, container: Container) -> None:
        """The function is loaded there: it takes inputs from now on."""
        if container.state in ENDING:
            return
        self._admit(turn, container)
        container.pool.index(turn, container)
        self._fit_in(turn, container)

    def exited(self, turn: Turn, container: Container, reason: ExitReason, detail: str) -> None:
        """It is gone. What ran in it is suspected of having ended it, unless another cause is known."""
        pool = container.pool
        before = container.state
        self._cluster.release(container)
        self._forget(container)
        if before in (ContainerState.STARTING, ContainerState.LOADING) and reason not in _BLAMELESS:
            count_start_failure(turn, pool, detail)
        elif before is ContainerState.READY:
            if reason not in _BLAMELESS:
                blame(turn, container, reason, detail)
            _spill(container)
        turn.freed = True
        turn.touch(pool)

    def start_failed(self, turn: Turn, container: Container, message: str) -> None:
        """The function cannot be loaded. Whoever waits for it would only wait longer for the same."""
        pool = container.pool
        if container.state in ENDING:
            return
        self.kill(turn, container, message)
        if not pool.serving:
            pool.fail_queued(turn, Failure.START_FAILED, message)
            pool.failures = 0
        back_off_start(turn, pool, message)

    def ring(self, turn: Turn, container: Container) -> None:
        """Its alarm rang, perhaps early: do what is due."""
        match container.state:
            case ContainerState.READY if not container.load:
                self._end_rest(turn, container)
            case ContainerState.READY:
                self._look_at_running(turn, container)
            case ContainerState.STARTING | ContainerState.LOADING if self._is_due(turn, container):
                limit = container.pool.spec.startup_timeout_s
                self.kill(turn, container, f"it was not ready within its startup timeout of {limit:g} s")
                count_start_failure(turn, container.pool, f"not ready within the startup timeout of {limit:g} s")
            case ContainerState.ADOPTED if self._is_due(turn, container):
                self.kill(turn, container, "its agent did not find the restarted server")
            case ContainerState.DRAINING if self._is_due(turn, container):
                self.kill(turn, container, "it did not exit when asked")
            case ContainerState.STOPPING if self._is_due(turn, container):
                self.kill(turn, container, f"it did not exit within {DRAIN_S:g} s")
        container.pool.index(turn, container)

    def drain(self, turn: Turn, container: Container, reason: str) -> None:
        """Have it exit; it is idle."""
        self._end(turn, container, ContainerState.DRAINING)
        turn.actions.append(DrainContainer(container.id, reason))

    def kill(self, turn: Turn, container: Container, reason: str) -> None:
        """End it at once. What it held is queued again, uncharged."""
        _spill(container)
        self._end(turn, container, ContainerState.KILLED)
        turn.actions.append(KillContainer(container.id, reason))

    def stop(self, turn: Turn, container: Container, reason: str) -> None:
        """Have it cancel what runs, and exit. What it held is queued again, uncharged."""
        _spill(container)
        self._end(turn, container, ContainerState.STOPPING)
        turn.actions.append(StopContainer(container.id, reason))

    def end(self, turn: Turn, container: Container, reason: str) -> None:
        """Have it end as soon as may be: with its exit handlers, if it has any that must run."""
        if container.pool.spec.exits and container.state in (ContainerState.READY, ContainerState.DRAINING):
            self.stop(turn, container, reason)
        elif container.state not in (ContainerState.KILLED, ContainerState.STOPPING):
            self.kill(turn, container, reason)

    def retire(self, turn: Turn, container: Container, reason: str) -> None:
        """Have it go without harm to what it runs."""
        if container.state is not ContainerState.READY:
            self.end(turn, container, reason)
        elif container.load:
            self.give_way(turn, container, reason)
        else:
            self.drain(turn, container, reason)

    def obey(self, turn: Turn, container: Container, graceful: bool) -> None:
        """An operator wants it to go."""
        if container.state is ContainerState.KILLED:
            return
        if container.state in BEGINNING:
            self.kill(turn, container, STOPPED)
        elif not graceful:
            self.stop(turn, container, STOPPED)
        elif container.state is ContainerState.READY:
            self.retire(turn, container, STOPPED)

    def interact(self, turn: Turn, container: Container, is_going_on: bool) -> None:
        """Its function speaks with its user, or no longer: the time between counts for none of its limits."""
        if is_going_on:
            container.interacting_since = min(container.interacting_since, turn.now)
        elif is_interacting(container):
            since, container.interacting_since = container.interacting_since, inf
            container.born += turn.now - since
            for item in running_in(container):
                assert item.started is not None
                item.started += turn.now - max(item.started, since)
        container.pool.index(turn, container)

    def give_way(self, turn: Turn, container: Container, reason: str) -> None:
        """Have it go after what runs in it now; it gets nothing more, and what waits in it goes elsewhere."""
        container.yielding = reason
        if container.unstarted and not container.asked:
            container.pool.ask_back(turn, container, container.unstarted)
        container.pool.index(turn, container)

    def respec(self, turn: Turn, pool: Pool, spec: FunctionSpec) -> None:
        """The function's settings are others from now on. Containers keep the size with which they started."""
        pool.become(spec)
        for container in pool.idle.values():
            container.rest_until = container.resting_since + spec.scaledown_window_s
        pool.index_all(turn)
        self._trim(turn, pool)
        turn.freed = True
        turn.touch(pool)

    def renew(self, turn: Turn, pool: Pool, spec: FunctionSpec, recreate: bool) -> None:
        """The function has another definition from now on: its containers are to be replaced."""
        for container in list(pool.containers.values()):
            if recreate or container.state in (ContainerState.STARTING, ContainerState.LOADING):
                self.end(turn, container, NEWER)
            elif container.state not in ENDING:
                pool.old[container.id] = container
        pool.failures = pool.broken = pool.streak = 0
        pool.retry_at = -inf  # what failed before may be mended
        self.respec(turn, pool, spec)

    def remove(self, turn: Turn, pool: Pool, why: str) -> None:
        """The function is gone: nothing of it waits or runs any longer."""
        waiting = tuple(key for key, item in pool.inputs.items() if item.claim in (Claim.WANTED, Claim.AGAIN))
        if waiting:
            turn.actions.append(FailInputs(waiting, Failure.CANCELLED, why))
        pool.removed = True
        pool.inputs.clear()
        pool.queue.clear()
        pool.delayed.clear()
        pool.backlog = 0
        for container in pool.containers.values():
            container.load.clear()
            self.end(turn, container, why)

    def _admit(self, turn: Turn, container: Container) -> None:
        pool = container.pool
        if container.state not in BEGINNING:
            return
        if container.state is not ContainerState.ADOPTED:
            pool.experience.learn_start(turn.now - container.born)
            pool.failures = pool.broken = 0
        elif pool.spec.single_use:
            container.yielding = "it is used once, and may have been"
        self._enter(turn, container, ContainerState.READY)

    def _enter(self, turn: Turn, container: Container, state: ContainerState) -> None:
        turn.freed |= container.state is ContainerState.STARTING
        self._cluster.enter(container, state, turn.now)

    def _fit_in(self, turn: Turn, container: Container) -> None:
        """A container has come: those of an old generation go once one of the new is loaded, and the surplus goes."""
        pool = container.pool
        turn.touch(pool)
        if pool.old and any(_takes_over(each, pool) for each in pool.containers.values()):
            for each in [each for each in pool.old.values() if _is_at_hand(each)]:
                self.retire(turn, each, NEWER)
        self._trim(turn, pool)

    def _trim(self, turn: Turn, pool: Pool) -> None:
        """What is above the maximum goes: those first that do least."""
        maximum = pool.spec.max_containers
        if maximum is None or pool.live <= maximum:
            return
        staying = [each for each in pool.containers.values() if _is_at_hand(each)]
        staying.sort(key=lambda each: (each.state is ContainerState.READY, len(each.load), each.resting_since))
        for container in staying[: max(0, len(staying) - maximum)]:
            self.retire(turn, container, f"max_containers is {maximum}")

    def _end(self, turn: Turn, container: Container, state: ContainerState) -> None:
        container.pool.ending += container.state not in ENDING
        container.pool.old.pop(container.id, None)
        self._cluster.enter(container, state, turn.now)
        container.pool.index(turn, container)
        turn.freed = True
        turn.touch(container.pool)

    def _forget(self, container: Container) -> None:
        pool = container.pool
        del pool.containers[container.id]
        pool.ending -= container.state in ENDING
        pool.unindex(container)

    def _is_due(self, turn: Turn, container: Container) -> bool:
        return turn.now >= due(container, container.pool.spec)

    def _end_rest(self, turn: Turn, container: Container) -> None:
        """It idles. Either it goes, or, where the function keeps it, it may rest for another while."""
        if container.yielding:
            self.drain(turn, container, container.yielding)
        elif turn.now >= container.rest_until:
            spec = container.pool.spec
            if container.pool.live > container.pool.keeps(turn.now):
                self.drain(turn, container, f"idle for {spec.scaledown_window_s:g} s")
            else:
                container.rest_until = turn.now + spec.scaledown_window_s

    def _look_at_running(self, turn: Turn, container: Container) -> None:
        pool = container.pool
        limit = pool.spec.timeout_s
        running = running_in(container)
        late = [item for item in running if turn.now >= timeout_of(item, pool.spec)]
        if late and not is_interacting(container):
            end_attempts(turn, container, late, Failure.TIMEOUT, f"it ran longer than its timeout of {limit:g} s")
            pool.experience.learn_runs([limit] * len(late))
            self.kill(turn, container, f"an input ran longer than its timeout of {limit:g} s")
        elif any(turn.now >= void_at(item) for item in running):
            self.kill(turn, container, "what it ran was cancelled and did not end")
        else:
            self._look_behind_running(turn, container)

    def _look_behind_running(self, turn: Turn, container: Container) -> None:
        pool = container.pool
        if container.voided < inf:
            container.voided = min(_voided(item, turn.now) for item in container.load.values())
        if may_ask_back(container) and turn.now >= container.moved + SLOW_S:
            container.slow = True
            pool.ask_back(turn, container, container.unstarted)


def _is_at_hand(container: Container) -> bool:
    """Whether it can be told to go; what an adopted one runs is not known yet."""
    return container.state not in ENDING and container.state is not ContainerState.ADOPTED and not container.yielding


def _takes_over(container: Container, pool: Pool) -> bool:
    is_new = container.generation == pool.spec.generation
    return is_new and container.state is ContainerState.READY and not container.yielding


def _voided(item: Input, now: float) -> float:
    """Since when it runs in vain; what waits may come to that later."""
    if item.cancelled == inf:
        return inf
    return max(item.cancelled, now if item.started is None else item.started)


def _repeat_end(turn: Turn, container: Container) -> None:
    """It was told to end, and does not seem to have heard."""
    match container.state:
        case ContainerState.KILLED:
            turn.actions.append(KillContainer(container.id, "it had to end before, and still speaks"))
        case ContainerState.STOPPING:
            turn.actions.append(StopContainer(container.id, "it had to exit before, and still speaks"))
        case _:
            turn.actions.append(DrainContainer(container.id, "it was to exit before, and still speaks"))


def _is_overtaken(container: Container, held: Held) -> bool:
    """Whether the input it holds runs elsewhere, or has run in a later attempt: this one can only be ended."""
    item = container.pool.inputs.get(held.key)
    if item is None or item.container is container or (container.id, held.attempt) in item.past:
        return False
    return item.container is not None or item.attempt > held.attempt


def _reload(turn: Turn, container: Container, held: Sequence[Held]) -> None:
    """Make its load what it says it holds; what else it was sent got lost on the way."""
    pool = container.pool
    believed, container.load = container.load, {}
    joined = set()
    for key, attempt in held:
        known = pool.inputs.get(key)
        if known is not None and (container.id, attempt) in known.past:
            continue  # what it holds is the output of an attempt that failed: it has been taken in
        item = believed.pop(key, None) or known
        if item is None:
            pool.inputs[key] = item = Input(key)
            item.claim = Claim.UNCLAIMED
        elif item.container is None:
            joined.add(key)
        item.attempt = attempt
        item.container = container
        container.load[key] = item
    if joined:
        pool.drop_waiting(joined)
    pool.requeue(believed.values())
    unwanted = tuple(item.key for item in container.load.values() if item.claim in (Claim.DROPPED, Claim.AGAIN))
    if unwanted:
        turn.actions.append(CancelInputs(container.id, unwanted))
    if held and pool.spec.single_use:
        container.yielding = "it is used once"
    container.asked = False
    container.begin(turn.now)
    pool.index(turn, container)


def _spill(container: Container) -> None:
    """Queue again what it held."""
    held, container.load = container.load, {}
    container.pool.requeue(held.values())
