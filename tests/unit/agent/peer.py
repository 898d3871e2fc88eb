"""The other end of an agent's socket, for tests of agents."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from modicum.wire.frames import Decoder, Frame, Header, encode


class Server:
    """The other end of an agent's socket."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.listener = socket.socket(socket.AF_UNIX)
        handle = os.open(folder, os.O_PATH | os.O_DIRECTORY)
        self.listener.bind(f"/proc/self/fd/{handle}/s")
        os.close(handle)
        self.listener.listen()
        self.connection: socket.socket | None = None
        self.decoder = Decoder()

    def accept(self) -> Header:
        """Take the agent's (next) connection; return its first frame."""
        self.connection, _ = self.listener.accept()
        self.connection.settimeout(5)
        self.decoder = Decoder()
        self.frames: list[Frame] = []
        return self.receive()[0]

    def receive(self) -> Frame:
        assert self.connection is not None
        while not self.frames:
            self.frames += self.decoder.feed(self.connection.recv(1 << 20))
        return self.frames.pop(0)

    def send(self, header: Header, payload: bytes = b"") -> None:
        assert self.connection is not None
        self.connection.sendall(encode(header, payload))

    def quiet(self) -> bool:
        """Return whether nothing more has come."""
        assert self.connection is not None
        self.connection.setblocking(False)
        try:
            self.frames += self.decoder.feed(self.connection.recv(1 << 20))
        except BlockingIOError:
            return not self.frames
        finally:
            self.connection.settimeout(5)
        return False

    def drop(self) -> None:
        assert self.connection is not None
        self.connection.close()


def in_thread(work: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    results: list[Any] = []

    def run() -> None:
        try:
            results.append(work())
        except Exception as error:
            results.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, results
