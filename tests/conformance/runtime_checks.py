"""What every runtime promises (`runtimes/base.py`): to all, to those that isolate, and to those that do not.

A program: `python -m tests.conformance.runtime_checks --home H RUNTIME ROOT`, started as a node would be, for an OCI
runtime inside a node's namespaces. It prints one line of JSON per check: its name and what went wrong, or null.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
import termios
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from modicum.node import bootstrap
from modicum.node.control import Caller
from modicum.node.layout import Layout
from modicum.node.namespaces import CONTROL_FD
from modicum.node.overlay import Overlays
from modicum.node.slots import SlotPool
from modicum.runtimes.base import (
    BindMount,
    Capabilities,
    Command,
    ContainerSpec,
    Executed,
    Exit,
    Limits,
    Process,
    Runtime,
    RuntimeFailure,
)
from modicum.runtimes.oci import OciRuntime, choose
from modicum.runtimes.process import ProcessRuntime
from modicum.runtimes.process.descendants import adopt_orphans, descendants


@dataclass
class Case:
    """A runtime, and a fresh root for each container."""

    runtime: Runtime
    fresh_root: Callable[[], Path]
    scratch: Path
    count: int = 0

    async def run(self, *argv: str, **fields: Any) -> tuple[Exit, str]:
        """Run a container to its end; return that and its output."""
        read_end, write_end = os.pipe()
        try:
            process = await self.runtime.start(self.spec(argv, write_end, **fields))
            ended = await process.wait()
        finally:
            os.close(write_end)
            with os.fdopen(read_end, "rb") as output:
                said = output.read().decode()
        return ended, said

    def spec(self, argv: tuple[str, ...], output: int, **fields: Any) -> ContainerSpec:
        """Return a specification with a root of its own."""
        self.count += 1
        common: dict[str, Any] = {"env": {"PATH": "/usr/bin"}, "cwd": "/", "hostname": "box", **fields}
        return ContainerSpec(f"ta-{self.count}", self.fresh_root(), argv, stdout=output, stderr=output, **common)


async def check_exit_status_and_output(case: Case) -> None:
    ended, said = await case.run("sh", "-c", "echo hello; exit 7")
    assert (ended, said) == (Exit(7), "hello\n"), (ended, said)


async def check_a_signal_is_told_apart(case: Case) -> None:
    ended, _ = await case.run("sh", "-c", "kill -TERM $$")
    assert (ended.code, ended.signal, ended.oom) == (143, 15, False), ended


async def check_what_it_uses_is_counted(case: Case) -> None:
    busy = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done"
    ended, _ = await case.run("sh", "-c", f"sh -c '{busy}' & wait")
    assert ended.usage.cpu_s, ended.usage
    assert ended.usage.memory_peak_bytes, ended.usage
    read_end, write_end = os.pipe()
    process = await case.runtime.start(case.spec(("sleep", "100"), write_end))
    os.close(write_end)
    usage = await process.usage()
    process.kill()
    await process.wait()
    os.close(read_end)
    assert usage.cpu_s is not None, usage
    assert usage.memory_bytes, usage


async def check_environment_and_folder(case: Case) -> None:
    program = "import os; print(os.environ['A'], os.getcwd())"
    env = {"PATH": "/usr/bin", "A": "b c=d"}
    _, said = await case.run("python3", "-S", "-c", program, env=env, cwd="/tmp")
    assert said.startswith("b c=d /"), said
    assert said.endswith("/tmp\n"), said


async def check_mounts_are_found_by_their_targets(case: Case) -> None:
    shared = case.scratch / f"found-{case.runtime.name}"
    shared.mkdir()
    (shared / "file").write_text("seen\n")
    mounts = (BindMount(shared, "/run/new/rw", read_only=False), BindMount(shared / "file", "/run/new/rw-file"))
    env = {"PATH": "/usr/bin", "WHERE": "/run/new/rw/made"}
    ended, said = await case.run("sh", "-c", "cat /run/new/rw-file; echo x > $WHERE", mounts=mounts, env=env)
    assert (ended, said) == (Exit(0), "seen\n"), (ended, said)
    assert [path.name for path in sorted(shared.iterdir())] == ["file", "made"]


async def check_what_it_leaves_running_ends_with_it(case: Case) -> None:
    daemon = "(setsid sh -c 'sleep 100 & exec env -i sleep 100' &)"
    ended, said = await case.run("sh", "-c", f"setsid sleep 100 & {daemon}; sleep 0.1; exit 3")
    assert (ended, said) == (Exit(3), ""), "the end of its output says that no process is left"


async def check_host_name(case: Case) -> None:
    _, said = await case.run("python3", "-S", "-c", "import socket; print(socket.gethostname())", hostname="other")
    assert said == "other\n", said


async def check_read_only_mounts(case: Case) -> None:
    shared = case.scratch / f"shared-{case.runtime.name}"
    shared.mkdir()
    ended, _ = await case.run("sh", "-c", "echo x > /run/new/ro/y", mounts=(BindMount(shared, "/run/new/ro"),))
    assert ended.code != 0
    assert not list(shared.iterdir())


async def check_without_network(case: Case) -> None:
    _, said = await case.run("ls", "/sys/class/net", network=False)
    assert "lo" in said.split()
    assert "eth0" not in said.split()
    assert "eth0" in (await case.run("ls", "/sys/class/net"))[1].split()


async def check_network_cannot_be_refused(case: Case) -> None:
    with pytest.raises(RuntimeFailure, match="cannot keep a container off the network"):
        await case.run("true", network=False)


async def check_a_command_that_is_not_there_raises(case: Case) -> None:
    with pytest.raises(RuntimeFailure, match="not-there: No such file"):
        await case.run("not-there")
    assert (await case.run("true"))[0] == Exit(0)


async def check_a_killed_init_takes_all_with_it(case: Case) -> None:
    read_end, write_end = os.pipe()
    script = "echo $PPID; setsid sleep 100 & (setsid env -i sleep 100 &); sleep 100; true"
    process = await case.runtime.start(case.spec(("sh", "-c", script), write_end))
    os.close(write_end)
    os.kill(int(await asyncio.to_thread(os.read, read_end, 100)), 9)
    ended = await asyncio.wait_for(process.wait(), 5)
    assert (ended.signal, ended.detail) == (9, "its init was killed"), ended
    assert os.read(read_end, 1) == b"", "the end of its output says that no process is left"
    os.close(read_end)


async def check_a_kill_ends_all_and_may_be_repeated(case: Case) -> None:
    read_end, write_end = os.pipe()
    process = await case.runtime.start(
        case.spec(("sh", "-c", "trap '' TERM INT; sleep 100 & sleep 100; true"), write_end)
    )
    os.close(write_end)
    process.kill()
    process.kill()
    ended = await asyncio.wait_for(process.wait(), 5)
    assert ended.signal == 9, ended
    assert await process.wait() == ended
    process.kill()
    assert os.read(read_end, 1) == b"", "the end of its output says that no process is left"
    os.close(read_end)


async def check_a_start_that_fails_raises(case: Case) -> None:
    with pytest.raises(RuntimeFailure, match="hostname"):
        await case.run("true", hostname="x" * 100)
    assert (await case.run("true"))[0] == Exit(0)


async def check_many_at_once(case: Case) -> None:
    ends = await asyncio.gather(*(case.run("sh", "-c", f"exit {number}") for number in range(8)))
    assert [ended.code for ended, _ in ends] == list(range(8))


async def check_hardening(case: Case) -> None:
    _, said = await case.run("cat", "/proc/self/status")
    status = dict(line.split(":\t") for line in said.splitlines() if ":\t" in line)
    assert (status["Seccomp"], status["NoNewPrivs"], status["CapBnd"]) == ("2", "1", "00000000800405fb"), status
    assert (await case.run("unshare", "--user", "true"))[0].code != 0


@dataclass
class Box:
    """A container in which commands are executed."""

    process: Process
    count: int = 0

    def pipes(self) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        """Return the near and the far ends of three pipes."""
        (in_read, in_write), (out_read, out_write), (error_read, error_write) = (os.pipe() for _ in range(3))
        return (in_write, out_read, error_read), (in_read, out_write, error_write)

    async def start(self, *argv: str, **fields: Any) -> Executed:
        """Begin to execute a command."""
        self.count += 1
        return await self.process.execute(Command(f"ex-{id(self)}-{self.count}", argv, **fields))

    async def run(self, *argv: str, given: bytes = b"", **fields: Any) -> tuple[Exit, str, str]:
        """Execute a command to its end; return that and both of its outputs."""
        near, far = self.pipes()
        try:
            executed = await self.start(*argv, descriptors=far, **fields)
        finally:
            for descriptor in far:
                os.close(descriptor)
        os.write(near[0], given)
        os.close(near[0])
        said = [await asyncio.to_thread(_read_all, descriptor) for descriptor in near[1:]]
        return await executed.wait(), said[0], said[1]


def _read_all(descriptor: int) -> str:
    with os.fdopen(descriptor, "rb") as file:
        return file.read().decode()


@contextlib.asynccontextmanager
async def box(case: Case, script: str = "exec sleep 1000", **fields: Any) -> AsyncIterator[Box]:
    """Give a container that is ended at the end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    process = await case.runtime.start(case.spec(("sh", "-c", script), nowhere, **fields))
    os.close(nowhere)
    try:
        yield Box(process)
    finally:
        process.kill()
        await process.wait()


