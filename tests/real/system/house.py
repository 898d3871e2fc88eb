"""A whole Modicum for tests that kill parts of it: its clients, who is who, and what it leaves."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from modicum import _server
from modicum.node.layout import Layout
from tests.real.installation import GONE_WITHIN_S, Installation
from tests.real.system import traces
from tests.real.system.traces import Doomed, Process, Trace

PROGRAMS = Path(__file__).parent / "programs"
EVENT_WITHIN_S = 60.0
BASE_WITHIN_S = 280.0

Event = dict[str, Any]


class Client:
    """A running `programs/client.py`."""

    def __init__(self, process: subprocess.Popen[str], house: House) -> None:
        self.process = process
        self.events: list[Event] = []
        self.seen = 0
        self._house = house
        self._arriving: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._errors: list[str] = []
        self._readers = [threading.Thread(target=self._read), threading.Thread(target=self._read_errors)]
        for reader in self._readers:
            reader.start()
        self.app = ""

    def wait_ready(self) -> None:
        """Return when its app runs, whose image may have to be made first."""
        self.app = self.wait("ready", within_s=BASE_WITHIN_S)["app"]

    def tell(self, do: str, **arguments: Any) -> None:
        """Have it begin to do something."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self.process.stdin.flush()

    def ask(self, do: str, answer: str, **arguments: Any) -> Event:
        """Have it do something and return what it tells in the end."""
        self.tell(do, **arguments)
        return self.wait(answer)

    def wait(self, event: str, wanted: Callable[[Event], object] = bool, within_s: float = EVENT_WITHIN_S) -> Event:
        """Return the next event of that name, passing over others; fail if it tells of an error."""
        deadline = time.monotonic() + within_s
        while True:
            try:
                found = self._arriving.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"waited in vain for {event!r}\n{self.story()}") from None
            self.events.append(found)
            if found["event"] == event and wanted(found):
                return found
            assert found["event"] not in ("failed", "closed"), f"waited for {event!r}: {found}\n{self.story()}"

    def results(self, event: str) -> list[Any]:
        """Return the results that events of that name have brought, in their order."""
        return [each["result"] for each in self.events if each["event"] == event]

    def output(self, stream: str = "stdout") -> str:
        """Return what its containers have written, as far as events have been waited for."""
        parts = [each["text"] for each in self.events if each["event"] == "output" and each["stream"] == stream]
        return "".join(parts)

    def runs(self) -> list[tuple[int, str]]:
        """Return which inputs have been run, each time with the run's own name."""
        lines = [line.split() for line in self.output().splitlines() if line.startswith("run ")]
        return [(int(number), run) for _, number, run in lines]

    def end(self) -> None:
        """Have it leave its app and end; all its output has arrived then."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.wait("ended")
        assert self.process.wait(10) == 0, self.story()
        self.close()

    def close(self) -> None:
        """End it at once, if it runs."""
        self.process.kill()
        self.process.wait()
        for reader in self._readers:
            reader.join()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert pipe is not None
            try:
                pipe.close()
            except BrokenPipeError:
                pass  # what it was to do next

    def story(self) -> str:
        """Return what it told last, with the logs."""
        told = "\n".join(str(event)[:300] for event in self.events[-15:])
        return f"{told}\n{''.join(self._errors)}\n{self._house.installation.logs()}"

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._arriving.put(json.loads(line))
        self._arriving.put({"event": "closed"})

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        self._errors.extend(self.process.stderr)


class House:
    """One home under test."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.home = installation.home
        self.build = installation.variables["MODICUM_BUILD"]

    @property
    def cgroup_key(self) -> str:
        """The name of the home's cgroups."""
        return Layout(self.home).key

    @contextmanager
    def client(self, **variables: str) -> Iterator[Client]:
        """A client with its app running; it is killed at the end if it still runs."""
        program = self.installation.copy(PROGRAMS / "client.py")
        argv = self.installation.python(str(program), **variables)
        pipe = subprocess.PIPE
        client = Client(subprocess.Popen(argv, cwd="/", text=True, stdin=pipe, stdout=pipe, stderr=pipe), self)
        try:
            client.wait_ready()
            yield client
        finally:
            client.close()

    def trace(self) -> Trace:
        """Look at everything now."""
        return traces.take(self.home, self.build)

    def containers(self, client: Client) -> list[str]:
        """Return the containers of a client's app."""
        return [each["id"] for each in self.status()["containers"] if each["app"] == client.app]

    def status(self) -> dict[str, Any]:
        """Return what the server says of itself; without one, that there are no containers. Starts none."""
        link = _server._try_connect(str(self.home / "sock"))
        if link is None:
            return {"containers": []}
        with link:
            try:
                _server.say_hello(link)
                return _server.ask(link, {"t": "server.status"})
            except OSError:  # it was just killed
                return {"containers": []}

    def agent(self, trace: Trace, container: str) -> Process:
        """Return a container's agent."""
        init = self.init(trace, container)
        (agent,) = [process for process in trace.of_container(container) if process.parent == init.pid]
        return agent

    def init(self, trace: Trace, container: str) -> Process:
        """Return a container's first process."""
        (init,) = [process for process in trace.of_container(container) if process.innermost_pid == 1]
        return init

    def wait_gone(self, what: Doomed) -> None:
        """Return when nothing of it is left, and nothing is there that nobody has; fail after five seconds."""
        self._wait(lambda trace: what.left_in(trace) + self._leftovers(trace))

    def wait_settled(self) -> None:
        """Return when there is nothing but what lives, and nothing half made; fail after five seconds."""
        self._wait(lambda trace: self._leftovers(trace) + sorted(trace.scratch | trace.builds))

    def _wait(self, left: Callable[[Trace], list[str]]) -> None:
        deadline = time.monotonic() + GONE_WITHIN_S
        while found := left(self.trace()):
            if time.monotonic() > deadline:
                raise AssertionError("left after 5 s:\n" + "\n".join(found) + f"\n{self.installation.logs()}")
            time.sleep(0.05)

    def _leftovers(self, trace: Trace) -> list[str]:
        """What is there of containers that are not, or of nothing at all."""
        living = {each["id"] for each in self.status()["containers"]}
        unclaimed = trace.directories - trace.builds  # a build that was begun again goes on
        found = [path for path in unclaimed if os.path.basename(path) not in living]
        found += [str(process) for process in trace.processes.values() if _is_leftover(process, living, trace)]
        found += [paths[0] for paths in traces.slots(trace).values() if not any(_is_inhabited(path) for path in paths)]
        found += traces.surplus_networks(trace)
        found += traces.foreign_mounts(self.home, trace)
        return found


def _is_leftover(process: Process, living: set[str], trace: Trace) -> bool:
    if process.state == "Z":
        return process.parent in trace.processes  # of others' children whoever took them over must see to
    return process.container is not None and process.container not in living


def _is_inhabited(group: str) -> bool:
    try:
        return bool(Path(group, "cgroup.procs").read_text())
    except FileNotFoundError:
        return True  # it has just gone


def kill(pid: int) -> None:
    """End a process as a crash would."""
    os.kill(pid, signal.SIGKILL)
