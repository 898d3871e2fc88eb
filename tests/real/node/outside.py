"""A network beyond the host: a namespace of its own with a web of one server, reached through the host's routes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_NUMBER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
"""Of this process among those that run tests side by side: each has a network of its own."""

HOST, BEYOND = f"198.51.100.{4 * _NUMBER + 1}", f"198.51.100.{4 * _NUMBER + 2}"
PORT = 7777 + _NUMBER

_SERVER = f"""
import socket
listener = socket.create_server(("0.0.0.0", {PORT}))
print("ready", flush=True)
while True:
    link, _ = listener.accept()
    link.sendall(b"hello from " + link.getsockname()[0].encode())
    link.close()
"""


@dataclass(frozen=True)
class Outside:
    """Where servers listen: beyond the host, and on every address of the host itself."""

    beyond: str
    host: str
    port: int
    device: str
    """The host's end."""

    spare: str
    """An address that nobody has."""


@contextmanager
def outside() -> Iterator[Outside]:
    """Make it. Needs root."""
    namespace, ours = f"modicum-outside-{_NUMBER}", f"mod-out-{_NUMBER}"
    _run("ip", "netns", "add", namespace)
    try:
        _run("ip", "link", "add", ours, "type", "veth", "peer", "name", "eth0", "netns", namespace)
        _run("ip", "addr", "add", f"{HOST}/30", "dev", ours)
        _run("ip", "link", "set", ours, "up")
        for words in (f"addr add {BEYOND}/30 dev eth0", "link set eth0 up", "link set lo up"):
            _run("ip", "-n", namespace, *words.split())
        with _serving("ip", "netns", "exec", namespace), _serving():
            yield Outside(BEYOND, HOST, PORT, ours, f"198.51.100.{200 + _NUMBER}")
    finally:
        _run("ip", "netns", "del", namespace)


@contextmanager
def _serving(*inside: str) -> Iterator[None]:
    server = subprocess.Popen([*inside, sys.executable, "-c", _SERVER], stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
        yield
    finally:
        server.kill()
        server.communicate()


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True)
