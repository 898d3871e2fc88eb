"""A real node without a server: the test itself speaks the server's side of the wire."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modicum.engines.local import keeper_environment
from modicum.node.ids import IdMaps, plan_id_maps
from modicum.node.layout import Layout
from modicum.wire.channel import Answer, Channel
from modicum.wire.frames import Header
from modicum.wire.version import build_id
from tests.real.installation import Person

GONE_WITHIN_S = 5.0
LAYER = "test"


@dataclass
class Heard:
    """What the node has said of one container."""

    output: list[tuple[str, str | None, bytes]] = field(default_factory=list)
    exits: list[Header] = field(default_factory=list)

    def text(self, stream: str = "stdout") -> str:
        """Return one stream's output up to now."""
        return b"".join(data for name, _, data in self.output if name == stream).decode(errors="replace")


class Server:
    """The server's side of the node's socket."""

    def __init__(self, layout: Layout, maps: IdMaps) -> None:
        self._layout = layout
        self._maps = maps
        self._listener: asyncio.Server | None = None
        self.channel: Channel | None = None
        self.hello: Header = {}
        self.hellos = 0
        self.heard: dict[str, Heard] = {}
        self.takes_output = asyncio.Event()
        self.takes_output.set()

    async def start(self) -> None:
        """Listen."""
        folder = self._layout.links / "node"
        folder.mkdir(exist_ok=True)
        (folder / "s").unlink(missing_ok=True)
        handle = os.open(folder, os.O_PATH | os.O_DIRECTORY)
        path = f"/proc/self/fd/{handle}/s"
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_unix_server(lambda: Channel(self._handle, self._closed), path)
        if os.geteuid() == 0:
            os.chown(folder, *self._maps.root)
            os.chown(path, *self._maps.root)
        os.close(handle)

    async def stop(self) -> None:
        """Go away, as a killed server does."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        if self.channel is not None:
            self.channel.abort()
        await asyncio.sleep(0)

    async def ask(self, kind: str, **fields: Any) -> Header:
        """Send the node a request."""
        channel = self.channel
        assert channel is not None, "no node is connected"
        answer, _ = await channel.request({"t": kind, **fields})
        return answer

    def of(self, container: str) -> Heard:
        """Return what is known of a container."""
        return self.heard.setdefault(container, Heard())

    def _closed(self, channel: Channel) -> None:
        if self.channel is channel:
            self.channel = None

    async def _handle(self, channel: Channel, header: Header, payload: bytes) -> Answer:
        match header["t"]:
            case "hello":
                return {"build": build_id(), "principal": "node"}
            case "node.hello":
                self.channel, self.hello = channel, header
                self.hellos += 1
            case "node.output":
                await self.takes_output.wait()
                start = 0
                for stream, key, size in header["entries"]:
                    self.of(header["container"]).output.append((stream, key, payload[start : start + size]))
                    start += size
            case "node.exited":
                self.of(header["container"]).exits.append(header)
        return None


class Bench:
    """A home with a keeper, its node and a server that is this test."""

    def __init__(self, person: Person, home: Path, maps: IdMaps) -> None:
        self.person = person
        self.layout = Layout(home)
        self.maps = maps
        self.server = Server(self.layout, maps)
        self.keeper: subprocess.Popen[bytes] | None = None
        self.delegated: list[Path] = []
        self._count = 0

    async def start(self, **environment: str) -> None:
        """Start keeper and server; return when the node has said hello."""
        await self.server.start()
        self.start_keeper(**environment)
        await self.until(lambda: self.server.channel, "a node", within_s=20)

    def start_keeper(self, **environment: str) -> None:
        """Start the keeper as this person."""
        variables = keeper_environment({**self.person.environment, **environment})
        variables["PYTHONPATH"] = self.person.environment.get("PYTHONPATH", variables["PYTHONPATH"])
        argv = [self.person.python, "-m", "modicum.node.keeper", "--home", str(self.layout.home)]
        command = self.person.command("env", *(f"{name}={value}" for name, value in variables.items()), *argv)
        with open(self.layout.keeper_log, "ab") as log:
            nothing = subprocess.DEVNULL
            self.keeper = subprocess.Popen(
                command, stdin=nothing, stdout=log, stderr=log, cwd="/", start_new_session=True
            )

    async def begin(self, *argv: str, **fields: Any) -> str:
        """Start a container; return its id."""
        self._count += 1
        name = f"ta-{self._count}"
        fields["env"] = {"HOME": "/root", "MARK": str(self.layout.home), **fields.get("env", {})}
        await self.server.ask("container.start", container=name, spec=spec(argv, **fields))
        return name

    async def ended(self, container: str, within_s: float = 20) -> Header:
        """Wait for a container's end; return what the node said of it."""
        heard = self.server.of(container)
        await self.until(lambda: heard.exits, f"the end of {container}", within_s)
        return heard.exits[0]

    async def shell(self, script: str, **fields: Any) -> tuple[int, str, str]:
        """Run a shell script to its end; return its exit status, stdout and stderr."""
        container = await self.begin("sh", "-c", script, **fields)
        code = (await self.ended(container))["code"]
        heard = self.server.of(container)
        return code, heard.text(), heard.text("stderr")

    async def python(self, program: str, **fields: Any) -> str:
        """Run a Python program that must succeed; return its stdout."""
        container = await self.begin("python3", "-S", "-c", program, **fields)
        ended = await self.ended(container)
        heard = self.server.of(container)
        assert ended["code"] == 0, f"{ended}\n{heard.text()}\n{heard.text('stderr')}"
        return heard.text()

    async def until(self, condition: Callable[[], object], what: str, within_s: float = GONE_WITHIN_S) -> None:
        """Wait for a condition; fail with the keeper's log."""
        deadline = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < deadline, f"waited in vain for {what}\n{self.log()}"
            await asyncio.sleep(0.01)

    def log(self) -> str:
        """Return the keeper's log."""
        try:
            return self.layout.keeper_log.read_text(errors="replace")[-4000:]
        except OSError:
            return ""

    def facts(self) -> dict[str, Any]:
        """Return what the keeper says of itself."""
        found: dict[str, Any] = json.loads(self.layout.keeper_facts.read_text())
        return found

    async def stop(self) -> None:
        """Stop the keeper as its engine does, and see that nothing is left of it."""
        if self.keeper is not None:
            self.keeper.send_signal(signal.SIGTERM)
            code = await asyncio.to_thread(self.keeper.wait, 15)
            assert code == 0, self.log()
        await self.server.stop()
        await self.until(lambda: not self.left(), f"the end of {self.left()}")

    def left(self) -> list[str]:
        """Return what there is of this home: processes, mounts, cgroups, containers' files, links."""
        return [*self.processes().values(), *self.mounts(), *self.cgroups(), *self.files()]

    def processes(self) -> dict[int, str]:
        """Return the processes that this home's path or its containers' mark gives away: pid → command."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                spoken = (folder / "environ").read_bytes().decode(errors="replace") + command
                alive = ") Z" not in (folder / "stat").read_text()
            except OSError:
                continue  # it has just ended, or is another user's
            if str(self.layout.home) in spoken and alive and int(folder.name) != os.getpid():
                found[int(folder.name)] = command
        return found

    def mounts(self) -> list[str]:
        """Return this namespace's mounts of the home."""
        return [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(self.layout.home) in line]

    def cgroups(self) -> list[str]:
        """Return the home's cgroups."""
        root = Path("/sys/fs/cgroup")
        found = [path for pattern in ("modicum", "*/modicum") for path in root.glob(f"{pattern}/{self.layout.key}")]
        mine = [path for path in found if path not in self.delegated]
        return [str(path) for path in (*mine, *(slot for path in self.delegated for slot in path.glob("*/")))]

    def files(self) -> list[str]:
        """Return what containers have left on the disk."""
        return [str(path) for path in self.layout.containers.iterdir()]


