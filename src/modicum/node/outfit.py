"""What a node works with: made in two ways, for containers of their own namespaces and for plain processes."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from .images.ground import Ground
from .launcher import NodeLauncher


async def _nothing() -> None:
    """There is nothing to close."""


@dataclass(frozen=True, slots=True)
class Outfit:
    """The parts that differ, and what `node.hello` says of them."""

    launcher: NodeLauncher
    ground: Ground
    """What images stand on."""
    runtime: str
    limits: str
    network: str
    pid: int = os.getpid()
    """The node's process id as its keeper sees it."""
    close: Callable[[], Awaitable[None]] = _nothing
    """Give back what the launcher's containers stood on; called when they have ended."""
