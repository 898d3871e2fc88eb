"""Who is connected: listeners, one per principal, and what belongs to a socket."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

from modicum.wire.channel import Channel, Handler


class Links:
    """Makes listening sockets below `H/sock` and `H/links`. Whoever is accepted on one *is* its principal."""

    def __init__(self, home: Path, handler: Handler, on_closed: Callable[[Channel], None]) -> None:
        self._home = home
        self._handler = handler
        self._on_closed = on_closed

    async def listen_user(self) -> asyncio.Server:
        """Listen for the user's own processes."""
        return await self._listen(self._home / "sock", "user", "user", None)

    async def listen_node(self, owner: int) -> asyncio.Server:
        """Listen for the node; `owner` is the user id that it has outside."""
        return await self._listen(self._home / "links" / "node", "node", "node", owner)

    async def listen_container(self, container: str, owner: int) -> asyncio.Server:
        """Listen for one container."""
        return await self._listen(self._home / "links" / container, "container", container, owner)

    def containers(self) -> list[str]:
        """Return the containers that have a socket directory."""
        return [entry.name for entry in os.scandir(self._home / "links") if entry.name != "node"]

    def remove(self, container: str) -> None:
        """Remove a container's socket directory. In this namespace nothing is mounted below it."""
        shutil.rmtree(self._home / "links" / container, ignore_errors=True)

    def remove_sockets(self) -> None:
        """Remove the user's and the node's socket: this server serves them no longer. Containers keep theirs."""
        for folder in ("sock", "links/node"):
            (self._home / folder / "s").unlink(missing_ok=True)

    async def _listen(self, folder: Path, principal: str, name: str, owner: int | None) -> asyncio.Server:
        folder.parent.mkdir(mode=0o711, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        handle = os.open(folder, os.O_PATH | os.O_DIRECTORY)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            path = f"/proc/self/fd/{handle}/s"  # a path of any length: a socket's own may have 107 bytes
            (folder / "s").unlink(missing_ok=True)
            listener.bind(path)
            os.chmod(path, 0o600)
            if owner is not None:
                os.chown(path, owner, -1)
                os.chown(folder, owner, -1)
        finally:
            os.close(handle)
        listener.setblocking(False)
        return await asyncio.get_running_loop().create_unix_server(lambda: self._accept(principal, name), sock=listener)

    def _accept(self, principal: str, name: str) -> Channel:
        channel = Channel(self._handler, self._on_closed)
        channel.principal = principal
        channel.name = name
        return channel
