"""What to do: the outputs of the pure core. Performing one twice is harmless."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple


class Failure(Enum):
    """Why an input ended without the user's code ending it."""

    TIMEOUT = "timeout"  # it ran longer than its function's timeout
    CRASHED = "crashed"  # its containers kept dying
    OOM = "out of memory"  # its container ran out of memory
    START_FAILED = "start failed"  # no container of its function could start
    CANCELLED = "cancelled"  # its app ended, or its caller gave up
    IMPOSSIBLE = "impossible"  # no node can ever hold its container


@dataclass(frozen=True, slots=True)
class StartContainer:
    """Have `node` start a container of `function`, which gets these GPUs. `reason` is a sentence for operators."""

    container: str
    function: str
    node: str
    reason: str
    devices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DrainContainer:
    """Ask the agent to exit once it is idle; it is idle now and gets nothing more."""

    container: str
    reason: str


@dataclass(frozen=True, slots=True)
class StopContainer:
    """Ask the agent to cancel what runs, to run its exit handlers and to exit; it is killed if that takes too long."""

    container: str
    reason: str


@dataclass(frozen=True, slots=True)
class KillContainer:
    """End it at once."""

    container: str
    reason: str


class Dispatch(NamedTuple):
    """One input on its way; `attempt` counts from 1.

    A named tuple, because one is made per input: half the price of a frozen dataclass.
    """

    key: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Send:
    """Give these inputs to the container, in this order."""

    container: str
    inputs: tuple[Dispatch, ...]


@dataclass(frozen=True, slots=True)
class TakeBack:
    """Ask for up to `count` unstarted inputs, the last ones first."""

    container: str
    count: int


@dataclass(frozen=True, slots=True)
class CancelInputs:
    """Cancel these where they run; their outputs no longer count."""

    container: str
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Accept:
    """These outputs of the last event are the final ones of their inputs; the others were late and are dropped."""

    keys: tuple[str, ...]


class Retry(NamedTuple):
    """An input that runs again after a pause: `failures` of its attempts have failed by now."""

    key: str
    failures: int
    delay_s: float


@dataclass(frozen=True, slots=True)
class RetryInputs:
    """These attempts failed and do not count: outputs of the last event are dropped, their inputs are kept."""

    entries: tuple[Retry, ...]


@dataclass(frozen=True, slots=True)
class LoadInputs:
    """The queue runs low: give up to so many inputs of those in the store, the oldest first (`InputsArrived`).

    And say then how many are left there (`BacklogChanged`), even if nothing could be given.
    """

    function: str
    count: int


@dataclass(frozen=True, slots=True)
class FailInputs:
    """These inputs ended without an output of their own."""

    keys: tuple[str, ...]
    failure: Failure
    message: str


Action = (
    StartContainer
    | DrainContainer
    | StopContainer
    | KillContainer
    | Send
    | TakeBack
    | CancelInputs
    | Accept
    | RetryInputs
    | LoadInputs
    | FailInputs
)
