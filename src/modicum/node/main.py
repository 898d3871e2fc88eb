"""What the node is: it runs containers and builds images for the server, inside namespaces of its own.

Started by the keeper as `python -m modicum.node.main`. It connects to the server's socket and does what comes over
it; see `wire/messages.py` for the messages. When the server goes away everything runs on, until it has been gone
for long.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import traceback
import uuid
from collections.abc import Awaitable
from pathlib import Path

from modicum.runtimes.oci import Choice, OciRuntime, choose
from modicum.wire.channel import Answer, Channel, RemoteFailure
from modicum.wire.frames import Header
from modicum.wire.version import build_id

from . import bootstrap, network
from .bootstrap import Grounds
from .containers import Containers
from .control import Caller
from .images.builder import ImageBuilder
from .launcher import NodeLauncher
from .layout import Layout
from .namespaces import CONTROL_FD
from .overlay import Overlays
from .server_link import ServerLink
from .slots import SlotPool

SERVER_GRACE_S = 120.0
CLOSE_S = 4.0
"""The keeper kills us after 5 s."""


class Node:
    """The parts of a node, and which message goes to which."""

    def __init__(self, grounds: Grounds, pool: SlotPool, choice: Choice, grace_s: float) -> None:
        layout = grounds.layout
        self._grounds = grounds
        self._choice = choice
        self._name = f"no-{uuid.uuid4().hex[:12]}"
        self._pool = pool
        runtime = OciRuntime(choice.binary, grounds.init, layout.run / "bundles", pool, os.getpid())
        self._launcher = NodeLauncher(runtime, Overlays(layout.run), layout.run, layout.containers, grounds.resolv_conf)
        self._link = ServerLink(layout.links / "node", self._handle, self._greeting, grace_s)
        self._images = ImageBuilder(self._launcher, layout.node, self._link.send, self._link)
        self._containers = Containers(layout, self._launcher, self._images, self._link.deliver)
        self._builds: set[asyncio.Task[None]] = set()
        self._stopped = asyncio.Event()

    async def run(self) -> None:
        """Work until told to stop, or until there has been no server for long."""
        serving = asyncio.ensure_future(self._link.run())
        stopping = asyncio.ensure_future(self._stopped.wait())
        await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
        for task in (serving, stopping):
            task.cancel()
        if serving.done() and not serving.cancelled():
            serving.result()

    def stop(self) -> None:
        """Have `run` return."""
        self._stopped.set()

    async def close(self) -> None:
        """End everything and remove its files."""
        for build in list(self._builds):
            build.cancel()
        await asyncio.gather(*self._builds, return_exceptions=True)
        await self._containers.close()
        await self._pool.close()
        await self._launcher.close()

    def _greeting(self) -> Header:
        return {
            "t": "node.hello",
            "node": self._name,
            "build": build_id(),
            "pid": self._grounds.pid,
            "cpus": len(os.sched_getaffinity(0)),
            "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "containers": self._containers.report(),
            "layers": self._images.layers(),
            "limits": self._grounds.limits,
            "network": self._grounds.network_sentence,
            "runtime": self._choice.reason,
        }

    def _handle(self, channel: Channel, header: Header, payload: bytes) -> Awaitable[Answer] | Answer:
        match header["t"]:
            case "container.start":
                return self._answer(self._containers.start(header["container"], header["spec"]))
            case "container.kill":
                return {"known": self._containers.kill(header["container"])}
            case "logs.flush":
                return self._answer(self._containers.flush(header["containers"]))
            case "image.build":
                self._build(header)
            case "image.cancel":
                self._images.cancel(header["build"])
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

    def _build(self, header: Header) -> None:
        """It goes on when the server does not: the layers will be wanted again."""
        task = asyncio.ensure_future(self._images.build(header["build"], header["layers"], header["configured"]))
        self._builds.add(task)  # cancelled by close()
        task.add_done_callback(self._builds.discard)


async def _prepare(grounds: Grounds) -> tuple[SlotPool, Choice, Caller]:
    keeper, helper = Caller(grounds.keeper), Caller(grounds.helper)
    networks = {"containers": str(grounds.plan.containers), "uplink": str(grounds.plan.uplink)}
    if grounds.bridge is not None:
        await helper.ask({**networks, "bridge": grounds.bridge})
    for ended in (keeper.ended, helper.ended):
        ended.add_done_callback(lambda _: os._exit(1))  # nothing works without either; the keeper starts another node
    pool = SlotPool(keeper, helper, grounds.plan.size)
    bundles = grounds.layout.run / "bundles"
    bundles.mkdir()
    _, namespaces = await helper.ask({"number": None})
    pool.fill()
    paths = [f"/proc/{os.getpid()}/fd/{descriptor}" for descriptor in namespaces]
    choice = await asyncio.to_thread(choose, grounds.init, bundles, (paths[0], paths[1]), bootstrap.hide_cgroups)
    for descriptor in namespaces:
        os.close(descriptor)
    return pool, choice, keeper


async def _follow_host(keeper: Caller) -> None:
    """Close the way to each address that the host gains."""
    while True:
        message = await keeper.news.get()
        await asyncio.to_thread(network.replace_host_addresses, message["addresses"])


async def _main(grounds: Grounds, grace_s: float) -> None:
    pool, choice, keeper = await _prepare(grounds)
    node = Node(grounds, pool, choice, grace_s)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, node.stop)
    following = asyncio.ensure_future(_follow_host(keeper))
    sweeping = asyncio.ensure_future(asyncio.to_thread(bootstrap.remove_leftovers, grounds.leftovers))
    try:
        await node.run()
    finally:
        following.cancel()
        try:
            async with asyncio.timeout(CLOSE_S):
                await sweeping
                await node.close()
        except TimeoutError:
            print("not everything could be removed in time; the next node will", flush=True)


def main() -> int:
    """Be the node."""
    parser = argparse.ArgumentParser(prog="modicum.node.main")
    parser.add_argument("--home", type=Path, required=True)
    layout = Layout(parser.parse_args().home)
    grace_s = float(os.environ.get("MODICUM_SERVER_GRACE_S", SERVER_GRACE_S))
    asyncio.run(_main(bootstrap.lay_grounds(layout, CONTROL_FD), grace_s))
    sys.stdout.flush()
    os._exit(0)  # not through interpreter shutdown: a thread may still be deleting, and the kernel ends all of it


if __name__ == "__main__":
    sys.exit(main())
