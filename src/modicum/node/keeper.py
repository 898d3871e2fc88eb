"""What guards a machine's node: the keeper, outside all namespaces.

Makes the node's namespaces and cgroups, writes limits from outside, starts the node again with back-off when it
dies, and sweeps what it left. Run as `python -m modicum.node.keeper --home H`; the standard library and Linux are
all it needs.

    starting ──node starts──> running ──node dies──> sweeping ──back-off──> starting
        any ──SIGTERM, or the node ended on purpose (no server for long)──> ended, with nothing left
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import selectors
import shutil
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from modicum.wire.version import PROTOCOL, build_id

from . import control, netlink, network
from .cgroups import Slots, find_tree
from .desk import Desk, Worker, pid_namespace
from .ids import IdMaps, NoSubordinateIds, id_maps
from .layout import Layout, WrongOwner, prepare
from .namespaces import Blueprint, Born, NodeNotStarted, node_argv, package_parent, start_node
from .uplink import Uplinks

BACKOFF_FIRST_S = 0.1
BACKOFF_MAX_S = 5.0
STEADY_S = 10.0
"""A node that lived this long was well: the next back-off starts over."""

STOP_S = 5.0
"""What a node gets to end its containers and remove their files."""


class Keeper:
    """One home's keeper."""

    def __init__(self, layout: Layout, maps: IdMaps) -> None:
        self._layout = layout
        self._maps = maps
        self._tree = find_tree(layout.key)
        self._slots = Slots(self._tree)
        self._stopping = False
        self._wake, self._woken = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def run(self) -> None:
        """Keep a node running until told to stop."""
        self._slots.sweep()
        signal.set_wakeup_fd(self._woken)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        pause = BACKOFF_FIRST_S
        while not self._stopping:
            started = time.monotonic()
            ended_well = self._run_node()
            if ended_well:
                break
            if time.monotonic() - started > STEADY_S:
                pause = BACKOFF_FIRST_S
            self._sleep(pause)
            pause = min(pause * 2, BACKOFF_MAX_S)
        self._slots.close()

    def _run_node(self) -> bool:
        """Start a node and serve it until it ends; whether it ended on purpose."""
        plan = network.plan_networks(network.host_routes(Path("/proc/net/route").read_text(encoding="ascii")))
        ours, theirs = control.pair()
        uplinks = Uplinks(plan)
        try:
            born = start_node(self._blueprint(), theirs.fileno(), uplinks.connect)
        except NodeNotStarted as failure:
            _log(f"the node could not be started: {failure}")
            uplinks.stop()
            ours.close()
            return False
        finally:
            theirs.close()
        self._write_facts(born.pid, uplinks.sentence)
        worker = Worker()
        try:
            desk = Desk(ours, self._slots, bool(self._tree.groups), worker, pid_namespace(born.pid))
            return self._serve(born, desk, uplinks, plan)
        finally:
            worker.close()
            uplinks.stop()
            ours.close()
            self._sweep()

    def _serve(self, born: Born, desk: Desk, uplinks: Uplinks, plan: network.Plan) -> bool:
        addresses = _host_addresses()
        desk.tell(self._welcome(born.pid, plan, uplinks.sentence, addresses))
        ended = os.pidfd_open(born.maker)
        deadline: float | None = None
        with netlink.Netlink(netlink.ADDRESS_CHANGES) as changes, selectors.DefaultSelector() as selector:
            for watched in (desk.end, ended, changes.socket, self._wake, uplinks.ended):
                selector.register(watched, selectors.EVENT_READ)
            while True:
                ready = {key.fileobj for key, _ in selector.select(_left(deadline))}
                if ended in ready:
                    os.close(ended)
                    return self._collect(born) or self._stopping
                if self._stopping:
                    deadline = self._end_node(born, deadline, selector)
                if desk.end in ready and not desk.answer():
                    selector.unregister(desk.end)
                if changes.socket in ready:
                    changes.socket.recv(1 << 16)
                    addresses = _tell_addresses(desk, addresses)
                if uplinks.ended in ready:
                    selector.unregister(uplinks.ended)
                    uplinks.connect_again(born.pid)
                    selector.register(uplinks.ended, selectors.EVENT_READ)

    def _collect(self, born: Born) -> bool:
        _, status = os.waitpid(born.maker, 0)
        code = os.waitstatus_to_exitcode(status)
        if code:
            _log(f"the node ended with status {code}")
        return code == 0

    def _end_node(self, born: Born, deadline: float | None, selector: selectors.BaseSelector) -> float:
        """Ask it to end; at the deadline the kernel ends it and all that is in its pid namespace."""
        if deadline is None:
            selector.unregister(self._wake)
            _kill(born.pid, signal.SIGTERM)
        elif time.monotonic() >= deadline:
            _kill(born.pid, signal.SIGKILL)
        else:
            return deadline
        return time.monotonic() + STOP_S

    def _sweep(self) -> None:
        if not self._slots.sweep():
            _log("a cgroup of the last node could not be removed yet; trying again with the next")

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
            argv=node_argv(catatonit, str(layout.home)),
            environ={**os.environ, "PYTHONPATH": package, "TMPDIR": str(layout.temporary)},
        )

    def _welcome(self, pid: int, plan: network.Plan, sentence: str, addresses: list[str]) -> control.Message:
        return {
            "pid": pid,
            "limits": self._tree.sentence,
            "network": sentence,
            "addresses": addresses,
            "containers": str(plan.containers),
            "uplink": str(plan.uplink),
        }

    def _write_facts(self, node_pid: int, network_sentence: str) -> None:
        uid, gid = self._maps.root
        facts = {
            "pid": os.getpid(),
            "node_pid": node_pid,
            "build": build_id(),
            "protocol": PROTOCOL,
            "limits": self._tree.sentence,
            "network": network_sentence,
            "root_uid": uid,
            "root_gid": gid,
        }
        write_whole(self._layout.keeper_facts, json.dumps(facts))

    def _sleep(self, seconds: float) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake, selectors.EVENT_READ)
            selector.select(0 if self._stopping else seconds)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True


