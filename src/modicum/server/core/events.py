"""What happened: the inputs of the pure core."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple


class ExitReason(Enum):
    """Why a container ended, as the node or the server saw it."""

    FINISHED = "finished"  # it was asked to exit and did
    KILLED = "killed"  # we killed it (see the detail)
    CRASHED = "crashed"  # its process ended by itself or by a signal
    OOM = "oom"  # the kernel killed it for memory
    NODE_LOST = "node lost"  # its node died or went away
    START_FAILED = "start failed"  # the node could not start it


@dataclass(frozen=True, slots=True)
class Retries:
    """How often an input runs again whose attempt failed, and after which pause.

    The pause before the nth is `initial_delay_s` × `coefficient`ⁿ⁻¹, and never more than `max_delay_s`.
    """

    max_retries: int
    coefficient: float = 2.0
    initial_delay_s: float = 1.0
    max_delay_s: float = 60.0


class Device(NamedTuple):
    """A GPU as its node names it."""

    id: str
    type: str
    memory_mib: int


class Wish(NamedTuple):
    """So many GPUs of one type; of any one type if None."""

    type: str | None
    number: int

    def __str__(self) -> str:
        return f"{self.type or 'any'}:{self.number}"


@dataclass(frozen=True, slots=True)
class FunctionSpec:
    """All that deciding needs to know of a function."""

    id: str
    app: str
    cpu: float = 0.125
    memory_mib: int = 128
    gpus: tuple[Wish, ...] = ()  # one of these, the best first
    slots: int = 1  # inputs that run at once in a container, at most
    target: int | None = None  # inputs per container that the autoscaler aims at; None: as many as there are slots
    min_containers: int = 0
    max_containers: int | None = None
    buffer_containers: int = 0  # idle ones beside those that are needed, while the function is in use
    scaledown_window_s: float = 60.0
    timeout_s: float = 300.0
    startup_timeout_s: float = 300.0
    retries: Retries | None = None
    single_use: bool = False  # a container runs one input and goes
    batch_size: int = 0  # inputs that run together as one batch; 0: each runs by itself
    batch_wait_s: float = 0.0  # for so long a batch waits for company
    exits: bool = False  # it has exit handlers: its containers are asked to end before they are killed
    generation: int = 0  # which of its definitions this is; containers of another make place for its own

    @property
    def aim(self) -> int:
        """How many inputs per container the autoscaler aims at."""
        return self.slots if self.target is None else min(self.target, self.slots)


class Held(NamedTuple):
    """An input that a container holds across a lost connection or a restarted server.

    An output that the server has not acknowledged counts as held, too: it will be sent again.
    """

    key: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Reported:
    """A container that a joining node runs, and the GPUs that are its own.

    `generation` is that of its definition; 0: not known, so the newest.
    """

    container: str
    function: str
    generation: int = 0
    devices: tuple[str, ...] = ()


class Output(NamedTuple):
    """An input ended in a container. `ok` is false when its attempt failed and another may do better: user code raised.

    A named tuple, because one is made per input: half the price of a frozen dataclass.
    """

    key: str
    attempt: int
    ok: bool
    run_s: float


@dataclass(frozen=True, slots=True)
class FunctionAdded:
    """A function may be called from now on. Adding it again replaces its settings.

    With another generation it replaces its containers, too: those that are there take inputs until one of the new is
    loaded, and then finish what they run; with `recreate` they end at once, and what they ran runs again, uncharged.
    """

    spec: FunctionSpec
    recreate: bool = False


@dataclass(frozen=True, slots=True)
class FunctionRemoved:
    """Its app ended: nothing of it waits or runs any longer. `why` is said to those who wait."""

    function: str
    why: str = "its app has ended"


@dataclass(frozen=True, slots=True)
class NodeJoined:
    """A node offers its capacity, running what it already runs."""

    node: str
    cpus: float
    memory_mib: int
    containers: tuple[Reported, ...] = ()
    devices: tuple[Device, ...] = ()


@dataclass(frozen=True, slots=True)
class NodeLeft:
    """A node is gone and all its containers with it."""

    node: str
    detail: str


@dataclass(frozen=True, slots=True)
class Recovered:
    """The wait for nodes after a server start is over; dispatching may begin. Before it the core only adopts."""


@dataclass(frozen=True, slots=True)
class InputsArrived:
    """New inputs of one call, in order. A key that a container holds already is joined to that attempt.

    `failures`, if given, says for each how many of its attempts have failed. Inputs that run but `once` (generators:
    some of their items may have been read) are not run again when their attempt fails.
    """

    function: str
    keys: tuple[str, ...]
    failures: tuple[int, ...] = ()
    once: bool = False


@dataclass(frozen=True, slots=True)
class InputsCancelled:
    """Nobody wants these any longer: queued ones vanish, running ones are cancelled."""

    function: str
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BacklogChanged:
    """So many inputs of the function wait in the store, which were not given to the core. Answers `LoadInputs`, too."""

    function: str
    count: int


@dataclass(frozen=True, slots=True)
class ContainerReady:
    """The agent said hello: a first time, or again with what it still holds.

    It is `loaded` if the function's module is imported and all that must be entered is.
    """

    container: str
    held: tuple[Held, ...] = ()
    loaded: bool = True


@dataclass(frozen=True, slots=True)
class ContainerLoaded:
    """The agent has loaded the function: its container takes inputs from now on."""

    container: str


@dataclass(frozen=True, slots=True)
class StopRequested:
    """An operator wants this container to end: after what it runs now if `graceful`, else at once."""

    container: str
    graceful: bool


@dataclass(frozen=True, slots=True)
class InteractionChanged:
    """A function in a container speaks with its user, or waits for him, or does so no longer."""

    container: str
    is_going_on: bool


@dataclass(frozen=True, slots=True)
class OutputsArrived:
    """Inputs ended in a container, in the order in which they ended."""

    container: str
    outputs: tuple[Output, ...]


@dataclass(frozen=True, slots=True)
class InputsTakenBack:
    """The agent gave these back unstarted."""

    container: str
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StartFailed:
    """The agent could not load the function (its module does not import): every other container would fail alike."""

    container: str
    message: str


@dataclass(frozen=True, slots=True)
class ContainerExited:
    """A container is gone."""

    container: str
    reason: ExitReason
    detail: str


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed: a deadline that `next_deadline` named has come."""


Event = (
    FunctionAdded
    | FunctionRemoved
    | NodeJoined
    | NodeLeft
    | Recovered
    | InputsArrived
    | InputsCancelled
    | BacklogChanged
    | ContainerReady
    | ContainerLoaded
    | StopRequested
    | InteractionChanged
    | OutputsArrived
    | InputsTakenBack
    | StartFailed
    | ContainerExited
    | Tick
)