async def check_a_command_is_executed_in_a_container(case: Case) -> None:
    async with box(case, env={"PATH": "/usr/bin", "A": "a", "B": "b"}, cwd="/tmp") as inside:
        script = "cat; echo $A $B >&2; pwd >&2; exit 7"
        ended, out, error = await inside.run("sh", "-c", script, given=b"hello", env={"B": "other"})
        assert (ended, out) == (Exit(7), "hello"), (ended, out, error)
        assert error.startswith("a other\n"), error
        assert error.endswith("/tmp\n"), error
        ended, out, _ = await inside.run("sh", "-c", "pwd", cwd="/")
        assert ended == Exit(0), ended


async def check_a_command_that_cannot_be_executed(case: Case) -> None:
    async with box(case) as inside:
        ended, _, _ = await inside.run("not-there")
        assert ended.code == 127, ended
        assert "not-there" in ended.detail, ended
        ended, _, _ = await inside.run("/tmp")
        assert ended.code == 126, ended
        assert ended.detail
        ended, _, _ = await inside.run("sh", "-c", "exit 127")
        assert ended == Exit(127), ended


async def check_signals_reach_a_command_and_all_of_its_session(case: Case) -> None:
    async with box(case) as inside:
        near, far = inside.pipes()
        executed = await inside.start("sh", "-c", "sleep 1000 & echo ready; wait", descriptors=far)
        for descriptor in far:
            os.close(descriptor)
        assert await asyncio.to_thread(os.read, near[1], 100) == b"ready\n"
        executed.signal(signal.SIGTERM)
        ended = await executed.wait()
        assert (ended.code, ended.signal) == (143, 15), ended
        assert await asyncio.to_thread(os.read, near[1], 1) == b"", "its child would hold the pipe open"
        executed.signal(signal.SIGTERM)
        for descriptor in near:
            os.close(descriptor)
        assert (await inside.run("true"))[0] == Exit(0)


