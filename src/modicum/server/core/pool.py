"""Which input goes to which container? One function's queue and containers: the hot path of every call.

Inputs wait in one queue, in the order of their arrival; more may wait in the store, and those whose attempt failed wait
aside for a pause. A container gets as many as it has slots and, once runs are known to be short, some more that wait
inside it: its window. What waits inside may come back, to the head of the queue.
From here a call goes on as a `Send`, which `server/controller.py` performs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Sequence
from heapq import heapify, heappop, heappush
from itertools import islice
from math import ceil, inf

from .actions import Accept, CancelInputs, Dispatch, FailInputs, Failure, LoadInputs, Retry, RetryInputs, Send, TakeBack
from .alarms import Alarms
from .deadlines import SLOW_S, due
from .events import FunctionSpec, Output
from .experience import Experience, Peak
from .records import Claim, Container, ContainerState, Input, Stats, Turn

WORTH_S = 0.001
"""Work that is worth moving to an idle container: some five times what asking for it and sending it again takes."""

LOAD_BELOW = 1000
"""When fewer inputs than these are queued, more are taken from the store: enough for the time that reading takes."""

LOAD_COUNT = 1000
"""How many are taken at once."""

_new_tuple = tuple.__new__
"""Makes a named tuple in half the time that its own constructor takes; for the one that is made per input."""


class Pool:
    """One function. Its indexes `idle`, `open` and `deep` hold ready containers and are kept by `index()` alone."""

    def __init__(self, spec: FunctionSpec, alarms: Alarms[Container | Pool]) -> None:
        self.become(spec)
        self.queue: deque[Input] = deque()
        self.delayed: list[tuple[float, int, Input]] = []  # a heap: they wait for another attempt until then
        self.backlog = 0  # inputs that wait in the store
        self.loading = False  # more of them have been asked for
        self.inputs: dict[str, Input] = {}  # all of them, queued, delayed and running
        self.containers: dict[str, Container] = {}  # until they are gone
        self.ending = 0  # how many of them are draining or killed
        self.idle: dict[str, Container] = {}  # holding nothing, longest idle first
        self.open: dict[str, Container] = {}  # with room for another input
        self.deep: dict[str, Container] = {}  # in which inputs wait
        self.old: dict[str, Container] = {}  # of another generation, and not ending yet
        self.suspects: set[str] = set()  # inputs that run alone, because their containers keep dying
        self.experience = Experience()
        self.failures = 0  # starts that failed since one succeeded, or since somebody was told
        self.broken = 0  # starts that failed since one succeeded
        self.streak = 0  # containers that crashed since the last output
        self.failure = ""  # why the last one did
        self.retry_at = -inf  # no start before
        self.needed = Peak()  # containers that were busy or wanted for its load
        self.removed = False  # its function is gone; only its containers are still to go
        self.alarm = inf
        self._alarms = alarms
        self._delayed = 0  # how often an input was

    def become(self, spec: FunctionSpec) -> None:
        """Its settings are these. What the hot path asks of them is asked once."""
        self.spec = spec
        self.is_filled_singly = not spec.single_use and not spec.batch_size
        self.grows_by_queue_alone = not spec.buffer_containers and spec.aim == spec.slots

    @property
    def live(self) -> int:
        """Containers that work, or will."""
        return len(self.containers) - self.ending

    @property
    def load(self) -> int:
        """Inputs that wait or run, wherever; those that are delayed do neither."""
        return len(self.inputs) - len(self.delayed) + self.backlog

    @property
    def is_waiting(self) -> bool:
        """Whether inputs wait that no container has."""
        return bool(self.queue or self.backlog)

    @property
    def serving(self) -> int:
        """How many containers take inputs, or run what they took."""
        return sum(each.state is ContainerState.READY for each in self.containers.values())

    def arrive(self, keys: Sequence[str], failures: Sequence[int] = (), once: bool = False) -> None:
        """New inputs. Those that are known are asked for again by their caller, and not run twice."""
        inputs, queue = self.inputs, self.queue
        for place, key in enumerate(keys):
            item = inputs.get(key)
            if item is None:
                inputs[key] = item = Input(key)
                queue.append(item)
            elif item.claim is Claim.UNCLAIMED:
                item.claim = Claim.WANTED
            elif item.claim is Claim.DROPPED:
                item.claim = Claim.AGAIN
                item.failures = 0
                continue
            else:
                continue
            if failures or once:
                item.failures, item.once = failures[place] if failures else 0, once

    def cancel(self, turn: Turn, keys: Iterable[str]) -> None:
        """Nobody wants these. One that runs keeps its slot until it ends: user code may refuse to be interrupted."""
        running: dict[str, list[str]] = {}
        waiting = set()
        for key in keys:
            item = self.inputs.get(key)
            if item is None:
                continue
            if item.container is None:
                del self.inputs[key]
                waiting.add(key)
            elif item.claim is Claim.AGAIN:
                item.claim = Claim.DROPPED  # its container has been told
            elif item.claim is not Claim.DROPPED:
                running.setdefault(item.container.id, []).append(key)
                self._void(turn, item, item.container)
        if waiting:
            self.drop_waiting(waiting)
        turn.actions += [CancelInputs(container, tuple(keys)) for container, keys in running.items()]

    def end(self, turn: Turn, container: Container, outputs: Sequence[Output]) -> None:
        """Inputs ended. An output that is not expected of this container, or of another attempt, is late: ignored."""
        load, inputs = container.load, self.inputs
        wanted, unclaimed = Claim.WANTED, Claim.UNCLAIMED  # an enum's members are slow to reach
        accepted = []
        runs_s = []
        again = []
        for key, attempt, ok, run_s in outputs:
            item = load.get(key)
            if item is None or item.attempt != attempt:
                continue
            del load[key]
            if item.claim is wanted or item.claim is unclaimed:
                runs_s.append(run_s)
                if ok or not self._forgives(item):
                    del inputs[key]
                    accepted.append(key)
                elif item.claim is wanted:
                    again.append(self.delay(turn, item))
                else:  # whoever comes for it has it run again, with all its attempts
                    del inputs[key]
            else:
                item.past += ((container.id, attempt),)
                self.requeue((item,))
        if runs_s:
            self.streak = 0
        if accepted:
            turn.actions.append(Accept(tuple(accepted)))
        if again:
            turn.actions.append(RetryInputs(tuple(again)))
        container.asked = False
        container.begin(turn.now)
        self.index(turn, container)
        if self.experience.learn_runs(runs_s):
            self.index_all(turn)

    def take_back(self, turn: Turn, container: Container, keys: Iterable[str]) -> None:
        """It gave these back, unstarted. A container that gives nothing is not asked again before its next output."""
        given = set(keys) & container.load.keys()
        container.asked = not given
        self.requeue([container.load.pop(key) for key in list(container.load) if key in given])
        container.begin(turn.now)
        self.index(turn, container)

    def may_retry(self, item: Input) -> bool:
        """Whether an input whose attempt has failed runs again."""
        return item.claim is Claim.WANTED and self._forgives(item)

    def delay(self, turn: Turn, item: Input) -> Retry:
        """Its attempt has failed, and it runs again after a pause. It has left its container's load."""
        retries, container = self.spec.retries, item.container
        assert retries is not None
        assert container is not None
        item.past += ((container.id, item.attempt),)
        item.container = item.started = None
        item.failures += 1
        pause_s = retries.initial_delay_s * retries.coefficient ** min(item.failures - 1, 64)
        pause_s = min(pause_s, retries.max_delay_s)
        self._delayed += 1
        heappush(self.delayed, (turn.now + pause_s, self._delayed, item))
        self._alarms.set(self, turn.now + pause_s)
        turn.touch(self)
        return Retry(item.key, item.failures, pause_s)

    def requeue(self, inputs: Iterable[Input]) -> None:
        """What these inputs held is free. Those still wanted return to the head of the queue, in this order."""
        again = []
        for item in inputs:
            item.container = item.started = None
            item.cancelled = inf
            if item.claim is Claim.AGAIN or item.claim is Claim.WANTED:
                item.claim = Claim.WANTED
                again.append(item)
            else:
                del self.inputs[item.key]
        self.queue.extendleft(reversed(again))

    def drop_waiting(self, keys: Collection[str]) -> None:
        """Take these out of the queue; all at once, because each time costs the queue's length."""
        self.queue = deque(item for item in self.queue if item.key not in keys)
        self.delayed = [entry for entry in self.delayed if entry[2].key not in keys]
        heapify(self.delayed)

    def fail_queued(self, turn: Turn, failure: Failure, message: str) -> None:
        """End everything that waits in the queue."""
        if self.queue:
            keys = tuple(item.key for item in self.queue)
            self.queue.clear()
            for key in keys:
                del self.inputs[key]
            turn.actions.append(FailInputs(keys, failure, message))

    def dispatch(self, turn: Turn) -> None:
        """Send what waits to those that have room, one message for each container."""
        if self.delayed:
            self._recall(turn)
        if self.suspects:
            self._acquit(turn)
        sends: dict[str, list[Dispatch]] = {}
        while self.queue and self.open:
            for container, count in self._shares(turn):
                sends.setdefault(container.id, []).extend(self._give(turn, container, count))
        turn.actions += [Send(container, tuple(inputs)) for container, inputs in sends.items()]

    def refill(self, turn: Turn) -> None:
        """Have inputs of those in the store brought when few are queued."""
        if not self.loading and len(self.queue) < LOAD_BELOW:
            self.loading = True
            turn.actions.append(LoadInputs(self.spec.id, min(self.backlog, LOAD_COUNT)))

    def rebalance(self, turn: Turn) -> None:
        """While a container idles and none waits in the queue, ask for half of what waits inside others."""
        if not self.deep or not self.idle or self.queue:
            return
        missing = len(self.idle)
        for container in sorted(self.deep.values(), key=lambda each: -each.unstarted):
            if missing > 0 and not container.asked and self.is_worth_moving(container):
                count = ceil(container.unstarted / 2)
                self.ask_back(turn, container, count)
                missing -= count

    def ask_back(self, turn: Turn, container: Container, count: int) -> None:
        """Ask the container for unstarted inputs; some may begin before it hears of it."""
        container.asked = True
        turn.actions.append(TakeBack(container.id, count))

    def is_worth_moving(self, container: Container) -> bool:
        """Whether what waits inside it is enough work to be carried to an idle one."""
        return self.experience.window == 1 or container.unstarted * self.experience.run_s() >= WORTH_S

    def limit(self, container: Container) -> int:
        """How many inputs it may hold: one per slot and, within the window, some more. None wait behind a slow one."""
        if self.is_filled_singly and not self.suspects:
            return container.slots if container.slow else container.slots + self.experience.window - 1
        if self.suspects or self.spec.single_use:
            return 1
        return 0 if container.slow and container.load else container.slots

    def opens_below(self, container: Container) -> int:
        """Below which load it takes inputs: once it was full, only when half of its window is free.

        Else what it answers bit by bit would be replaced bit by bit, and frames would become ever smaller.
        """
        limit = self.limit(container)
        return limit if container.id in self.open else limit - max(0, limit - container.slots) // 2

    def keeps(self, now: float) -> int:
        """How many containers stay although some of them idle: as many as serve what runs, and those that are kept."""
        spec = self.spec
        keeps = ceil(sum(min(len(each.load), each.slots) for each in self.containers.values()) / spec.aim)
        if spec.buffer_containers and (needed := self.needed.of_late(now, spec.scaledown_window_s)):
            keeps = max(keeps, needed) + spec.buffer_containers
        return max(keeps, spec.min_containers)

    def stats(self) -> Stats:
        """How it is used now."""
        serving = [each for each in self.containers.values() if each.state is ContainerState.READY]
        running = sum(min(len(each.load), each.slots) for each in serving)
        room = sum(max(0, each.slots - len(each.load)) for each in serving if not each.yielding)
        return Stats(len(self.inputs) + self.backlog - running, self.live, running, room)

    def index(self, turn: Turn, container: Container) -> None:
        """Put a container that has changed into the right indexes, and set its alarm."""
        load = len(container.load)
        ready = container.state is ContainerState.READY
        takes = ready and not container.yielding
        if not (takes and not load):
            self.idle.pop(container.id, None)
        elif container.id not in self.idle:
            self.idle[container.id] = container
            container.resting_since = turn.now
            container.rest_until = turn.now + self.spec.scaledown_window_s
            turn.freed = True
        _put(self.open, container, takes and load < self.opens_below(container))
        _put(self.deep, container, ready and load > container.slots)
        self._alarms.set(container, due(container, self.spec))

    def unindex(self, container: Container) -> None:
        """The container is gone."""
        for index in (self.idle, self.open, self.deep, self.old):
            index.pop(container.id, None)
        self._alarms.clear(container)

    def index_all(self, turn: Turn) -> None:
        """What concerns every container has changed: the window, or the function's settings."""
        for container in self.containers.values():
            self.index(turn, container)

    def _forgives(self, item: Input) -> bool:
        retries = self.spec.retries
        return retries is not None and item.failures < retries.max_retries and not item.once

    def _void(self, turn: Turn, item: Input, container: Container) -> None:
        """Nobody wants what runs there any more."""
        item.claim = Claim.DROPPED
        item.cancelled = turn.now
        container.voided = min(container.voided, turn.now)
        self._alarms.set(container, due(container, self.spec))

    def _recall(self, turn: Turn) -> None:
        """Inputs whose pause is over go to the head of the queue: they came before all that is in it."""
        over = []
        while self.delayed and self.delayed[0][0] <= turn.now:
            over.append(heappop(self.delayed)[2])
        self.queue.extendleft(reversed(over))
        if self.delayed:
            self._alarms.set(self, self.delayed[0][0])

    def _acquit(self, turn: Turn) -> None:
        """When all suspects have ended the others run as before."""
        self.suspects &= self.inputs.keys()
        if not self.suspects:
            self.index_all(turn)

    def _shares(self, turn: Turn) -> list[tuple[Container, int]]:
        """Who gets how many. Idle ones first, the last to have become idle before the others, so that these may go.

        Where several run in one container, one is filled up to the aim before the next: a batch wants company, and who
        has nothing to do may go.
        """
        waiting = len(self.queue)
        packs = self.spec.slots > 1 and not self.suspects
        if waiting <= len(self.idle) and not packs:
            return [(container, 1) for container in list(islice(reversed(self.idle.values()), waiting))]
        self._close_slow(turn)
        if not self.open:
            return []
        if packs and (shares := self._packed(waiting)):
            return shares
        ranked = sorted(self.open.values(), key=lambda each: len(each.load))
        level = _level([len(each.load) for each in ranked], waiting)
        shares = []
        for container in ranked:
            count = min(level, self.limit(container)) - len(container.load)
            count = min(count, waiting)
            if count > 0:
                shares.append((container, count))
                waiting -= count
        return shares

    def _packed(self, waiting: int) -> list[tuple[Container, int]]:
        """Who gets how many so that none holds more than the aim, those that hold most first."""
        aim = self.spec.aim
        below = [each for each in self.open.values() if each.load and len(each.load) < aim]
        shares = []
        for container in [*sorted(below, key=lambda each: -len(each.load)), *reversed(self.idle.values())]:
            count = min(waiting, min(aim, self.limit(container)) - len(container.load))
            if count <= 0:
                break
            shares.append((container, count))
            waiting -= count
        return shares

    def _close_slow(self, turn: Turn) -> None:
        """Nothing goes behind an input that has turned out slow, nor into a batch that runs."""
        batch_size, wait_s = self.spec.batch_size, self.spec.batch_wait_s
        for container in list(self.open.values()):
            if batch_size:
                is_late = container.slots == batch_size and _age(container, turn.now) >= wait_s
            else:
                is_late = len(container.load) >= container.slots and turn.now - container.moved >= SLOW_S
            if is_late:
                container.slow = True
                self.index(turn, container)

    def _give(self, turn: Turn, container: Container, count: int) -> list[Dispatch]:
        queue, load = self.queue, container.load
        dispatches = []
        for _ in range(count):
            item = queue.popleft()
            item.attempt += 1
            item.container = container
            load[item.key] = item
            dispatches.append(_new_tuple(Dispatch, (item.key, item.attempt)))
        if self.spec.single_use:
            container.yielding = "it is used once"
        container.asked = False
        container.begin(turn.now)
        self.index(turn, container)
        return dispatches


def _age(container: Container, now: float) -> float:
    """For how long the input has run that runs longest; -1 if none does."""
    started = container.oldest.started if container.load else None
    return now - started if started is not None else -1.0


def _level(loads: list[int], total: int) -> int:
    """How full the emptiest get when `total` more are poured over these loads, given in ascending order."""
    filled = 0
    for count, load in enumerate(loads):
        if load * count - filled >= total:
            return ceil((filled + total) / count)
        filled += load
    return ceil((filled + total) / len(loads))


def _put(index: dict[str, Container], container: Container, belongs: bool) -> None:
    if belongs:
        index[container.id] = container
    else:
        index.pop(container.id, None)
