"""What to do: the outputs of the pure core. Performing one twice is harmless."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple


class Failure(Enum):
    """Why an input ended without the user's code ending it."""

    TIMEOUT = "timeout"  # it ran longer than its function's timeout
    CRASHED = "crashed"  # its containers kept dying
    START_FAILED = "start failed"  # no container of its function could start
    CANCELLED = "cancelled"  # its app ended, or its caller gave up
    IMPOSSIBLE = "impossible"  # no node can ever hold its container


@dataclass(frozen=True, slots=True)
class StartContainer:
    """Have `node` start a container of `function`. `reason` is a sentence for operators."""

    container: str
    function: str
    node: str
    reason: str


@dataclass(frozen=True, slots=True)
class DrainContainer:
    """Ask the agent to exit once it is idle; it is idle now and gets nothing more."""

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


@dataclass(frozen=True, slots=True)
class FailInputs:
    """These inputs ended without an output of their own."""

    keys: tuple[str, ...]
    failure: Failure
    message: str


@dataclass(frozen=True, slots=True)
class LoadInputs:
    """The queue runs low: take so many from the store."""

    function: str
    count: int


Action = (
    LoadInputs | StartContainer | DrainContainer | KillContainer | Send | TakeBack | CancelInputs | Accept | FailInputs
)