async def check_a_command_ends_with_its_container(case: Case) -> None:
    async with box(case) as inside:
        near, far = inside.pipes()
        executed = await inside.start("sh", "-c", "setsid sleep 1000 & echo ready; wait", descriptors=far)
        for descriptor in far:
            os.close(descriptor)
        assert await asyncio.to_thread(os.read, near[1], 100) == b"ready\n"
        inside.process.kill()
        await asyncio.wait_for(inside.process.wait(), 5)
        ended = await asyncio.wait_for(executed.wait(), 5)
        assert (ended.code, ended.signal) == (137, 9), ended
        assert os.read(near[1], 1) == b"", "the end of its output says that no process is left"
        for descriptor in near:
            os.close(descriptor)
        with pytest.raises(RuntimeFailure):
            await inside.start("true", descriptors=(0, 1, 2))


_AT_TERMINAL = """
import os, signal, sys
def size():
    return os.get_terminal_size().lines, os.get_terminal_size().columns
print(os.ttyname(0), *size(), os.environ["TERM"], flush=True)
typed = input()
try:
    print(*size(), typed, flush=True)
    signal.pause()
except KeyboardInterrupt:
    sys.exit(5)
"""


async def check_a_command_gets_a_terminal(case: Case) -> None:
    async with box(case) as inside:
        command = ("python3", "-S", "-c", _AT_TERMINAL)
        if case.runtime.name == "runc":
            with pytest.raises(RuntimeFailure, match="install the package crun"):
                await inside.start(*command, terminal=(30, 90))
            return
        executed = await inside.start(*command, terminal=(30, 90), env={"TERM": "xterm"})
        near = executed.terminal
        said = await _read_until(near, "30 90 xterm")
        assert "/dev/pts/" in said, said
        termios.tcsetwinsize(near, (40, 100))
        os.write(near, b"typed\n")
        await _read_until(near, "40 100 typed")
        os.write(near, b"\x03")
        assert await executed.wait() == Exit(5)
        os.close(near)
        executed = await inside.start("sh", "-c", "echo ready; sleep 1000; true", terminal=(30, 90))
        await _read_until(executed.terminal, "ready")
        os.close(executed.terminal)  # that hangs up
        assert (await asyncio.wait_for(executed.wait(), 5)).signal == signal.SIGHUP


