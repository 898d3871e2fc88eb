"""What becomes of a container, and of its inputs, when something happens to it?"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from .actions import CancelInputs, DrainContainer, FailInputs, Failure, KillContainer
from .cluster import Cluster
from .deadlines import SLOW_S, due, may_ask_back
from .events import ExitReason, FunctionSpec, Held
from .pool import Pool
from .records import ENDING, Claim, Container, ContainerState, Input, Turn

CRASHES_MAX = 3
"""How often an input whose container died under it is run again without its caller hearing of it."""

START_FAILURES_MAX = 3
"""Starts that fail in a row before those who wait are told."""

BACK_OFF_S = 0.1
"""The pause after a start that failed; it doubles with each further one."""

BACK_OFF_MAX_S = 30.0
"""The longest such pause: it matters to `min_containers`, which try for ever."""

_BLAMELESS = frozenset({ExitReason.NODE_LOST, ExitReason.KILLED})
"""Ends of which neither the input that ran nor the container's image is suspected."""


class Lifecycle:
    """Moves containers through their lives, as `records.py` draws them."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def adopt(self, turn: Turn, pool: Pool, container_id: str, node: str) -> None:
        """A joining node runs a container that this server did not start. Its agent will say hello."""
        container = Container(container_id, pool, node, self._cluster.need(pool.spec), ContainerState.ADOPTED, turn.now)
        self._cluster.take(container)
        pool.containers[container_id] = container
        pool.index(turn, container)
        turn.touch(pool)

    def ready(self, turn: Turn, container: Container, held: Sequence[Held]) -> None:
        """Its agent said hello, a first time or after a lost connection. What it holds is the truth about its load."""
        if container.state is ContainerState.KILLED:
            turn.actions.append(KillContainer(container.id, "it had to end before, and still speaks"))
            return
        if container.state is ContainerState.DRAINING:
            turn.actions.append(DrainContainer(container.id, "it was to exit before, and still speaks"))
            return
        if container.state is ContainerState.STARTING:
            container.pool.experience.learn_start(turn.now - container.since)
            container.pool.failures = 0
            turn.freed = True
        if container.state is not ContainerState.READY:
            self._cluster.enter(container, ContainerState.READY, turn.now)
        if any(_is_overtaken(container, each) for each in held):
            self.kill(turn, container, "it runs an input that has been given to another container since")
        else:
            _reload(turn, container, held)
        turn.touch(container.pool)

    def exited(self, turn: Turn, container: Container, reason: ExitReason, detail: str) -> None:
        """It is gone. What ran in it is suspected of having ended it, unless another cause is known."""
        pool = container.pool
        before = container.state
        self._cluster.release(container)
        self._forget(turn, container)
        if before is ContainerState.STARTING and reason not in _BLAMELESS:
            _count_start_failure(turn, pool, detail)
        elif before is ContainerState.READY:
            if reason not in _BLAMELESS:
                what = f"{reason.value}: {detail}" if detail else reason.value
                pool.experience.distrust(len(container.load))
                _charge(turn, container, what)
                _back_off_crash(turn, pool, what)
                pool.index_all(turn)
            _spill(container)
        turn.freed = True
        turn.touch(pool)

    def start_failed(self, turn: Turn, container: Container, message: str) -> None:
        """The function cannot be loaded. Whoever waits for it would only wait longer for the same."""
        pool = container.pool
        if container.state in ENDING:
            return
        self.kill(turn, container, "its function could not be loaded")
        pool.fail_queued(turn, Failure.START_FAILED, message)
        pool.failures = 0
        _back_off_start(turn, pool, message)

    def ring(self, turn: Turn, container: Container) -> None:
        """Its alarm rang, perhaps early: do what is due."""
        match container.state:
            case ContainerState.READY if not container.load:
                self._end_rest(turn, container)
            case ContainerState.READY:
                self._look_at_running(turn, container)
            case ContainerState.STARTING if self._is_due(turn, container):
                limit = container.pool.spec.startup_timeout_s
                self.kill(turn, container, f"it was not ready within its startup timeout of {limit:g} s")
                _count_start_failure(turn, container.pool, f"not ready within the startup timeout of {limit:g} s")
            case ContainerState.ADOPTED if self._is_due(turn, container):
                self.kill(turn, container, "its agent did not find the restarted server")
            case ContainerState.DRAINING if self._is_due(turn, container):
                self.kill(turn, container, "it did not exit when asked")
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

    def give_way(self, turn: Turn, container: Container) -> None:
        """Have it go after what runs in it now; it gets nothing more, and what waits in it goes elsewhere."""
        container.yielding = True
        if container.unstarted and not container.asked:
            container.pool.ask_back(turn, container, container.unstarted)
        container.pool.index(turn, container)

    def respec(self, turn: Turn, pool: Pool, spec: FunctionSpec) -> None:
        """The function's settings are others from now on. Containers keep the size with which they started."""
        pool.spec = spec
        for container in pool.idle.values():
            container.rest_until = container.resting_since + spec.scaledown_window_s
        pool.index_all(turn)
        surplus = 0 if spec.max_containers is None else pool.live - spec.max_containers
        for container in list(pool.idle.values())[: max(0, surplus)]:
            self.drain(turn, container, f"max_containers is now {spec.max_containers}")
        turn.freed = True
        turn.touch(pool)

    def remove(self, turn: Turn, pool: Pool) -> None:
        """The function is gone: nothing of it waits or runs any longer."""
        waiting = tuple(key for key, item in pool.inputs.items() if item.claim in (Claim.WANTED, Claim.AGAIN))
        if waiting:
            turn.actions.append(FailInputs(waiting, Failure.CANCELLED, "its app has ended"))
        pool.removed = True
        pool.inputs.clear()
        pool.queue.clear()
        for container in pool.containers.values():
            container.load.clear()
            if container.state is not ContainerState.KILLED:
                self.kill(turn, container, "its app has ended")

    def _end(self, turn: Turn, container: Container, state: ContainerState) -> None:
        container.pool.ending += container.state not in ENDING
        self._cluster.enter(container, state, turn.now)
        container.pool.index(turn, container)
        turn.freed = True
        turn.touch(container.pool)

    def _forget(self, turn: Turn, container: Container) -> None:
        pool = container.pool
        del pool.containers[container.id]
        pool.ending -= container.state in ENDING
        pool.unindex(container)

    def _is_due(self, turn: Turn, container: Container) -> bool:
        return turn.now >= due(container, container.pool.spec)

    def _end_rest(self, turn: Turn, container: Container) -> None:
        """It idles. Either it goes, or, where the function keeps it, it may rest for another while."""
        if container.yielding:
            self.drain(turn, container, "another function needs its place")
        elif turn.now >= container.rest_until:
            spec = container.pool.spec
            if container.pool.live > spec.min_containers:
                self.drain(turn, container, f"idle for {spec.scaledown_window_s:g} s")
            else:
                container.rest_until = turn.now + spec.scaledown_window_s

    def _look_at_running(self, turn: Turn, container: Container) -> None:
        pool = container.pool
        limit = pool.spec.timeout_s
        late = [item for item in _running(container) if turn.now >= _started(item) + limit]
        if late:
            _fail(turn, container, late, Failure.TIMEOUT, f"it ran longer than its timeout of {limit:g} s")
            pool.experience.learn_runs([limit] * len(late))
            self.kill(turn, container, f"an input ran longer than its timeout of {limit:g} s")
        elif may_ask_back(container) and turn.now >= container.moved + SLOW_S:
            container.slow = True
            pool.ask_back(turn, container, container.unstarted)


