"""What a container is started with, and what starts it: functions and build steps alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from modicum.runtimes.base import BindMount, Exit, Limits

OnOutput = Callable[[str, bytes], None]
"""Called with "stdout" or "stderr" and what was read, in order."""


@dataclass(frozen=True, slots=True)
class Launch:
    """A container to start from layer directories.

    `layers` are lower directories, the topmost first. What the container writes goes to `upper` and stays there
    when given (a build step's new layer), else to a directory that is removed at the end.
    """

    id: str
    layers: tuple[Path, ...]
    argv: tuple[str, ...]
    env: dict[str, str] = field(repr=False)  # with the values of secrets
    on_output: OnOutput
    cwd: str = "/root"
    hostname: str = "modicum"
    upper: Path | None = None
    mounts: tuple[BindMount, ...] = ()
    limits: Limits = field(default_factory=Limits)
    network: bool = True


class Running(Protocol):
    """A launched container."""

    async def wait(self) -> Exit:
        """Return when it has ended, its output has been delivered and its mounts are gone."""

    def kill(self) -> None:
        """End it at once."""

    def flush(self) -> None:
        """Deliver all output that it has written up to now."""


class Launcher(Protocol):
    """Starts containers with root, network and output in place."""

    async def launch(self, launch: Launch) -> Running:
        """Start it. Raises `RuntimeFailure` if it cannot be started."""