async def _read_until(descriptor: int, words: str) -> str:
    said = ""
    while words not in said:
        said += (await asyncio.to_thread(os.read, descriptor, 4096)).decode()
    return said


async def check_many_commands_at_once(case: Case) -> None:
    async with box(case) as inside:
        ended = await asyncio.gather(*(inside.run("sh", "-c", f"exit {number}") for number in range(4)))
        assert [each[0].code for each in ended] == list(range(4))


async def check_a_command_has_the_rights_of_its_container(case: Case) -> None:
    spaces = "import os; print(*(os.readlink('/proc/self/ns/' + name) for name in sorted(os.listdir('/proc/self/ns'))))"
    tell = f'cat /proc/self/status /proc/self/oom_score_adj; ulimit -n; python3 -S -c "{spaces}"'
    async with box(case, f"({tell}) >/dev/shm/new; cat /dev/shm/new >/dev/shm/first; exec sleep 1000") as inside:
        _, of_first, _ = await inside.run(
            "sh", "-c", "while ! [ -s /dev/shm/first ]; do sleep 0.01; done; cat /dev/shm/first"
        )
        _, own, _ = await inside.run("sh", "-c", tell)
        first, second = (_facts(said) for said in (of_first, own))
        for name in ("Seccomp", "Seccomp_filters", "NoNewPrivs", "CapBnd", "CapEff", "CapPrm", "CapInh", "CapAmb"):
            assert first[name] == second[name], (name, first[name], second[name])
        assert (second["Seccomp"], second["NoNewPrivs"]) == ("2", "1"), second
        limits, others = ([line for line in said.splitlines() if "\t" not in line] for said in (of_first, own))
        assert len(limits) == 3, of_first
        assert limits[-1].count(":[") >= 8, limits
        assert limits == others, (limits, others)
        assert (await inside.run("unshare", "--user", "true"))[0].code != 0


def _facts(said: str) -> dict[str, str]:
    return dict(line.split(":\t") for line in said.splitlines() if ":\t" in line)


async def check_a_command_counts_as_its_containers(case: Case) -> None:
    """Limits hold for what is executed, where the keeper can set any."""
    async with box(case, limits=Limits(pids=40)) as inside:
        script = "i=0; while [ $i -lt 80 ]; do sleep 100 >/dev/null 2>&1 & i=$((i+1)); done; echo all"
        ended, out, error = await inside.run("sh", "-c", script)
        assert "all" not in out, "there were more processes than the limit allows"
        assert ended.code != 0 or "fork" in error, (ended, error)


Checks = list[Callable[[Case], Awaitable[None]]]

