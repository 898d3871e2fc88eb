"""What a node works with whose containers are plain processes."""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable

from modicum.runtimes.base import RuntimeFailure
from modicum.runtimes.process import ProcessRuntime
from modicum.runtimes.process.descendants import adopt_orphans

from .control import Caller
from .images.venvs import VenvGround
from .launcher import NodeLauncher
from .layout import Layout
from .outfit import Outfit
from .plain_housing import PlainHousing, PlainLodging
from .plain_place import PlainPlace


def prepare(layout: Layout, control_fd: int) -> Callable[[], Awaitable[Outfit]]:
    """Become the ancestor of all containers; return what completes the outfit on the event loop.

    Raises `RuntimeFailure` if the home cannot hold virtual environments.
    """
    if os.statvfs(layout.node).f_flag & os.ST_NOEXEC:
        raise RuntimeFailure(
            f"{layout.home} is on a file system mounted noexec, where no virtual environment works: set MODICUM_HOME "
            "to a directory on another one"
        )
    os.environ.pop("PYTHONPATH", None)  # it was for this interpreter only
    adopt_orphans()
    os.set_inheritable(control_fd, False)
    keeper = socket.socket(fileno=control_fd)

    async def complete() -> Outfit:
        Caller(keeper).ended.add_done_callback(lambda _: os._exit(1))  # the keeper starts another node
        return Outfit(
            launcher=NodeLauncher(ProcessRuntime(), lambda launch: PlainPlace(layout, launch)),
            ground=VenvGround(layout.node / "pythons"),
            runtime="process: no isolation, as MODICUM_RUNTIME=process asks for",
            limits=PlainHousing.limits,
            network=PlainLodging.network,
        )

    return complete
