"""A real keeper and node, spoken to by a test in place of the server."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from modicum.image import Image
from modicum.server.images.plan import plan
from modicum.wire.frames import Decoder, Frame, Header, encode
from tests.real.bases import share
from tests.real.installation import Person, wait_until

TIMEOUT_S = 240.0


class NodeSite:
    """One home with its keeper and node. The methods speak to the node as the server would."""

    def __init__(self, person: Person, home: Path) -> None:
        self.person = person
        self.home = home
        self.received: list[Frame] = []
        self.greeting: Header = {}
        self._numbers = iter(range(1, 1 << 30))
        self._link: socket.socket | None = None
        self._decoder = Decoder()
        links = home / "links/node"
        links.mkdir(parents=True, exist_ok=True)
        with socket.socket(socket.AF_UNIX) as listener:
            (links / "s").unlink(missing_ok=True)
            listener.bind(str(links / "s"))
            for path in (home / "links", links, links / "s"):
                os.chmod(path, 0o777)
            listener.listen()
            self._listener = listener.dup()
        self.keeper = self._start_keeper()

    def _start_keeper(self) -> subprocess.Popen[bytes]:
        account = pwd.getpwnam(self.person.name)
        for path in (self.home, self.home / "links", self.home / "links/node"):
            os.chown(path, account.pw_uid, account.pw_gid)
        command = [self.person.python, "-m", "modicum.node.keeper", "--home", str(self.home)]
        log = (self.home / "keeper.log").open("ab")
        with log:
            return subprocess.Popen(self.person.command(*command), cwd="/", stdout=log, stderr=log)

    def connect(self) -> None:
        """Take the node's connection, which it makes again when it is another node."""
        if self._link is not None:
            self._link.close()
        self._listener.settimeout(30)
        self._link, _ = self._listener.accept()
        self._decoder = Decoder()
        self.received.clear()
        hello = self.wait_for(lambda header: header["t"] == "node.hello")
        self.greeting = hello[0]

    def request(self, kind: str, **fields: Any) -> int:
        """Send a request; its answer is received like everything else."""
        number = next(self._numbers)
        assert self._link is not None
        self._link.sendall(encode({"t": kind, "r": number, **fields}))
        return number

    def wait_for(self, wanted: Callable[[Header], bool], timeout_s: float = TIMEOUT_S) -> Frame:
        """Receive until a message is `wanted`."""
        deadline = time.monotonic() + timeout_s
        seen = 0
        while True:
            for frame in self.received[seen:]:
                if wanted(frame[0]):
                    return frame
            seen = len(self.received)
            assert time.monotonic() < deadline, f"nothing came; the last was {self.received[-1:]}\n{self.logs()}"
            self.receive(deadline - time.monotonic())

    def receive(self, timeout_s: float = TIMEOUT_S) -> None:
        """Receive what comes next."""
        assert self._link is not None
        self._link.settimeout(max(0.01, timeout_s))
        data = self._link.recv(1 << 20)
        assert data, f"the node went away\n{self.logs()}"
        for header, payload in self._decoder.feed(data):
            self.received.append((header, payload))
            if "r" in header and header["t"] not in ("reply", "error"):
                self._link.sendall(encode({"t": "reply", "r": header["r"]}))

    def begin(self, build: str, image: Image) -> list[str]:
        """Have the node build; return the layers' ids."""
        planned = plan(image.steps)
        layers = [{"id": each.id, "step": each.step, "configured": each.configured} for each in planned.layers]
        self.request("image.build", build=build, layers=layers, configured=planned.configured)
        return [layer.id for layer in planned.layers]

    def result(self, build: str) -> Header:
        """Wait for the end of a build."""
        ends = ("build.done", "build.failed")
        return self.wait_for(lambda header: header["t"] in ends and header["build"] == build)[0]

    def build(self, build: str, image: Image) -> tuple[list[str], Header]:
        """Build to the end; return the layers' ids and the result."""
        layers = self.begin(build, image)
        return layers, self.result(build)

    def output(self, build: str) -> str:
        """Return what a build has said."""
        parts = [data for header, data in self.received if header["t"] == "build.output" and header["build"] == build]
        return b"".join(parts).decode()

    def run_in(
        self, container: str, layers: list[str], config: dict[str, Any], *argv: str, link: bool = False
    ) -> tuple[int, str]:
        """Run a command in a container over these layers; return its exit status and what it printed."""
        place = {"layers": layers[::-1], "env": config["env"], "cwd": config["workdir"]}
        spec = {**place, "argv": list(argv), "link": link}
        number = self.request("container.start", container=container, spec=spec)
        answer, _ = self.wait_for(lambda header: header.get("r") == number and header["t"] in ("reply", "error"))
        assert answer["t"] == "reply", answer
        ended, _ = self.wait_for(lambda header: header["t"] == "node.exited" and header["container"] == container)
        said = [data for header, data in self.received if header.get("container") == container]
        return ended["code"], b"".join(said).decode()

    def layer(self, layer_id: str) -> Path:
        """Return where a layer is."""
        return self.home / "node/layers" / layer_id

    def scratch(self) -> list[str]:
        """Return what lies in the node's scratch directory."""
        return os.listdir(self.home / "node/tmp")

    def processes(self, word: str) -> list[str]:
        """Return the command lines of this home's processes that name `word`."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                spoken = (folder / "environ").read_bytes()
            except OSError:
                continue  # it has just ended
            if word in command and str(self.home).encode() in spoken:
                found.append(command)
        return found

    def logs(self) -> str:
        """Return the end of the keeper's log."""
        return (self.home / "keeper.log").read_text(errors="replace")[-3000:]

    def stop(self) -> None:
        """End the keeper; everything of the node ends with it."""
        if self._link is not None:
            self._link.close()
        self._listener.close()
        self.keeper.terminate()
        self.keeper.wait(timeout=20)


def make(person: Person) -> Iterator[NodeSite]:
    """Start a node for `person`; at the end nothing of it is left.

    Bases take half a minute each: `MODICUM_TEST_STORE` names a directory that keeps them from run to run.
    """
    kept = os.environ.get("MODICUM_TEST_STORE")
    home = Path(kept, person.name) if kept else Path(tempfile.mkdtemp(prefix="modicum-images-"))
    home.mkdir(parents=True, exist_ok=True)
    if not kept:
        share(person.name, home)
    site = NodeSite(person, home)
    try:
        site.connect()
        yield site
    finally:
        site.stop()
    assert str(home) not in Path("/proc/self/mountinfo").read_text()
    if not kept:
        _remove(home)


def _remove(home: Path) -> None:
    if os.geteuid() == 0:
        shutil.rmtree(home)
    else:  # files of subordinate ids need a user namespace in which they are ours
        subprocess.run(["unshare", "--map-root-user", "--map-auto", "rm", "-r", "--one-file-system", home], check=True)


def wait_for_scratch(site: NodeSite) -> None:
    """Wait until nothing half made is left."""
    wait_until(lambda: not site.scratch(), lambda: f"left: {site.scratch()}")
