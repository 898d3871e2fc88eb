"""A node without isolation: agents as plain processes of this machine. For tests of everything but containers.

It speaks the node's side of the wire as the real node does; images are the interpreter that runs the tests.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from modicum.node.images.filesets import fetch_entries, lay_out
from modicum.wire.channel import Answer, Channel, RemoteFailure, connect
from modicum.wire.frames import Frame, Header
from modicum.wire.version import build_id


class ProcessNode:
    """Starts each "container" as a process. `home` is the server's."""

    def __init__(self, home: Path, cpus: float = 2.0) -> None:
        self.home = home
        self._cpus = cpus
        self._channel: Channel | None = None
        self.processes: dict[str, asyncio.subprocess.Process] = {}
        self._functions: dict[str, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._baked: dict[str, str] = {}

    async def join(self) -> None:
        """Connect to the server and say hello, again whenever the connection is lost, until cancelled."""
        while True:
            try:
                self._channel = await connect(str(self.home / "links" / "node"), self._handle)
            except OSError:
                await asyncio.sleep(0.05)
                continue
            await self._channel.request(
                {
                    "t": "node.hello",
                    "node": "process",
                    "build": build_id(),
                    "pid": os.getpid(),
                    "cpus": self._cpus,
                    "memory_bytes": 8 << 30,
                    "containers": [{"id": c, "function": f} for c, f in self._functions.items() if c in self.processes],
                    "layers": [],
                    "limits": "none: these are plain processes",
                    "runtime": "process",
                }
            )
            await self._channel.wait_closed()

    def _handle(self, channel: Channel, header: Header, payload: bytes) -> Any:
        kind = header["t"]
        if kind == "container.start":
            return self._start(header["container"], header["spec"])
        if kind == "container.kill":
            known = header["container"] in self.processes
            self.kill(header["container"])
            return {"known": known}
        if kind == "image.build":
            steps = {layer["id"]: layer["step"] for layer in header["layers"]}
            self._baked.update({name: step["files"] for name, step in steps.items() if step["op"] == "add_files"})
            channel.send({"t": "build.output", "build": header["build"], "size": 8}, b"building")
            channel.send({"t": "build.done", "build": header["build"], "config": {}})
            return None
        return None

    async def _start(self, container: str, spec: dict[str, Any]) -> Answer:
        root = self.home / "roots" / container
        (root / "root").mkdir(parents=True)
        baked = [self._baked[layer] for layer in spec["layers"][::-1] if layer in self._baked]
        for set_id in [*baked, *spec["files"]]:
            await self._lay_out(set_id, root)
        boot = self.home / "node" / "agent" / build_id() / "modicum" / "agent" / "boot.py"
        environment = {**os.environ, **spec["env"], "MODICUM_SOCKET": str(self.home / "links" / container)}
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-S",
                str(boot),
                cwd=root / "root",
                env=environment,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise RemoteFailure("start_failed", str(error)) from None
        self.processes[container] = process
        self._functions[container] = spec["function"]
        task = asyncio.ensure_future(self._watch(container, process))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return None

    async def _lay_out(self, set_id: str, root: Path) -> None:
        """Later sets come over earlier ones, as layers do."""
        layer = root / set_id
        layer.mkdir()
        await lay_out(self, await fetch_entries(self, set_id), layer)
        shutil.copytree(layer, root, dirs_exist_ok=True)
        shutil.rmtree(layer)

    async def ask(self, header: Header) -> Frame:
        """Return the server's answer to a request."""
        assert self._channel is not None
        return await self._channel.request(header)

    async def fetch(self, blob: str) -> AsyncIterator[bytes]:
        """Yield a blob's bytes."""
        offset, total = 0, 1
        while offset < total:
            header, chunk = await self.ask({"t": "blob.get", "blob": blob, "offset": offset})
            total, offset = header["total"], offset + len(chunk)
            yield chunk

    async def _watch(self, container: str, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None and process.stderr is not None
        await asyncio.gather(
            self._pump(container, "stdout", process.stdout), self._pump(container, "stderr", process.stderr)
        )
        code = await process.wait()
        self.processes.pop(container, None)
        self._send(
            {
                "t": "node.exited",
                "container": container,
                "code": max(code, 0),
                "signal": -code if code < 0 else None,
                "oom": False,
                "detail": "",
            }
        )

    async def _pump(self, container: str, name: str, stream: asyncio.StreamReader) -> None:
        while text := await stream.read(65536):
            text = _unmarked(text)
            self._send({"t": "node.output", "container": container, "entries": [[name, None, len(text)]]}, text)

    def _send(self, header: Header, payload: bytes = b"") -> None:
        if self._channel is not None:
            self._channel.send(header, payload)

    def kill(self, container: str) -> None:
        """End a process at once."""
        process = self.processes.get(container)
        if process is not None and process.returncode is None:
            process.kill()

    def close(self) -> None:
        """End all processes."""
        for container in list(self.processes):
            self.kill(container)


def _unmarked(text: bytes) -> bytes:
    while (start := text.find(b"\x1e\x02")) >= 0:
        stop = text.find(b"\x03", start)
        text = text[:start] + text[stop + 1 :] if stop >= 0 else text[:start]
    return text


class ProcessEngine:
    """Supplies one `ProcessNode`, in the server's own process."""

    def __init__(self, home: Path, cpus: float = 2.0) -> None:
        self.node = ProcessNode(home, cpus)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Let the node join as soon as the server listens."""
        (self.node.home / "node").mkdir(exist_ok=True)
        self._task = asyncio.ensure_future(self.node.join())  # cancelled in stop()

    def check(self) -> None:
        """The node lives in this process: it is never missing."""

    async def stop(self) -> None:
        """End the node and all that it runs."""
        self.node.close()
        if self._task is not None:
            self._task.cancel()

    def status(self) -> dict[str, Any]:
        """There is no process of its own."""
        return {"pid": None, "node_pid": os.getpid()}
