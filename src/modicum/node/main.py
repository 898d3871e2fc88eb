"""What the node is: it runs containers and builds images for the server.

Started by the keeper as `python -m modicum.node.main`, in namespaces of its own unless its runtime is `process`. It
connects to the server's socket and does what comes over it; see `wire/messages.py` for the messages. When the server
goes away everything runs on, until it has been gone for long.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import sys
import traceback
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path

from modicum.runtimes import PROCESS
from modicum.runtimes.base import RuntimeFailure
from modicum.wire.channel import Answer, Channel, RemoteFailure
from modicum.wire.frames import Header
from modicum.wire.version import build_id

from . import control
from .containers import Containers
from .execs import Execs
from .gpus import inventory
from .gpus.inventory import Inventory
from .images.builder import ImageBuilder
from .layout import Layout
from .metering import EVERY_S
from .outfit import Outfit
from .removal import remove_tree
from .server_link import ServerLink

SERVER_GRACE_S = 120.0
USAGES_PER_FRAME = 1000
CLOSE_S = 4.0
"""The keeper kills us after 5 s."""


class Node:
    """The parts of a node, and which message goes to which."""

    def __init__(self, layout: Layout, outfit: Outfit, grace_s: float, inventory: Inventory) -> None:
        self._outfit = outfit
        self._inventory = inventory
        self._name = f"no-{uuid.uuid4().hex[:12]}"
        self._link = ServerLink(layout.links / "node", self._handle, self._greeting, grace_s)
        self._images = ImageBuilder(outfit.launcher, layout.node, self._link.send, self._link, outfit.ground)
        self._containers = Containers(layout, outfit.launcher, self._images, self._link.deliver, inventory)
        self._execs = Execs(self._link.send)
        self._link.on_lost = self._execs.hang_up
        self._pruner = self._images.pruner(self._containers.layers)
        self._builds: dict[asyncio.Task[None], str] = {}
        self._stopped = asyncio.Event()

    async def run(self) -> None:
        """Work until told to stop, or until there has been no server for long."""
        serving = asyncio.ensure_future(self._link.run())
        stopping = asyncio.ensure_future(self._stopped.wait())
        metering = asyncio.ensure_future(self._meter())
        await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
        for task in (serving, stopping, metering):
            task.cancel()
        if serving.done() and not serving.cancelled():
            serving.result()

    async def _meter(self) -> None:
        """Tell the server every few seconds what containers have used. What is not told is told the next time."""
        while True:
            await asyncio.sleep(EVERY_S)
            usage = list((await self._containers.usage()).items())
            for first in range(0, len(usage), USAGES_PER_FRAME):
                part = dict(usage[first : first + USAGES_PER_FRAME])
                self._link.send({"t": "node.usage", "containers": part})

    def stop(self) -> None:
        """Have `run` return."""
        self._stopped.set()

    async def close(self) -> None:
        """End everything and remove its files."""
        for build in list(self._builds):
            build.cancel()
        await asyncio.gather(*self._builds, return_exceptions=True)
        await self._execs.close()
        await self._containers.close()
        await self._outfit.close()
        await self._outfit.launcher.close()

    def _greeting(self) -> Header:
        return {
            "t": "node.hello",
            "node": self._name,
            "build": build_id(),
            "pid": self._outfit.pid,
            "cpus": len(os.sched_getaffinity(0)),
            "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "containers": self._containers.report(),
            "builds": sorted(set(self._builds.values())),
            "layers": self._images.layers(),
            "gpus": self._inventory.told(),
            "gpus_note": self._inventory.note,
            "limits": self._outfit.limits,
            "network": self._outfit.network,
            "runtime": self._outfit.runtime,
        }

    def _handle(self, channel: Channel, header: Header, payload: bytes) -> Awaitable[Answer] | Answer:
        match header["t"]:
            case "container.start":
                return self._answer(self._containers.start(header["container"], header["spec"]))
            case "container.kill":
                return {"known": self._containers.kill(header["container"])}
            case "exec.start":
                host = self._containers.running(header["container"])
                return self._answer(self._execs.start(host, header))
            case "exec.input" | "exec.resize" | "exec.signal" | "exec.ack" | "exec.ended":
                self._execs.take(header, payload)
            case "logs.flush":
                return self._answer(self._containers.flush(header["containers"]))
            case "image.build":
                self._build(header)
            case "image.cancel":
                self._images.cancel(header["build"])
            case "layers.list":
                return self._list_layers()
            case "layers.prune":
                return self._prune(header["keep"])
            case "ping":
                pass
            case other:
                raise RemoteFailure("unknown_message", f"the node knows no message {other!r}")
        return None

    async def _answer(self, work: Awaitable[None]) -> Answer:
        """Answer when the work is done. Whatever goes wrong the server is told: it waits for an answer."""
        try:
            await work
        except RemoteFailure:
            raise
        except Exception as failure:
            traceback.print_exc()
            raise RemoteFailure("internal", f"the node failed: {type(failure).__name__}: {failure}") from failure
        return None

    async def _list_layers(self) -> Answer:
        return {"layers": await self._pruner.sizes()}

    async def _prune(self, keep: list[str]) -> Answer:
        try:
            return {"removed": await self._pruner.prune(keep)}
        except OSError as failure:
            raise RemoteFailure("internal", f"layers could not be removed: {failure}") from failure

    def _build(self, header: Header) -> None:
        """It goes on when the server does not: the layers will be wanted again."""
        task = asyncio.ensure_future(self._images.build(header["build"], header["layers"], header["configured"]))
        self._builds[task] = header["build"]  # cancelled by close()
        task.add_done_callback(self._builds.pop)


async def _main(layout: Layout, make: Callable[[], Awaitable[Outfit]], keeper: socket.socket, grace_s: float) -> None:
    leftovers = tuple(layout.containers.iterdir())
    outfit = await make()
    control.send(keeper, {"op": "ready", "uses": outfit.runtime, "network": outfit.network})
    node = Node(layout, outfit, grace_s, await asyncio.to_thread(inventory.take))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, node.stop)
    sweeping = asyncio.ensure_future(asyncio.to_thread(_remove, leftovers))
    try:
        await node.run()
    finally:
        try:
            async with asyncio.timeout(CLOSE_S):
                await sweeping
                await node.close()
        except TimeoutError:
            print("not everything could be removed in time; the next node will", flush=True)


def _remove(leftovers: tuple[Path, ...]) -> None:
    """Remove the directories of an earlier node's containers."""
    for path in leftovers:
        remove_tree(path)


