"""What does the core remember of an input, of a container and of the event in hand?

The life of a container, with the cause of every arrow:

    STARTING ──hello──▶ LOADING ──loaded──▶ READY ──idle too long, or gives way──▶ DRAINING ──▶ gone
    ADOPTED  ──hello──▶ LOADING or READY, as it says
    READY, DRAINING ──it must end, and has exit handlers──▶ STOPPING ──▶ gone
    any ──a deadline passed, or its function went──▶ KILLED ──▶ gone
    any ──its process ended, or its node left──▶ gone
"""

from __future__ import annotations

from enum import Enum
from itertools import islice
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from .actions import Action
from .events import Wish

if TYPE_CHECKING:
    from .pool import Pool


class ContainerState(Enum):
    """Where a container is in its life."""

    STARTING = "starting"  # asked for; its agent has not said hello
    ADOPTED = "adopted"  # a joining node runs it; its agent has not said hello to this server
    LOADING = "loading"  # its agent said hello and loads the function
    READY = "ready"  # it takes inputs
    DRAINING = "draining"  # it was idle and was asked to exit
    STOPPING = "stopping"  # it was told to cancel what runs and to exit
    KILLED = "killed"  # it was ordered to end at once


BEGINNING = frozenset({ContainerState.STARTING, ContainerState.ADOPTED, ContainerState.LOADING})
"""States before the first input."""

ENDING = frozenset({ContainerState.DRAINING, ContainerState.STOPPING, ContainerState.KILLED})
"""States that lead nowhere but out: what is in them takes no inputs, yet still fills its node."""


class Claim(Enum):
    """Does anybody wait for an input's output?"""

    WANTED = "wanted"  # yes
    UNCLAIMED = "unclaimed"  # a container held it before anybody asked (the server restarted): kept for who will
    DROPPED = "dropped"  # no: cancelled, or overtaken by another attempt; it only fills its place until it ends
    AGAIN = "again"  # dropped and then asked for again: it is queued anew when its place is free


class Input:
    """One input from its arrival to its end. `attempt`, `crashes` and `failures` count what has happened so far."""

    __slots__ = ("attempt", "cancelled", "claim", "container", "crashes", "failures", "key", "once", "past", "started")

    def __init__(self, key: str) -> None:
        self.key = key
        self.attempt = 0
        self.crashes = 0
        self.failures = 0  # attempts that failed and were or could be repeated
        self.once = False  # a failed attempt is not repeated
        self.started: float | None = None
        self.cancelled = inf  # since when nobody wants what runs
        self.container: Container | None = None
        self.claim = Claim.WANTED
        self.past: tuple[tuple[str, int], ...] = ()  # containers and attempts whose outputs came and did not count


class Container:
    """One container from the wish to start it to its end.

    `load` holds what it was sent and has not answered, in order: the first `slots` run, the others wait inside it.
    """

    __slots__ = (
        "alarm", "asked", "born", "cpu_milli", "devices", "generation", "id", "interacting_since", "load", "memory_mib",
        "moved", "node", "pool", "rest_until", "resting_since", "since", "slots", "slow", "state", "voided", "yielding",
    )  # fmt: skip

    def __init__(self, container_id: str, pool: Pool, node: str, need: Need, state: ContainerState, now: float) -> None:
        self.id = container_id
        self.pool = pool
        self.node = node
        self.cpu_milli, self.memory_mib = need.cpu_milli, need.memory_mib
        self.devices: tuple[str, ...] = ()  # GPUs that nobody else has until it has gone
        self.slots = pool.spec.slots
        self.state = state
        self.generation = pool.spec.generation  # of the definition that it was started with
        self.born = now  # when it was wished for
        self.since = now  # when it entered its state
        self.load: dict[str, Input] = {}
        self.moved = now  # when it last began an input
        self.resting_since = now  # since when it is idle, if it is
        self.rest_until = inf  # when it has been idle long enough to go
        self.asked = False  # a request to give inputs back is under way, or was refused
        self.slow = False  # what runs has exceeded SLOW_S, or a batch's wait: nothing may come behind it
        self.voided = inf  # since when it runs something that nobody wants any more
        self.interacting_since = inf  # since when it speaks with its user: its clocks stand still
        self.yielding = ""  # why it gets no more inputs and goes as soon as it is idle, if it does
        self.alarm = inf

    @property
    def unstarted(self) -> int:
        """How many inputs wait inside it."""
        return max(0, len(self.load) - self.slots)

    @property
    def oldest(self) -> Input:
        """The input that runs longest; only asked of a container that runs something."""
        return next(iter(self.load.values()))

    def begin(self, now: float) -> None:
        """Start the clocks of those inputs that have come to the front."""
        for item in islice(self.load.values(), self.slots):
            if item.started is None:
                item.started = self.moved = now
                self.slow = False


class Need(NamedTuple):
    """What a container asks of its node. Whole milli-CPUs, because sums of fractions drift."""

    cpu_milli: int
    memory_mib: int
    gpu: Wish | None = None


class ContainerView(NamedTuple):
    """What the core shows of a container. `since` is when it entered its state, `running` how many inputs run."""

    id: str
    function: str
    node: str
    state: str
    running: int
    since: float


class Stats(NamedTuple):
    """How a function is used now, in inputs and containers.

    `backlog` inputs have not begun, `running` have; `runners` containers work or start; `headroom` more inputs could
    run at once in those that are there.
    """

    backlog: int
    runners: int
    running: int
    headroom: int


class Turn:
    """One event being handled: when it is, what shall be done, and who must be looked at before the turn ends."""

    __slots__ = ("actions", "freed", "now", "pools")

    def __init__(self, now: float) -> None:
        self.now = now
        self.actions: list[Action] = []
        self.pools: dict[Pool, None] = {}
        self.freed = False  # room, or a right to start, may have come free: those who wait for it look again

    def touch(self, pool: Pool) -> None:
        """Have this pool dispatch and scale before the turn ends."""
        self.pools[pool] = None