def spec(argv: tuple[str, ...], **fields: Any) -> dict[str, Any]:
    """Return what `container.start` takes."""
    limits = {"pids": 4096, "memory_bytes": None, "cpus": None, **fields.pop("limits", {})}
    return {
        "function": "fu-1",
        "layers": [LAYER],
        "files": [],
        "env": {"HOME": "/root"},
        "argv": list(argv),
        "cwd": "/root",
        "hostname": "box",
        "link": False,
        "limits": limits,
        **fields,
    }


async def bench(person: Person, home: Path, root: Path) -> AsyncIterator[Bench]:
    """Give `person` a home in the directory `home` whose node has the layer `root`."""
    maps = _furnish(person, home, root)
    made = Bench(person, home, maps)
    try:
        yield made
    finally:
        await made.stop()
        remove(home)


def _furnish(person: Person, home: Path, root: Path) -> IdMaps:
    account, maps = pwd.getpwnam(person.name), maps_of(person)
    layers, records = home / "node/layers", home / "node/records"
    for folder in (home, home / "links", home / "node", home / "node/run", home / "node/containers", layers, records):
        folder.mkdir(exist_ok=True)
    (layers / LAYER).symlink_to(root)
    (records / f"{LAYER}.json").write_text('{"config": {}}')
    if os.geteuid() == 0:
        subprocess.run(["chown", "-R", f"{account.pw_uid}:{account.pw_gid}", home], check=True)
        give(home / "node", maps)
    return maps


def maps_of(person: Person) -> IdMaps:
    """Return the ids of this person's containers."""
    account = pwd.getpwnam(person.name)
    texts = [Path(path).read_text() if Path(path).exists() else "" for path in ("/etc/subuid", "/etc/subgid")]
    return plan_id_maps(account.pw_uid, account.pw_gid, person.name, texts[0], texts[1])


def remove(folder: Path) -> None:
    """Remove a tree that holds files of subordinate ids."""
    command = ["rm", "-rf", "--one-file-system", str(folder)]
    inside = [] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--map-auto"]
    subprocess.run([*inside, *command], check=True)


def give(folder: Path, maps: IdMaps) -> None:
    """Make the node's root the owner of a tree."""
    subprocess.run(["chown", "-R", "-h", "{}:{}".format(*maps.root), folder], check=True)


def kill(pid: int) -> None:
    """End a process as a crash would."""
    os.kill(pid, signal.SIGKILL)