def write_whole(path: Path, text: str) -> None:
    """Replace a file so that a reader sees the old text or the new one."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.write_text(text, encoding="utf-8")
    scratch.rename(path)


def _tell_addresses(desk: Desk, known: list[str]) -> list[str]:
    addresses = _host_addresses()
    if addresses != known:
        desk.tell({"addresses": addresses})
    return addresses


def _host_addresses() -> list[str]:
    with netlink.Netlink() as link:
        return link.addresses()


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def _kill(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def _log(sentence: str) -> None:
    print(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} keeper: {sentence}", file=sys.stderr, flush=True)


def _is_only_one(layout: Layout) -> bool:
    """Take the home's lock, for as long as this process lives.

    An engine that only looks whether there is a keeper holds it for a moment: hence the second look.
    """
    lock = os.open(layout.lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    for pause in (0.02, 0.1, 0.0):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(pause)
    return False


def main() -> int:
    """Be the keeper of one home. Ends at once, well, if it has one already."""
    parser = argparse.ArgumentParser(prog="modicum.node.keeper")
    parser.add_argument("--home", type=Path, required=True)
    os.umask(0o077)
    layout = Layout(parser.parse_args().home.resolve())
    os.environ["MODICUM_HOME"] = str(layout.home)  # so that each of our processes can be seen to be this home's
    try:
        maps = id_maps()
        prepare(layout, maps)
    except (NoSubordinateIds, WrongOwner, OSError) as failure:
        _log(str(failure))
        return 1
    if not _is_only_one(layout):
        return 0
    try:
        Keeper(layout, maps).run()
    finally:
        layout.keeper_facts.unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
