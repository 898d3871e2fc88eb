"""What a keeper's node lives in: made for each node anew, and cleared away after it."""

from __future__ import annotations

import selectors
from collections.abc import Sequence
from typing import Any, Protocol

Source = Any
"""A file object or descriptor that a selector takes."""


class NodeNotStarted(Exception):
    """There can be no node now; the message says what failed."""


class Lodging(Protocol):
    """A running node, and what the keeper does for it."""

    child: int
    """Our child process, which ends as the node does."""

    pid: int
    """The process to be signalled: its end is the node's."""

    @property
    def network(self) -> str:
        """Return what `node.hello` says of the network."""

    @property
    def failure(self) -> str:
        """Return why the node says that it cannot work; empty as long as it says nothing."""

    @property
    def uses(self) -> str:
        """Return which runtime the node says that it uses, and why."""

    def sources(self) -> Sequence[Source]:
        """Return what to wait for on the node's behalf, other than its end."""

    def handle(self, source: Source) -> None:
        """Do what is to be done now that this source is readable."""

    def close(self) -> None:
        """Clear away what was there for this node only, which has ended. Reads what it said last."""


class Housing(Protocol):
    """Where nodes live, one after the other."""

    limits: str
    """Whether limits hold, in a sentence."""

    root: tuple[int, int]
    """The user and group id out here of who owns what the node writes."""

    def start(self) -> Lodging:
        """Start a node. Raises `NodeNotStarted`."""

    def sweep(self) -> None:
        """End and remove what earlier nodes left."""

    def close(self) -> None:
        """There will be no further node: leave nothing."""


def wait_readable(sources: Sequence[Source], timeout_s: float | None) -> set[Source]:
    """Return those of `sources` that are readable, at least one unless the time is up first."""
    with selectors.DefaultSelector() as selector:
        for source in sources:
            selector.register(source, selectors.EVENT_READ)
        return {key.fileobj for key, _ in selector.select(timeout_s)}
