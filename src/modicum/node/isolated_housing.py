"""How a node lives in namespaces of its own, its containers in cgroups, with an uplink to the outside."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from . import control, netlink, network
from .cgroups import Slots, find_tree
from .desk import Desk, Worker, pid_namespace
from .housing import NodeNotStarted, Source, wait_readable
from .ids import IdMaps
from .layout import Layout, node_argv, package_parent
from .namespaces import CONTROL_FD, Blueprint, Born, start_node
from .uplink import Uplinks


class IsolatedHousing:
    """Makes namespaces for one home's nodes."""

    def __init__(self, layout: Layout, maps: IdMaps) -> None:
        self._layout = layout
        self._maps = maps
        self._tree = find_tree(layout.key)
        self._slots = Slots(self._tree)
        self.limits = self._tree.sentence
        self.root = maps.root

    def start(self) -> IsolatedLodging:
        """Start a node. Raises `NodeNotStarted`."""
        plan = network.plan_networks(network.host_routes(Path("/proc/net/route").read_text(encoding="ascii")))
        ours, theirs = control.pair()
        uplinks = Uplinks(plan)
        try:
            born = start_node(self._blueprint(), theirs.fileno(), uplinks.connect)
        except NodeNotStarted:
            uplinks.stop()
            ours.close()
            raise
        finally:
            theirs.close()
        worker = Worker()
        desk = Desk(ours, self._slots, bool(self._tree.groups), worker, pid_namespace(born.pid))
        return IsolatedLodging(born, desk, worker, uplinks, self._welcome(born.pid, plan, uplinks.sentence))

    def sweep(self) -> None:
        """Remove the cgroups of containers that are gone."""
        if not self._slots.sweep():
            print("a cgroup of the last node could not be removed yet; trying again with the next", file=sys.stderr)

    def close(self) -> None:
        """Remove the home's own cgroups."""
        self._slots.close()

    def _blueprint(self) -> Blueprint:
        from .images.host import host_paths

        catatonit = shutil.which("catatonit")
        if catatonit is None:
            raise NodeNotStarted("catatonit is missing: install the package catatonit")
        package = package_parent()
        needed = [sys.prefix, sys.base_prefix, os.path.join(package, "modicum"), *map(str, host_paths())]
        layout = self._layout
        return Blueprint(
            maps=self._maps,
            paths=tuple(needed),
            writable=(str(layout.node), str(layout.links)),
            argv=(catatonit, "--", *node_argv(layout, CONTROL_FD)),
            environ={**os.environ, "PYTHONPATH": package, "TMPDIR": str(layout.temporary)},
        )

    def _welcome(self, pid: int, plan: network.Plan, sentence: str) -> control.Message:
        return {
            "pid": pid,
            "limits": self.limits,
            "network": sentence,
            "containers": str(plan.containers),
            "uplink": str(plan.uplink),
        }


class IsolatedLodging:
    """A node in its namespaces: the desk that answers it, the uplink, and the news of the host's addresses."""

    def __init__(self, born: Born, desk: Desk, worker: Worker, uplinks: Uplinks, welcome: control.Message) -> None:
        self.child = born.maker
        self.pid = born.pid
        self._desk = desk
        self._worker = worker
        self._uplinks = uplinks
        self._listens = True
        self._addresses = _host_addresses()
        self._changes = netlink.Netlink(netlink.ADDRESS_CHANGES)
        desk.tell({**welcome, "addresses": self._addresses})

    @property
    def network(self) -> str:
        """What the node says of the network, or the uplink of itself before the node does."""
        return self._desk.network or self._uplinks.sentence

    @property
    def failure(self) -> str:
        """Why the node says that it cannot work."""
        return self._desk.failure

    @property
    def uses(self) -> str:
        """Which runtime the node says that it uses."""
        return self._desk.uses

    def sources(self) -> Sequence[Source]:
        """Return the node's requests, the host's new addresses and the uplink's end."""
        asked = (self._desk.end,) if self._listens else ()
        return (*asked, self._changes.socket, self._uplinks.ended)

    def handle(self, source: Source) -> None:
        """Answer, tell, or connect again."""
        if source is self._desk.end:
            self._listens = self._desk.answer()
        elif source is self._changes.socket:
            self._changes.socket.recv(1 << 16)
            self._tell_addresses()
        else:
            self._uplinks.connect_again(self.pid)

    def close(self) -> None:
        """End the uplink, and what is still being done for the node."""
        while self._listens and wait_readable((self._desk.end,), 0):
            self._listens = self._desk.answer()
        self._worker.close()
        self._changes.socket.close()
        self._uplinks.stop()
        self._desk.end.close()

    def _tell_addresses(self) -> None:
        addresses = _host_addresses()
        if addresses != self._addresses:
            self._addresses = addresses
            self._desk.tell({"addresses": addresses})


def _host_addresses() -> list[str]:
    with netlink.Netlink() as link:
        return link.addresses()
