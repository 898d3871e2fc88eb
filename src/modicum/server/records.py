"""What the server holds in memory of apps, functions, calls, inputs and containers: the shell's side of the core's."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from modicum.server.core.events import ContainerReady
from modicum.wire.channel import Channel


@dataclass(slots=True)
class App:
    """A running app. It lives while a channel is attached; a detached one, until what it was given to do has ended; a
    deployed one until it is stopped.
    """

    id: str
    name: str
    key: str
    detached: bool = False
    tags: dict[str, str] = field(default_factory=dict)
    deployed: bool = False
    version: int = 0  # counts what was published in the place of what it was
    draft: bool = False  # it is only built for: nobody calls its functions before they are published elsewhere
    drafted: dict[str, Function] = field(default_factory=dict)
    functions: dict[str, str] = field(default_factory=dict)
    pinned: dict[int, dict[str, str]] = field(default_factory=dict)  # those that stay at a version
    images: set[str] = field(default_factory=set)  # of the versions that are kept, for rollbacks
    layers: set[str] = field(default_factory=set)  # of the images that it had built: they stay while it lives
    attached: set[Channel] = field(default_factory=set)
    reaper: asyncio.TimerHandle | None = None
    watch: asyncio.Task[None] | None = None  # of a detached app whose client is gone
    stopping: asyncio.Task[None] | None = None
    warned: bool = False


@dataclass(slots=True)
class Function:
    """A function of an app, or a variant of one: what a container of it needs to know.

    A variant has a `parent`; its definition is the parent's but for its `settings` and `parameters` (base64).
    `overrides` are what the autoscaler was told meanwhile.
    """

    id: str
    app: str
    name: str
    definition: dict[str, Any]
    serialized: bytes
    generation: int = 0  # the version of its app in which it changed last
    pinned: int | None = None  # the version that it stays at
    parent: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    parameters: str | None = None
    overrides: dict[str, Any] = field(default_factory=dict)

    @property
    def options(self) -> dict[str, Any]:
        """What it asks of the platform now."""
        return {**self.definition["options"], **self.overrides}


@dataclass(slots=True)
class Input:
    """An input without an output; its payload is kept for as long as it may have to run again."""

    call: Call
    index: int
    payload: bytes
    blob: str | None
    container: str | None = None  # the last one that it was given to


@dataclass(slots=True)
class Output:
    """How an input ended."""

    status: str
    payload: bytes
    blob: str | None
    frame: Sent | None = None  # the agent's frame that brought it; None if the server made it
    run_s: float | None = None
    plain: bool = False  # hostile code may have made it: its readers take only values of built-in types


@dataclass(slots=True, eq=False)
class Call:
    """A call: who waits for it, and what he has not been sent yet."""

    id: str
    function: str
    kind: str
    owner: str
    channel: Channel | None
    app: str = ""
    open: set[int] = field(default_factory=set)
    outputs: dict[int, Output] = field(default_factory=dict)
    blobs: list[str] = field(default_factory=list)
    container: str | None = None
    pieces: int = 0  # of a generator: how many its caller had when he last said so
    begun: bool = False  # of a generator: its caller may have some
    ahead: int = 0  # of a generator: bytes that its caller was sent since he last said how far he is
    method: str | None = None  # of a class
    parent: str | None = None  # the key of the input that made it

    @property
    def durable(self) -> bool:
        """True if its inputs and outputs are in the store."""
        return self.kind == "spawn"


@dataclass(slots=True, eq=False)
class Container:
    """A container and the connection of its agent."""

    id: str
    function: str
    app: str
    node: str
    channel: Channel | None = None
    listener: asyncio.Server | None = None
    starting: asyncio.Task[None] | None = None
    draining: bool = False
    asked: str = ""  # why it was asked to end, if it was
    killed: str = ""  # why we had it killed, if we did
    failed: bool = False  # its function could not be loaded
    flushing: asyncio.Task[None] | None = None  # the last outputs that wait for what they printed
    ready: ContainerReady | None = None  # its agent's hello, until the core has heard of it
    unacknowledged: list[Sent] = field(default_factory=list)
    held: frozenset[str] = frozenset()  # the keys that its agent's last hello named
    started_at: float | None = None  # seconds since the epoch; None if its node does not say
    oom_told: bool = False  # that the kernel killed a process of it
    made_of: Function | None = None  # what its function was when it was started; not known of an adopted one
    restricted: bool = False  # its code may not use Modicum
    plain: bool = False  # what it returns may have been made by hostile code
    devices: tuple[str, ...] = ()  # the GPUs that are its own, as its node names them


@dataclass(slots=True, eq=False)
class Sent:
    """A frame of outputs from an agent that it keeps until all of them are safe."""

    seq: int
    function: str  # of the container that sent it: its outputs are no other function's
    container: str
    open: int = 0  # what of it is neither stored nor written to a caller
    written: dict[Channel, int] = field(default_factory=dict)  # how far callers' connections must have got


@dataclass(slots=True, eq=False)
class Waiter:
    """Somebody who asks for the output of a spawned input."""

    index: int
    function: str
    output: asyncio.Future[Output]


def key_of(call: str, index: int) -> str:
    """Return the name of an input."""
    return f"{call}:{index}"


def split_key(key: str) -> tuple[str, int]:
    """Return the call and the index that a key names. Raises `ValueError`."""
    call, _, index = key.rpartition(":")
    return call, int(index)