def _running(container: Container) -> list[Input]:
    return list(islice(container.load.values(), container.slots))


def _started(item: Input) -> float:
    assert item.started is not None
    return item.started


def _is_overtaken(container: Container, held: Held) -> bool:
    """Whether the input it holds runs elsewhere, or has run in a later attempt: this one can only be ended."""
    item = container.pool.inputs.get(held.key)
    if item is None or item.container is container:
        return False
    return item.container is not None or item.attempt > held.attempt


def _reload(turn: Turn, container: Container, held: Sequence[Held]) -> None:
    """Make its load what it says it holds; what else it was sent got lost on the way."""
    pool = container.pool
    believed, container.load = container.load, {}
    joined = set()
    for key, attempt in held:
        item = believed.pop(key, None) or pool.inputs.get(key)
        if item is None:
            pool.inputs[key] = item = Input(key)
            item.claim = Claim.UNCLAIMED
        elif item.container is None:
            joined.add(key)
        item.attempt = attempt
        item.container = container
        container.load[key] = item
    if joined:
        pool.drop_queued(joined)
    pool.requeue(believed.values())
    unwanted = tuple(item.key for item in container.load.values() if item.claim in (Claim.DROPPED, Claim.AGAIN))
    if unwanted:
        turn.actions.append(CancelInputs(container.id, unwanted))
    container.asked = False
    container.begin(turn.now)
    pool.index(turn, container)


def _spill(container: Container) -> None:
    """Queue again what it held."""
    held, container.load = container.load, {}
    container.pool.requeue(held.values())


def _charge(turn: Turn, container: Container, what: str) -> None:
    """It died by itself: what ran in it has crashed once more."""
    running = _running(container)
    for item in running:
        item.crashes += 1
    spent = [item for item in running if item.crashes > CRASHES_MAX]
    message = f"its container died under it {CRASHES_MAX + 1} times, the last time {container.id} ({what})"
    _fail(turn, container, spent, Failure.CRASHED, message)


def _fail(turn: Turn, container: Container, inputs: list[Input], failure: Failure, message: str) -> None:
    """End these inputs, which ran there; what nobody wants any more ends in silence."""
    keys = tuple(item.key for item in inputs if item.claim in (Claim.WANTED, Claim.UNCLAIMED))
    for item in inputs:
        del container.load[item.key]
        if item.claim is Claim.AGAIN:
            container.pool.requeue((item,))
        else:
            del container.pool.inputs[item.key]
    if keys:
        turn.actions.append(FailInputs(keys, failure, message))


def _count_start_failure(turn: Turn, pool: Pool, detail: str) -> None:
    """A container ended before its hello. After three in a row those who wait are told, unless others still work."""
    pool.failures += 1
    if pool.failures >= START_FAILURES_MAX:
        pool.failures = 0
        if not any(each.state is ContainerState.READY for each in pool.containers.values()):
            message = f"no container of it starts: {START_FAILURES_MAX} in a row failed, the last because: {detail}"
            pool.fail_queued(turn, Failure.START_FAILED, message)
    _back_off_start(turn, pool, detail)


def _back_off_start(turn: Turn, pool: Pool, detail: str) -> None:
    pool.failure = detail
    pool.streak += 1
    pool.retry_at = turn.now + _pause(pool.streak)


def _back_off_crash(turn: Turn, pool: Pool, detail: str) -> None:
    """The first crash costs no time, a loop of them does."""
    pool.failure = detail
    if pool.streak:
        pool.retry_at = turn.now + _pause(pool.streak)
    pool.streak += 1


def _pause(streak: int) -> float:
    return min(BACK_OFF_MAX_S, BACK_OFF_S * 2.0 ** min(streak - 1, 16))
