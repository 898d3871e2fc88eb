"""How do server, keeper and node come and go? By themselves, alone, with nothing of their clients, leaving nothing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.real.installation import Person, wait_until
from tests.real.system import traces
from tests.real.system.conftest import Builder
from tests.real.system.house import PROGRAMS, House, kill

pytestmark = pytest.mark.timeout(300)  # the first one may build the image


def start_hello(house: House) -> subprocess.Popen[str]:
    return house.installation.start("run", str(house.installation.copy(PROGRAMS / "hello.py")))


def run_hello(house: House) -> None:
    process = start_hello(house)
    out, err = process.communicate()
    assert (process.returncode, out) == (0, "'hello, world'\n"), err


def daemons(house: House, module: str) -> list[traces.Process]:
    found = house.trace().processes.values()
    return [process for process in found if f"-m modicum.{module}" in process.command and process.depth == 1]


def test_the_server_starts_by_itself_and_stop_leaves_nothing(fresh: Builder) -> None:
    house = fresh()
    installation = house.installation
    assert installation.run("server", "status", code=3).stdout == "no server runs\n"
    assert json.loads(installation.run("server", "status", "--json", code=3).stdout) == {"running": False}
    assert installation.run("server", "stop").stdout == "no server runs\n"
    assert not house.trace().processes
    run_hello(house)
    status = installation.status()
    assert status["running"]
    assert status["node_ready"]
    assert status["build"] == house.build
    assert status["socket"] == str(house.home / "sock/s")
    processes = house.trace().processes
    assert "modicum.server.main" in processes[status["pid"]].command
    assert "modicum.node.keeper" in processes[status["keeper_pid"]].command
    assert "modicum.node.main" in processes[status["node_pid"]].command
    assert f"pid {status['pid']}" in installation.run("server", "status").stdout
    assert "server ready" in installation.run("server", "logs").stdout
    assert installation.run("server", "stop").stdout == "stopped\n"
    assert_nothing_left(house)


def assert_nothing_left(house: House) -> None:
    trace = house.trace()
    assert trace == traces.Trace({}, frozenset(), {}, frozenset(), frozenset())
    assert not list(Path("/sys/fs/cgroup").glob(f"**/modicum/{house.cgroup_key}"))
    assert not traces.foreign_mounts(house.home, trace)
    for name in ("sock/s", "links/node/s", "server.json", "keeper.json"):
        assert not (house.home / name).exists(), name


def test_started_by_hand(fresh: Builder) -> None:
    house = fresh()
    first = house.installation.run("server", "start").stdout
    assert house.installation.run("server", "start").stdout == first
    assert f"pid {house.status()['pid']}" in first
    run_hello(house)


def test_two_that_start_at_once_end_as_one(fresh: Builder) -> None:
    house = fresh()
    both = [start_hello(house) for _ in range(2)]
    said = [process.communicate() for process in both]
    assert [(process.returncode, out) for process, (out, _) in zip(both, said)] == [(0, "'hello, world'\n")] * 2, said
    assert [process.pid for process in daemons(house, "server.main")] == [house.status()["pid"]]
    wait_until(lambda: house.status()["keeper_pid"], house.installation.logs)
    keeper = house.status()["keeper_pid"]
    assert {keeper} == {p.pid for p in daemons(house, "node.keeper") if p.parent != keeper}


def test_the_server_inherits_nothing(fresh: Builder, person: Person, folder: Path) -> None:
    house = fresh()
    read_end, write_end = os.pipe()
    argv = house.installation.python("-m", "modicum.cli.main", "server", "start", SECRET="of the client's")
    with _a_cgroup(person) as join:
        client = subprocess.Popen(
            [*join, *argv], pass_fds=[write_end], cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        assert client.wait() == 0
        os.close(write_end)
        assert os.read(read_end, 1) == b"", "somebody still has the client's pipe"
        os.close(read_end)
        wait_until(lambda: house.status()["keeper_pid"], house.installation.logs)
        status = house.status()
        for pid in (status["pid"], status["keeper_pid"]):
            process = Path(f"/proc/{pid}")
            assert b"of the client" not in (process / "environ").read_bytes()
            assert os.readlink(process / "cwd") == "/"
            assert os.getsid(pid) == pid
            assert "modicum-test-" not in (process / "cgroup").read_text()


@contextmanager
def _a_cgroup(person: Person) -> Iterator[list[str]]:
    """A cgroup for the client, where we may make one; gives the words that start a command in it."""
    if os.geteuid() != 0 or person.name != "root":
        yield []
        return
    root = Path("/sys/fs/cgroup")
    parents = [root] if (root / "cgroup.controllers").exists() else [path.parent for path in root.glob("*/tasks")]
    usable = {parent.resolve() for parent in parents if parent.name != "cpuset"}  # a new one there takes no process
    groups = [parent / f"modicum-test-{os.getpid()}" for parent in usable]
    for group in groups:
        group.mkdir()
    enter = "; ".join(f"echo $$ > {group}/cgroup.procs" for group in groups)
    try:
        yield ["sh", "-c", f'{enter}; exec "$@"', "sh"]
    finally:
        for group in groups:
            group.rmdir()


def test_a_server_of_another_build_is_replaced_and_work_goes_on(fresh: Builder) -> None:
    house = fresh()
    with house.client() as old:
        old.tell("map", count=40, pause_s=0.1)
        old.wait("mapped")
        before = house.status()
        with house.client(MODICUM_BUILD=f"{house.build}-new") as new:
            after = house.status()
            assert after["build"] == f"{house.build}-new"
            assert after["pid"] != before["pid"]
            assert (after["keeper_pid"], after["node_pid"]) == (before["keeper_pid"], before["node_pid"])
            assert new.ask("call", "called", number=7)["result"][0] == 7
            old.wait("map ended")
            started = (house.home / "server.log").read_text().count("server ready")
            assert started == 2, "the two clients replace each other's servers"
            new.end()
        old.end()
        assert [number for number, _ in old.results("mapped")] == list(range(40))
        assert sorted(number for number, _ in old.runs()) == list(range(40))


def test_without_a_server_all_ends_by_itself(fresh: Builder) -> None:
    house = fresh(MODICUM_SERVER_GRACE_S="2")
    with house.client() as client:
        client.ask("call", "called", number=1)
        client.process.send_signal(signal.SIGSTOP)  # it must not start another server
        kill(house.status()["pid"])
        client.close()
    assert any(process.container for process in house.trace().processes.values())
    wait_until(lambda: not house.trace().processes, house.installation.logs, within_s=2 + 5)
    trace = house.trace()
    assert not trace.processes
    assert not trace.cgroups
    assert not (house.home / "keeper.json").exists()


@pytest.fixture
def folder(person: Person) -> Iterator[Path]:
    """A directory of the person's; not pytest's own, which others may not pass through. Name it before `fresh`."""
    with tempfile.TemporaryDirectory(prefix="modicum-folder-") as folder:
        shutil.chown(folder, person.name)
        os.chmod(folder, 0o755)
        yield Path(folder)


def test_a_long_path(folder: Path, fresh: Builder) -> None:
    home = folder / ("a" * (150 - len(str(folder)) - 1))
    assert len(str(home)) == 150
    home.mkdir()
    run_hello(fresh(home))


def test_below_a_closed_directory(folder: Path, fresh: Builder) -> None:
    """Containers' user ids may not pass through it; such is /root."""
    folder.chmod(0o700)
    (folder / "home").mkdir()
    run_hello(fresh(folder / "home"))


def test_an_interrupt_ends_the_run_and_leaves_nothing(house: House) -> None:
    run = house.installation.start("run", str(house.installation.copy(PROGRAMS / "sleeper.py")))
    assert run.stdout is not None
    assert run.stdout.readline() == "asleep\n"
    run.send_signal(signal.SIGINT)
    started = time.monotonic()
    _, errors = run.communicate(timeout=5)
    assert run.returncode == 130
    assert errors.splitlines()[-1] == "interrupted"
    assert "Traceback" not in errors
    assert time.monotonic() - started < 5
    assert house.status()["apps"] == []
    house.wait_settled()
