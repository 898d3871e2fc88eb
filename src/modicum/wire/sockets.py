"""How the socket `s` of a directory is reached, however long the directory's path is."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket


def connect_in(link: socket.socket, directory: str) -> None:
    """Connect to the socket `s` in `directory`. Raises `OSError` if nobody listens there.

    A socket's own path may have 107 bytes only; a descriptor of its directory makes a short one of any.
    """
    folder = os.open(directory, os.O_PATH | os.O_DIRECTORY)
    try:
        link.connect(f"/proc/self/fd/{folder}/s")
    finally:
        os.close(folder)