CHECKS: Checks = [
    check_exit_status_and_output,
    check_a_signal_is_told_apart,
    check_what_it_uses_is_counted,
    check_environment_and_folder,
    check_mounts_are_found_by_their_targets,
    check_a_kill_ends_all_and_may_be_repeated,
    check_what_it_leaves_running_ends_with_it,
    check_many_at_once,
    check_a_command_is_executed_in_a_container,
    check_a_command_that_cannot_be_executed,
    check_signals_reach_a_command_and_all_of_its_session,
    check_a_command_ends_with_its_container,
    check_a_command_gets_a_terminal,
    check_many_commands_at_once,
]
ISOLATED: Checks = [
    check_a_command_has_the_rights_of_its_container,
    check_a_command_counts_as_its_containers,
    check_host_name,
    check_read_only_mounts,
    check_without_network,
    check_a_start_that_fails_raises,
    check_hardening,
]
PLAIN: Checks = [
    check_network_cannot_be_refused,
    check_a_command_that_is_not_there_raises,
    check_a_killed_init_takes_all_with_it,
]


def checks_of(capabilities: Capabilities) -> Checks:
    """Return what a runtime of these capabilities is held to."""
    return [*CHECKS, *(ISOLATED if capabilities.isolation else PLAIN)]


async def _plain(layout: Layout) -> None:
    """Check the runtime of plain processes, which stands on nothing."""
    adopt_orphans()

    def fresh_root() -> Path:
        place = Path(tempfile.mkdtemp(dir=layout.home))
        (place / "tmp").mkdir()
        return place

    await _report(Case(ProcessRuntime(), fresh_root, layout.home))
    left = descendants(os.getpid())
    print(json.dumps(["nothing is left", f"processes: {left}" if left else None]), flush=True)


async def _report(case: Case) -> None:
    for check in checks_of(case.runtime.capabilities):
        wrong = None
        try:
            async with asyncio.timeout(20):
                await check(case)
        except Exception:
            wrong = traceback.format_exc()
        print(json.dumps([check.__name__, wrong]), flush=True)


async def _isolated(layout: Layout, name: str, root: Path) -> None:
    grounds = bootstrap.lay_grounds(layout, CONTROL_FD)
    keeper, helper = Caller(grounds.keeper), Caller(grounds.helper)
    networks = {"containers": str(grounds.plan.containers), "uplink": str(grounds.plan.uplink)}
    await helper.ask({**networks, "bridge": grounds.bridge})
    pool = SlotPool(keeper, helper, grounds.plan.size)
    bundles = layout.run / "bundles"
    bundles.mkdir()
    _, namespaces = await helper.ask({"number": None})
    user, network = (f"/proc/{os.getpid()}/fd/{descriptor}" for descriptor in namespaces)
    choice = choose(grounds.init, bundles, (user, network), bootstrap.hide_cgroups, (name,))
    overlays = Overlays(layout.run)

    def fresh_root() -> Path:
        fresh_root.count += 1  # type: ignore[attr-defined]
        place = layout.containers / f"{fresh_root.count}"  # type: ignore[attr-defined]
        for folder in (place, place / "upper", place / "work", layout.run / place.name):
            folder.mkdir()
        overlays.mount(layout.run / place.name, [root], place / "upper", place / "work")
        return layout.run / place.name

    fresh_root.count = 0  # type: ignore[attr-defined]
    case = Case(OciRuntime(choice.binary, grounds.init, bundles, pool, os.getpid()), fresh_root, layout.temporary)
    await _report(case)
    print(json.dumps(["nothing is left", _left(bundles)]), flush=True)


KEPT = ("state", "execs", "probe-root")


def _left(bundles: Path) -> str | None:
    folders = (bundles, bundles / "state", bundles / "execs")
    left = [str(path) for folder in folders for path in folder.iterdir() if path.name not in KEPT]
    return f"files: {left}" if left else None


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", type=Path)
    parser.add_argument("runtime")
    parser.add_argument("root", type=Path)
    arguments = parser.parse_args()
    if arguments.runtime == ProcessRuntime.name:
        asyncio.run(_plain(Layout(arguments.home)))
    else:
        asyncio.run(_isolated(Layout(arguments.home), arguments.runtime, arguments.root))
    sys.stdout.flush()
    os._exit(0)
