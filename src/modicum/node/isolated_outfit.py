"""What a node works with that makes containers of their own namespaces, through an OCI runtime."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from modicum.runtimes import AUTO
from modicum.runtimes.oci import Choice, OciRuntime, choose
from modicum.runtimes.oci.probe import CANDIDATES

from . import bootstrap, network
from .bootstrap import Grounds
from .control import Caller
from .images.ground import DebianGround
from .launcher import NodeLauncher
from .layout import Layout
from .outfit import Outfit
from .overlay import Overlays
from .overlay_place import OverlayPlaces
from .removal import remove_tree
from .slots import SlotPool


def prepare(layout: Layout, control_fd: int) -> Callable[[], Awaitable[Outfit]]:
    """Prepare the namespaces that the keeper has made; return what completes the outfit on the event loop.

    Either raises `OSError` or `RuntimeFailure` if nothing can be run here.
    """
    grounds = bootstrap.lay_grounds(layout, control_fd)
    return lambda: _complete(grounds)


async def _complete(grounds: Grounds) -> Outfit:
    layout = grounds.layout
    overlays = Overlays(layout.run)
    _try_overlay(overlays, layout)
    pool, choice, keeper = await _connect(grounds)
    runtime = OciRuntime(choice.binary, grounds.init, layout.run / "bundles", pool, os.getpid())
    places = OverlayPlaces(overlays, layout.run, layout.containers, grounds.resolv_conf)
    following = asyncio.ensure_future(_follow_host(keeper))

    async def close() -> None:
        following.cancel()
        await pool.close()

    return Outfit(
        launcher=NodeLauncher(runtime, places),
        ground=DebianGround(),
        runtime=choice.reason,
        limits=grounds.limits,
        network=grounds.network_sentence,
        pid=grounds.pid,
        close=close,
    )


def _try_overlay(overlays: Overlays, layout: Layout) -> None:
    """See that the home can hold what containers write. Raises `OSError` that says what is wrong with it."""
    place, root = Path(tempfile.mkdtemp(dir=layout.containers, prefix="try-")), layout.run / "try"
    lower, upper, work = (place / name for name in ("lower", "upper", "work"))
    for folder in (lower, upper, work, root):
        folder.mkdir()
    overlays.mount(root, [lower], upper, work)
    overlays.unmount(root)
    remove_tree(place)


async def _connect(grounds: Grounds) -> tuple[SlotPool, Choice, Caller]:
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
    user, net = (f"/proc/{os.getpid()}/fd/{descriptor}" for descriptor in namespaces)
    names = CANDIDATES if grounds.layout.runtime == AUTO else (grounds.layout.runtime,)
    choice = await asyncio.to_thread(choose, grounds.init, bundles, (user, net), bootstrap.hide_cgroups, names)
    for descriptor in namespaces:
        os.close(descriptor)
    return pool, choice, keeper


async def _follow_host(keeper: Caller) -> None:
    """Close the way to each address that the host gains."""
    while True:
        message = await keeper.news.get()
        await asyncio.to_thread(network.replace_host_addresses, message["addresses"])