def _outfit(layout: Layout, control_fd: int) -> Callable[[], Awaitable[Outfit]]:
    """Do what must be done before there is an event loop; return what makes the outfit on it."""
    if layout.runtime == PROCESS:
        from . import plain_outfit

        return plain_outfit.prepare(layout, control_fd)
    from . import isolated_outfit

    return isolated_outfit.prepare(layout, control_fd)


def main() -> int:
    """Be the node."""
    parser = argparse.ArgumentParser(prog="modicum.node.main")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--runtime", required=True)
    parser.add_argument("--control", type=int, required=True)
    arguments = parser.parse_args()
    layout = Layout(arguments.home, arguments.runtime)
    grace_s = float(os.environ.get("MODICUM_SERVER_GRACE_S", SERVER_GRACE_S))
    keeper = socket.socket(fileno=os.dup(arguments.control))
    try:
        asyncio.run(_main(layout, _outfit(layout, arguments.control), keeper, grace_s))
    except (OSError, RuntimeFailure) as failure:
        traceback.print_exc()
        control.send(keeper, {"op": "failed", "why": str(failure)})
        return 1
    sys.stdout.flush()
    os._exit(0)  # not through interpreter shutdown: a thread may still be deleting, and the kernel ends all of it


if __name__ == "__main__":
    sys.exit(main())
