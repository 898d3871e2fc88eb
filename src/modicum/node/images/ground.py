"""What the images of one runtime stand on: a Debian of their own, or this machine with a virtual environment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from . import bases, host

Tell = Callable[[str], None]


class Ground(Protocol):
    """How bases are made, and what may be built on them."""

    compiles_agent: bool
    """Whether the agent's code must be compiled for a container, which cannot write beside it."""

    def check(self, step: Mapping[str, Any]) -> None:
        """Raise `StepRefused` if no layer can be made by this step here."""

    async def base(self, step: Mapping[str, Any], target: Path, work: Path, tell: Tell) -> dict[str, Any]:
        """Make the base layer in `target`; return the image's configuration. Raises `BaseFailed`.

        `work` is an empty directory for all else. Cancelling ends every process of it.
        """

    def settings(self) -> host.HostSettings:
        """Return the machine's settings that a step must be given."""

    def seal(self, layer: Path, final: Path) -> None:
        """A layer is complete, and will be moved to `final`."""


class StepRefused(ValueError):
    """The runtime cannot keep what this step is for."""


class DebianGround:
    """Roots of their own."""

    compiles_agent = True

    def check(self, step: Mapping[str, Any]) -> None:
        """Every step can be run in a container."""

    async def base(self, step: Mapping[str, Any], target: Path, work: Path, tell: Tell) -> dict[str, Any]:
        """Bootstrap a Debian."""
        return await bases.build(step["python"], target, work, tell)

    def settings(self) -> host.HostSettings:
        """Return all of them: a container sees nothing of the machine otherwise."""
        return host.collect()

    def seal(self, layer: Path, final: Path) -> None:
        """An overlay's layer may lie anywhere."""
