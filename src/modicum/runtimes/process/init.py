"""What stands above a container's processes where no pid namespace can: it adopts all of them and ends them together.

A program: `python -I -S init.py DESCRIPTOR COMMAND…`. On the descriptor, a socket to the node, it says `+` once the
command runs, or `!` and why it does not; then, when the command has ended and nothing that it started is left, its wait
status. When the node's end of the socket closes, as when the node is killed, it ends all at once.

What the node says is JSON, with descriptors: a further command to execute, which `executing.py` does. Of each the node
is told the pid, or the failure, and then the wait status.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
from typing import NoReturn

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # started in isolated mode, it finds nothing of ours

import descendants  # type: ignore[import-not-found]

END_WITHIN_S = 10.0
_IGNORED = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)


def main() -> int:
    """Run the command to its end."""
    node = socket.socket(fileno=int(sys.argv[1]))
    node.set_inheritable(False)
    descendants.adopt_orphans()
    woken, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    pid, failure = _start(sys.argv[2:])
    _say(node, f"!{failure}" if failure else "+")
    status = _follow(pid, node, woken)
    descendants.end_descendants(os.getpid(), END_WITHIN_S)
    status = descendants.reap().get(pid, status)
    _say(node, str(status))
    return 0


def _start(command: list[str]) -> tuple[int, str]:
    """Start the command; return its pid and what was wrong, if it could not be."""
    told, tell = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        _become(command, tell)
    os.close(tell)
    failure = os.read(told, 4096).decode(errors="replace")
    os.close(told)
    return pid, failure


def _become(command: list[str], tell: int) -> NoReturn:
    try:
        descendants.die_with_parent()
        os.setsid()
        for number in (*_IGNORED, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        os.execvp(command[0], command)
    except OSError as failure:
        os.write(tell, f"{command[0]}: {failure.strerror}".encode())
    os._exit(127)


def _follow(pid: int, node: socket.socket, woken: int) -> int:
    """Return the command's wait status when it has ended; it is killed when the node hangs up."""
    status, executing = None, None
    while status is None:
        ready, _, _ = select.select([node.fileno(), woken], [], [])
        if node.fileno() in ready:
            if executing is None:
                import executing as executing_  # type: ignore[import-not-found]  # 10 ms, where it is asked for

                executing = executing_.Executing(node)
            if not executing.take():
                descendants.end_descendants(os.getpid(), END_WITHIN_S)
                return int(descendants.reap().get(pid, signal.SIGKILL))
        if woken in ready:
            os.read(woken, 4096)
        ended = descendants.reap()
        status = ended.get(pid)
        if executing is not None:
            executing.tell(ended)
    return int(status)


def _say(node: socket.socket, text: str) -> None:
    try:
        node.send(text.encode())
    except OSError:
        pass  # nobody listens any longer


if __name__ == "__main__":
    sys.exit(main())
