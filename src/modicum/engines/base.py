"""What an engine is: it supplies nodes, which then speak the node's part of the protocol to the server."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol


class Engine(Protocol):
    """Where nodes come from."""

    directory: Path
    """What this machine's node owns, and where it looks for the agent's code."""

    notice: str
    """What users are told whenever an app of theirs starts; empty if there is nothing to be told."""

    async def start(self) -> None:
        """See to it that nodes come up and stay up; returns before they have.

        What a node needs of the server's directories exists afterwards. Calling it twice is harmless. Raises
        `EngineFailure` if there can be no node here.
        """

    async def undo_start(self) -> None:
        """End what `start` has begun, because the server cannot serve; what was there before it goes on."""

    def check(self) -> None:
        """Look now whether nodes are missing, as when a node's connection has ended, rather than at the next turn."""

    async def stop(self) -> None:
        """End all nodes and return when nothing of them is left. Harmless when there is none."""

    def failure(self) -> str:
        """Return why there is no node and what to do about it; empty if that is not known, or there is one."""

    def status(self) -> dict[str, Any]:
        """Return facts for operators: `pid` and `node_pid` among them while there is a node."""


class EngineFailure(Exception):
    """There can be no node; the message says what an operator has to do."""
