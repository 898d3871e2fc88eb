"""What a runtime is: it makes a container process out of a prepared root directory."""

from __future__ import annotations

from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class BindMount:
    """A directory or file of the node that the container sees. A device can be written to although it is read-only."""

    source: Path
    target: str
    read_only: bool = True
    is_device: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """What the container may use; None is unlimited. Enforced where the host allows it (`node.hello` says so)."""

    pids: int | None = 4096
    memory_bytes: int | None = None
    cpus: float | None = None
    cpus_share: float | None = None
    """No limit: where all want more CPU than there is, they get it in the ratio of these."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a container has used; None is what cannot be known here. Memory is without caches, except in the peak."""

    cpu_s: float | None = None
    memory_bytes: int | None = None
    memory_peak_bytes: int | None = None
    oom: bool = False
    """Whether the kernel has killed a process of it for memory: perhaps not its first."""

    def completed_by(self, other: Usage) -> Usage:
        """Return this with what the other one knows in place of what is not known."""
        mine, theirs = (astuple(each) for each in (self, other))
        return Usage(*(one if one is not None else two for one, two in zip(mine, theirs)))


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """One container to be. `root` is mounted and complete; output goes to the two descriptors."""

    id: str
    root: Path
    argv: tuple[str, ...]
    env: dict[str, str] = field(repr=False)  # with the values of secrets
    cwd: str
    hostname: str
    stdout: int
    stderr: int
    mounts: tuple[BindMount, ...] = ()
    limits: Limits = field(default_factory=Limits)
    network: bool = True
    """Without it there is only a loopback."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How a container ended. `code` is its exit status, `signal` what killed it, `oom` that memory ran out."""

    code: int
    signal: int | None = None
    oom: bool = False
    detail: str = ""
    usage: Usage = field(default_factory=Usage, compare=False)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a runtime can keep of what a `ContainerSpec` asks."""

    isolation: bool
    """A container has a root directory, processes, a host name and a network of its own, its mounts at their targets,
    and fewer rights than the node. Without it `root` is only a directory: the working directory, `HOME` and arguments
    below that are looked for in it, a mount's target stands for its source in arguments and variables, and
    `network=False` is refused."""


@dataclass(frozen=True, slots=True)
class Command:
    """What is to be executed in a running container, beside what runs there: in its place, with its rights and limits.

    `env` comes on top of the container's variables; `cwd` is the container's own if None. It gets the descriptors, or a
    terminal of its own with so many rows and columns.
    """

    id: str
    argv: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)
    cwd: str | None = None
    descriptors: tuple[int, int, int] = (-1, -1, -1)
    terminal: tuple[int, int] | None = None


class Executed(Protocol):
    """A command that is executed in a container. It ends with that at the latest."""

    terminal: int
    """The near side of its terminal, which its caller closes; -1 if it has none."""

    async def wait(self) -> Exit:
        """Return when it has ended; what it started may go on. May be called any number of times.

        One that could not be executed ends with code 126, or 127 if there is no such program, and `detail` says why,
        as does its standard error.
        """

    def signal(self, number: int) -> None:
        """Send a signal to it and to all of its session. Harmless when it has ended."""


class Process(Protocol):
    """A started container."""

    async def execute(self, command: Command) -> Executed:
        """Execute a command in it. Raises `RuntimeFailure` if that cannot be, as when it has ended."""

    async def wait(self) -> Exit:
        """Return when it has ended and everything of it is gone. May be called any number of times."""

    async def usage(self) -> Usage:
        """Return what it has used up to now. Once it has ended there is nothing to know; its exit tells."""

    def kill(self) -> None:
        """SIGKILL all of it. Harmless when it has ended."""


class Runtime(Protocol):
    """Starts containers. Inside the node; knows nothing of functions or images."""

    name: str
    capabilities: Capabilities

    async def start(self, spec: ContainerSpec) -> Process:
        """Start it. Raises `RuntimeFailure` with the runtime's own words if it cannot be."""


class RuntimeFailure(Exception):
    """The runtime refused; the message is for operators."""
