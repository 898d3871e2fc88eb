"""How a container's init executes further commands for the node, below itself, so that they end with it.

The node says what, with the command's descriptors: a terminal's far side alone, or its input and outputs.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import termios
from typing import Any, NoReturn

import descendants  # type: ignore[import-not-found]  # this is no module of a package: init.py loads it

_REQUEST_BYTES_MAX = 1 << 18
_DESCRIPTORS_MAX = 3
_PRIVATE = socket.MSG_CMSG_CLOEXEC
"""A command is to have its descriptors as 0, 1 and 2 alone: another copy would keep a pipe open that it has closed."""
_RESTORED = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGCHLD)


class Executing:
    """The commands that run."""

    def __init__(self, node: socket.socket) -> None:
        self._node = node
        self._names: dict[int, str] = {}

    def take(self) -> bool:
        """Take a request; False if the node has hung up."""
        try:
            data, descriptors, _, _ = socket.recv_fds(self._node, _REQUEST_BYTES_MAX, _DESCRIPTORS_MAX, _PRIVATE)
        except OSError:
            return False
        if data:
            self._execute(json.loads(data), descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        return bool(data)

    def tell(self, ended: dict[int, int]) -> None:
        """Tell the node of those of its commands that are among these."""
        for pid, status in ended.items():
            name = self._names.pop(pid, None)
            if name is not None:
                self._say({"exec": name, "status": status})

    def _execute(self, request: dict[str, Any], descriptors: list[int]) -> None:
        told, tell = os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            _become(request, descriptors, tell)
        os.close(tell)
        failure = os.read(told, 4096).decode(errors="replace")
        os.close(told)
        self._names[pid] = request["exec"]
        self._say({"exec": request["exec"], "pid": pid, "failure": failure})

    def _say(self, message: dict[str, Any]) -> None:
        try:
            self._node.send(json.dumps(message).encode())
        except OSError:
            pass  # nobody listens any longer


def _become(request: dict[str, Any], descriptors: list[int], tell: int) -> NoReturn:
    argv = request["argv"]
    code, what = 126, argv[0]
    try:
        descendants.die_with_parent()
        os.setsid()
        if request["terminal"]:
            fcntl.ioctl(descriptors[0], termios.TIOCSCTTY, 0)
            descriptors = descriptors[:1] * 3
        for number, descriptor in enumerate(descriptors):
            os.dup2(descriptor, number)
        for number in _RESTORED:
            signal.signal(number, signal.SIG_DFL)
        what = request["cwd"]
        os.chdir(what)
        what = argv[0]
        os.execvpe(argv[0], argv, request["env"])
    except OSError as failure:
        if isinstance(failure, FileNotFoundError) and what is argv[0]:
            code = 127
        why = f"{what}: {failure.strerror}"
        os.write(tell, why.encode())
        with contextlib.suppress(OSError):
            os.write(2, f"{why}\n".encode())
    os._exit(code)
