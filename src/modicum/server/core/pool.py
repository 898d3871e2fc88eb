"""Which input goes to which container? One function's queue and containers: the hot path of every call.

Inputs wait in one queue, in the order of their arrival. A container gets as many as it has slots and, once runs are
known to be short, some more that wait inside it: its window. What waits inside may come back, to the head of the queue.
From here a call goes on as a `Send`, which `server/controller.py` performs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Sequence
from itertools import islice
from math import ceil, inf

from .actions import Accept, CancelInputs, Dispatch, FailInputs, Failure, Send, TakeBack
from .alarms import Alarms
from .deadlines import SLOW_S, due
from .events import FunctionSpec, Output
from .experience import Experience
from .records import Claim, Container, ContainerState, Input, Turn

WORTH_S = 0.001
"""Work that is worth moving to an idle container: some five times what asking for it and sending it again takes."""

_new_tuple = tuple.__new__
"""Makes a named tuple in half the time that its own constructor takes; for the one that is made per input."""


class Pool:
    """One function. Its indexes `idle`, `open` and `deep` hold ready containers and are kept by `index()` alone."""

    def __init__(self, spec: FunctionSpec, alarms: Alarms[Container | Pool]) -> None:
        self.spec = spec
        self.queue: deque[Input] = deque()
        self.inputs: dict[str, Input] = {}  # all of them, queued and running
        self.containers: dict[str, Container] = {}  # until they are gone
        self.ending = 0  # how many of them are draining or killed
        self.idle: dict[str, Container] = {}  # holding nothing, longest idle first
        self.open: dict[str, Container] = {}  # with room for another input
        self.deep: dict[str, Container] = {}  # in which inputs wait
        self.experience = Experience()
        self.failures = 0  # starts that failed since one succeeded
        self.failure = ""  # why the last one did
        self.streak = 0  # starts that failed and containers that crashed since the last output
        self.retry_at = -inf  # no start before
        self.removed = False  # its function is gone; only its containers are still to go
        self.alarm = inf
        self._alarms = alarms

    @property
    def live(self) -> int:
        """Containers that work, or will."""
        return len(self.containers) - self.ending

    def arrive(self, keys: Iterable[str]) -> None:
        """New inputs. Those that are known are asked for again by their caller, and not run twice."""
        inputs, queue = self.inputs, self.queue
        for key in keys:
            item = inputs.get(key)
            if item is None:
                inputs[key] = item = Input(key)
                queue.append(item)
            elif item.claim is Claim.UNCLAIMED:
                item.claim = Claim.WANTED
            elif item.claim is Claim.DROPPED:
                item.claim = Claim.AGAIN

    def cancel(self, turn: Turn, keys: Iterable[str]) -> None:
        """Nobody wants these. One that runs keeps its slot until it ends: user code may refuse to be interrupted."""
        running: dict[str, list[str]] = {}
        queued = set()
        for key in keys:
            item = self.inputs.get(key)
            if item is None:
                continue
            if item.container is None:
                del self.inputs[key]
                queued.add(key)
            else:
                if item.claim is not Claim.DROPPED:
                    running.setdefault(item.container.id, []).append(key)
                item.claim = Claim.DROPPED
        if queued:
            self.drop_queued(queued)
        turn.actions += [CancelInputs(container, tuple(keys)) for container, keys in running.items()]

    def end(self, turn: Turn, container: Container, outputs: Sequence[Output]) -> None:
        """Inputs ended. An output that is not expected of this container, or of another attempt, is late: ignored."""
        load, inputs = container.load, self.inputs
        wanted, unclaimed = Claim.WANTED, Claim.UNCLAIMED  # an enum's members are slow to reach
        accepted = []
        runs_s = []
        for key, attempt, _, run_s in outputs:
            item = load.get(key)
            if item is None or item.attempt != attempt:
                continue
            del load[key]
            if item.claim is wanted or item.claim is unclaimed:
                del inputs[key]
                accepted.append(key)
                runs_s.append(run_s)
            else:
                self.requeue((item,))
        if accepted:
            self.streak = 0
            turn.actions.append(Accept(tuple(accepted)))
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

    def requeue(self, inputs: Iterable[Input]) -> None:
        """What these inputs held is free. Those still wanted return to the head of the queue, in this order."""
        again = []
        for item in inputs:
            item.container = item.started = None
            if item.claim is Claim.AGAIN or item.claim is Claim.WANTED:
                item.claim = Claim.WANTED
                again.append(item)
            else:
                del self.inputs[item.key]
        self.queue.extendleft(reversed(again))

    def drop_queued(self, keys: Collection[str]) -> None:
        """Take these out of the queue; all at once, because each time costs the queue's length."""
        self.queue = deque(item for item in self.queue if item.key not in keys)

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
        sends: dict[str, list[Dispatch]] = {}
        while self.queue and self.open:
            for container, count in self._shares(turn):
                sends.setdefault(container.id, []).extend(self._give(turn, container, count))
        turn.actions += [Send(container, tuple(inputs)) for container, inputs in sends.items()]

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
        return container.slots if container.slow else container.slots + self.experience.window - 1

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
        _put(self.open, container, takes and load < self.limit(container))
        _put(self.deep, container, ready and load > container.slots)
        self._alarms.set(container, due(container, self.spec))

    def unindex(self, container: Container) -> None:
        """The container is gone."""
        for index in (self.idle, self.open, self.deep):
            index.pop(container.id, None)
        self._alarms.clear(container)

    def index_all(self, turn: Turn) -> None:
        """What concerns every container has changed: the window, or the function's settings."""
        for container in self.containers.values():
            self.index(turn, container)

    def _shares(self, turn: Turn) -> list[tuple[Container, int]]:
        """Who gets how many. Idle ones first, the last to have become idle before the others, so that these may go."""
        waiting = len(self.queue)
        if waiting <= len(self.idle):
            return [(container, 1) for container in list(islice(reversed(self.idle.values()), waiting))]
        self._close_slow(turn)
        if not self.open:
            return []
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

    def _close_slow(self, turn: Turn) -> None:
        """Nothing goes behind an input that has turned out slow."""
        for container in list(self.open.values()):
            if len(container.load) >= container.slots and turn.now - container.moved >= SLOW_S:
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
        container.asked = False
        container.begin(turn.now)
        self.index(turn, container)
        return dispatches


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
