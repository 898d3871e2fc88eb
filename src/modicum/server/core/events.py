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
class FunctionSpec:
    """All that deciding needs to know of a function."""

    id: str
    app: str
    cpu: float = 0.125
    memory_mib: int = 128
    slots: int = 1
    min_containers: int = 0
    max_containers: int | None = None
    scaledown_window_s: float = 60.0
    timeout_s: float = 300.0
    startup_timeout_s: float = 300.0


class Held(NamedTuple):
    """An input that a container holds across a lost connection or a restarted server.

    An output that the server has not acknowledged counts as held, too: it will be sent again.
    """

    key: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Reported:
    """A container that a joining node runs."""

    container: str
    function: str


class Output(NamedTuple):
    """An input ended in a container. `ok` is false when user code raised.

    A named tuple, because one is made per input: half the price of a frozen dataclass.
    """

    key: str
    attempt: int
    ok: bool
    run_s: float


@dataclass(frozen=True, slots=True)
class FunctionAdded:
    """A function may be called from now on. Adding it again replaces its settings."""

    spec: FunctionSpec


@dataclass(frozen=True, slots=True)
class FunctionRemoved:
    """Its app ended: nothing of it waits or runs any longer."""

    function: str


@dataclass(frozen=True, slots=True)
class NodeJoined:
    """A node offers its capacity, running what it already runs."""

    node: str
    cpus: float
    memory_mib: int
    containers: tuple[Reported, ...] = ()


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
    """New inputs of one call, in order. A key that a container holds already is joined to that attempt."""

    function: str
    keys: tuple[str, ...]
    failures: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class BacklogChanged:
    """So many inputs of a function wait in the store, and were not given to the core."""

    function: str
    count: int


@dataclass(frozen=True, slots=True)
class InputsCancelled:
    """Nobody wants these any longer: queued ones vanish, running ones are cancelled."""

    function: str
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ContainerReady:
    """The agent said hello: a first time, or again with what it still holds."""

    container: str
    held: tuple[Held, ...] = ()


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
    | OutputsArrived
    | InputsTakenBack
    | StartFailed
    | ContainerExited
    | Tick
)
