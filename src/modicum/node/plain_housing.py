"""How a node lives where no namespace can be made: as a plain process, with all that it starts below the keeper."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Sequence
from functools import cached_property

from modicum.runtimes.process.descendants import adopt_orphans, die_with_parent, end_descendants, end_marked, reap

from . import control
from .housing import NodeNotStarted, Source, wait_readable
from .layout import Layout, node_argv, package_parent

END_WITHIN_S = 5.0
_FAILURE_CHARACTERS_MAX = 1000


class PlainHousing:
    """Starts one home's nodes as children of the keeper, which adopts whatever they leave."""

    limits = "limits not enforced: plain processes have none"

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self.root = (os.geteuid(), os.getegid())
        adopt_orphans()

    def start(self) -> PlainLodging:
        """Start a node. Raises `NodeNotStarted`."""
        ours, theirs = control.pair()
        try:
            node = subprocess.Popen(
                node_argv(self._layout, theirs.fileno()),
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                cwd="/",
                env={**os.environ, "PYTHONPATH": package_parent(), "TMPDIR": str(self._layout.temporary)},
                start_new_session=True,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - the keeper has one thread
            )
        except OSError as failure:
            ours.close()
            raise NodeNotStarted(str(failure)) from failure
        finally:
            theirs.close()
        return PlainLodging(node, ours)

    def sweep(self) -> None:
        """End what the last node left, and what one left whose keeper was killed with it."""
        end_descendants(os.getpid(), END_WITHIN_S)
        reap()
        end_marked(self._mark, END_WITHIN_S)

    @cached_property
    def _mark(self) -> str:
        return self._layout.mark  # asked once: the home may be deleted while we need it

    def close(self) -> None:
        """There is nothing but processes."""
        self.sweep()


class PlainLodging:
    """A node as our child; over its socket it says which runtime it uses, or why it cannot work."""

    network = "the machine's own network: plain processes are not kept from it"

    def __init__(self, node: subprocess.Popen[bytes], link: socket.socket) -> None:
        self.child = self.pid = node.pid
        self.failure = self.uses = ""
        self._node = node
        self._link = link
        self._listens = True

    def sources(self) -> Sequence[Source]:
        """Return the node's socket."""
        return (self._link,) if self._listens else ()

    def handle(self, source: Source) -> None:
        """Take what it says."""
        try:
            received = control.receive(self._link)
        except (OSError, control.Malformed):
            received = None
        self._listens = received is not None
        message = received[0] if received is not None else {}
        if message.get("op") == "failed":
            self.failure = str(message.get("why"))[:_FAILURE_CHARACTERS_MAX]
        elif message.get("op") == "ready":
            self.uses = str(message.get("uses"))

    def close(self) -> None:
        """Read what it said last. The keeper has collected its exit status."""
        while self._listens and wait_readable((self._link,), 0):
            self.handle(self._link)
        self._node.returncode = 0
        self._link.close()
