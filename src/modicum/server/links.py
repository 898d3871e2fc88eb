"""Who is connected: listeners, one per principal, and what belongs to a socket."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from modicum.server.api.fields import container_id
from modicum.wire.channel import Channel, Handler
from modicum.wire.messages import CONTAINER, HOSTILE, NODE, RESTRICTED, USER

CONNECTIONS_MAX = 64
"""One container may have so many: the agent's, and one for each thread of user code that calls other functions."""


class Links:
    """Makes listening sockets below `H/sock` and `H/links`. Whoever is accepted on one *is* its principal."""

    def __init__(self, home: Path, handler: Handler, on_closed: Callable[[Channel], None]) -> None:
        self._home = home
        self._handler = handler
        self._on_closed = on_closed
        self._open: Counter[str] = Counter()

    async def listen_user(self) -> asyncio.Server:
        """Listen for the user's own processes."""
        return await self._listen(self._home / "sock", USER, USER, None)

    async def listen_node(self, owner: int) -> asyncio.Server:
        """Listen for the node; `owner` is the user id that it has outside."""
        return await self._listen(self._home / "links" / "node", NODE, NODE, owner)

    async def listen_container(self, container: str, owner: int, restricted: bool = False) -> asyncio.Server:
        """Listen for one container; of a restricted one only what its agent has to say is taken."""
        principal = RESTRICTED if restricted else CONTAINER
        return await self._listen(self._home / "links" / container_id(container), principal, container, owner)

    def containers(self) -> list[str]:
        """Return the containers that have a socket directory."""
        return [entry.name for entry in os.scandir(self._home / "links") if entry.name != "node"]

    def remove(self, container: str) -> None:
        """Remove a container's socket directory, never anything below a directory in it."""
        folder = self._home / "links" / container_id(container)
        with contextlib.suppress(OSError):
            for entry in os.scandir(folder):
                os.unlink(entry.path)
            folder.rmdir()

    def remove_sockets(self) -> None:
        """Remove the user's and the node's socket: this server serves them no longer. Containers keep theirs."""
        for folder in ("sock", "links/node"):
            (self._home / folder / "s").unlink(missing_ok=True)

    async def _listen(self, folder: Path, principal: str, name: str, owner: int | None) -> asyncio.Server:
        folder.parent.mkdir(mode=0o711, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        # The directory may belong to the node, which runs hostile code: nothing here follows a link that it makes.
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink("s", dir_fd=handle)
            listener.bind(f"/proc/self/fd/{handle}/s")  # a path of any length: a socket's own may have 107 bytes
            if owner is not None:
                os.chown("s", owner, -1, dir_fd=handle, follow_symlinks=False)
                os.fchown(handle, owner, -1)
        except OSError as error:
            listener.close()
            raise OSError(error.errno, f"no socket can be made there: {error.strerror}", str(folder / "s")) from None
        finally:
            os.umask(before)
            os.close(handle)
        listener.setblocking(False)
        return await asyncio.get_running_loop().create_unix_server(lambda: self._accept(principal, name), sock=listener)

    def _accept(self, principal: str, name: str) -> Channel:
        channel = Channel(self._handler, self._closed)
        channel.principal = principal
        channel.name = name
        if principal in HOSTILE:
            self._open[name] += 1
            channel.refused = self._open[name] > CONNECTIONS_MAX
        return channel

    def _closed(self, channel: Channel) -> None:
        if channel.principal in HOSTILE:
            self._open[channel.name] -= 1
            if not self._open[channel.name]:
                del self._open[channel.name]
        self._on_closed(channel)
