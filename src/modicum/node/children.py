"""How the node waits for a process of its own without a thread or a signal handler."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess

from modicum.runtimes.base import Usage
from modicum.runtimes.process_usage import usage_at_end


class Child:
    """A started process. Its exit status is collected as soon as it ends."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._loop = asyncio.get_running_loop()
        self.used = Usage()
        """What it has used, with all that it waited for; known once it has ended."""
        self.pidfd = os.pidfd_open(process.pid)
        self.ended: asyncio.Future[int] = self._loop.create_future()
        self._loop.add_reader(self.pidfd, self._on_end)

    @property
    def pid(self) -> int:
        """Its process id; meaningless once `ended` is done."""
        return self._process.pid

    async def wait(self) -> int:
        """Return the exit status as `subprocess` gives it: negative for a signal."""
        return await asyncio.shield(self.ended)

    def kill(self) -> None:
        """SIGKILL it. Harmless when it has ended."""
        if not self.ended.done():
            # `Popen.kill` would wait for it first, and keep nothing of what it has used.
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def _on_end(self) -> None:
        self._loop.remove_reader(self.pidfd)
        os.close(self.pidfd)
        if not self.ended.done():
            _, status, used = os.wait4(self._process.pid, 0)
            self._process.returncode = os.waitstatus_to_exitcode(status)
            self.used = usage_at_end(used)
            self.ended.set_result(self._process.returncode)


async def communicate(process: asyncio.subprocess.Process) -> tuple[bytes, bytes]:
    """Return what a process says on stdout and stderr. It does not outlive a wait that is cancelled."""
    try:
        return await process.communicate()
    except BaseException:
        process.kill()
        await process.wait()
        raise
