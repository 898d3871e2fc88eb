"""What guards a machine's node: the keeper, outside all namespaces.

Starts the node, again with back-off when it dies, and sweeps what it left. What a node lives in is made by its housing
(`housing.py`): namespaces and cgroups, or nothing. Run as `python -m modicum.node.keeper --home H`; the standard
library and Linux are all it needs.

    starting ──node starts──> running ──node dies──> sweeping ──back-off──> starting
        any ──SIGTERM, or the node ended on purpose (no server for long)──> ended, with nothing left
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from modicum.runtimes import AUTO, PROCESS, RUNTIMES
from modicum.wire.version import PROTOCOL, build_id

from .housing import Housing, Lodging, NodeNotStarted, wait_readable
from .ids import NoSubordinateIds, id_maps
from .isolated_housing import IsolatedHousing
from .layout import Layout, WrongOwner, prepare
from .plain_housing import PlainHousing

BACKOFF_FIRST_S = 0.1
BACKOFF_MAX_S = 5.0
STEADY_S = 10.0
"""A node that lived this long was well: the next back-off starts over."""

STOP_S = 5.0
"""What a node gets to end its containers and remove their files."""


class Keeper:
    """One home's keeper. `housing` is where its nodes live."""

    def __init__(self, layout: Layout, housing: Housing) -> None:
        self._layout = layout
        self._housing = housing
        self._failure = ""
        self._stopping = False
        self._wake, self._woken = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def run(self) -> None:
        """Keep a node running until told to stop."""
        self._housing.sweep()
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
        self._housing.close()

    def try_once(self) -> None:
        """Start one node and serve it to its end; what came of it stands in the home's keeper.json."""
        self._run_node()
        self._housing.close()

    def _run_node(self) -> bool:
        """Start a node and serve it until it ends; whether it ended on purpose."""
        try:
            lodging = self._housing.start()
        except NodeNotStarted as failure:
            _log(f"the node could not be started: {failure}")
            self._failure = str(failure)
            self._write_facts(None)
            return False
        self._write_facts(lodging)
        try:
            return self._serve(lodging)
        finally:
            lodging.close()
            self._failure = lodging.failure
            self._write_facts(lodging)
            self._housing.sweep()

    def _serve(self, lodging: Lodging) -> bool:
        ended = os.pidfd_open(lodging.child)
        deadline: float | None = None
        while True:
            awaited = (self._wake,) if deadline is None else ()
            ready = wait_readable((ended, *awaited, *lodging.sources()), _left(deadline))
            if ended in ready:
                os.close(ended)
                return _collect(lodging) or self._stopping
            if self._stopping:
                deadline = _end_node(lodging, deadline)
            for source in lodging.sources():
                if source in ready:
                    lodging.handle(source)

    def _write_facts(self, lodging: Lodging | None) -> None:
        uid, gid = self._housing.root
        facts = {
            "pid": os.getpid(),
            "node_pid": None if lodging is None else lodging.pid,
            "build": build_id(),
            "protocol": PROTOCOL,
            "runtime": self._layout.runtime,
            "limits": self._housing.limits,
            "network": "" if lodging is None else lodging.network,
            "uses": "" if lodging is None else lodging.uses,
            "failure": self._failure,
            "root_uid": uid,
            "root_gid": gid,
        }
        write_whole(self._layout.keeper_facts, json.dumps(facts))

    def _sleep(self, seconds: float) -> None:
        wait_readable((self._wake,), 0 if self._stopping else seconds)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True


def _collect(lodging: Lodging) -> bool:
    _, status = os.waitpid(lodging.child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code:
        _log(f"the node ended with status {code}{f': {lodging.failure}' if lodging.failure else ''}")
    return code == 0


def _end_node(lodging: Lodging, deadline: float | None) -> float:
    """Ask it to end; at the deadline the kernel ends it."""
    if deadline is None:
        _kill(lodging.pid, signal.SIGTERM)
    elif time.monotonic() >= deadline:
        _kill(lodging.pid, signal.SIGKILL)
    else:
        return deadline
    return time.monotonic() + STOP_S


def write_whole(path: Path, text: str) -> None:
    """Replace a file so that a reader sees the old text or the new one."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.write_text(text, encoding="utf-8")
    scratch.rename(path)


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


def housing_of(layout: Layout) -> Housing:
    """Return where nodes of the home's runtime live. Raises `NoSubordinateIds`."""
    if layout.runtime == PROCESS:
        return PlainHousing(layout)
    return IsolatedHousing(layout, id_maps())


def main() -> int:
    """Be the keeper of one home. Ends at once, well, if it has one already."""
    parser = argparse.ArgumentParser(prog="modicum.node.keeper")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--runtime", choices=RUNTIMES, default=AUTO)
    arguments = parser.parse_args()
    os.umask(0o077)
    layout = Layout(arguments.home.resolve(), arguments.runtime)
    os.environ["MODICUM_HOME"] = str(layout.home)  # so that each of our processes can be seen to be this home's
    try:
        housing = housing_of(layout)
        prepare(layout, housing.root)
    except (NoSubordinateIds, WrongOwner, OSError) as failure:
        _log(str(failure))
        return 1
    if not _is_only_one(layout):
        return 0
    try:
        Keeper(layout, housing).run()
    finally:
        layout.keeper_facts.unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
