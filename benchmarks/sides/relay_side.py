"""The wake-ups alone, as a floor of a call: bytes go to a process, through it to another, and back; nothing else."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from harness import durations, serve

MESSAGE = b"x" * 200


def main() -> None:
    client, front = socket.socketpair()
    back, worker = socket.socketpair()
    start(lambda: echo(worker), (client, front, back))
    start(lambda: relay(front, back), (client, worker))
    for other in (front, back, worker):
        other.close()  # so that both children end with this process

    def call() -> None:
        client.sendall(MESSAGE)
        client.recv(4096)

    serve({"calls": lambda count: durations(call, count)})


def start(work: Callable[[], None], others: Iterable[socket.socket]) -> None:
    """Run `work` in a child that holds none of the other sockets."""
    if os.fork() == 0:
        for other in others:
            other.close()
        work()
        os._exit(0)


def relay(front: socket.socket, back: socket.socket) -> None:
    while data := front.recv(4096):
        back.sendall(data)
        front.sendall(back.recv(4096))


def echo(worker: socket.socket) -> None:
    while data := worker.recv(4096):
        worker.sendall(data)


if __name__ == "__main__":
    main()
