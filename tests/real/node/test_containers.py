"""Do containers start, speak, end and stay within their limits?"""

from __future__ import annotations

import asyncio
import os

import pytest

from modicum.wire.channel import RemoteFailure
from tests.real.node.harness import Bench, kill


async def test_output_and_exit_status(node: Bench) -> None:
    code, out, err = await node.shell("echo to stdout; echo to stderr >&2; exit 7")
    assert (code, out, err) == (7, "to stdout\n", "to stderr\n")


async def test_a_signal_is_told_apart(node: Bench) -> None:
    container = await node.begin("sh", "-c", "kill -SEGV $$")
    ended = await node.ended(container)
    assert (ended["code"], ended["signal"], ended["oom"]) == (139, 11, False)


async def test_the_node_says_what_it_is(node: Bench) -> None:
    hello = node.server.hello
    assert hello["runtime"] == "crun works"
    assert hello["network"] == "network by slirp4netns"
    enforced = os.geteuid() == 0 and node.maps.privileged
    assert hello["limits"].startswith("limits enforced" if enforced else "limits not enforced")
    assert hello["layers"] == ["test"]
    assert hello["pid"] == node.facts()["node_pid"]


async def test_the_container_is_its_own_root(node: Bench) -> None:
    program = """
import os, socket
os.chown("/root", 1000, 1000)
os.setgid(1000); os.setuid(1000)
print(os.getuid(), os.getpid() > 1, socket.gethostname(), os.getcwd(), os.environ["VALUE"])
"""
    said = await node.python(program, env={"VALUE": "x=1 y"})
    assert said.split("\n")[0] == "1000 True box /root x=1 y"


async def test_ordinary_programs_work(node: Bench) -> None:
    program = """
import asyncio, concurrent.futures as futures, fcntl, mmap, multiprocessing, os, resource, select, signal, socket
import subprocess, sys, tempfile, threading, time
with futures.ThreadPoolExecutor(4) as pool:
    assert sum(pool.map(abs, range(-9, 1))) == 45
with multiprocessing.Pool(2) as pool:
    assert pool.map(abs, [-1, -2]) == [1, 2]
assert subprocess.run(["sh", "-c", "exit 3"]).returncode == 3
assert asyncio.run(asyncio.sleep(0, "awake")) == "awake"
with tempfile.NamedTemporaryFile() as file:
    file.truncate(4096)
    mmap.mmap(file.fileno(), 4096)[:2] = b"ok"
    fcntl.flock(file, fcntl.LOCK_EX)
    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
signal.setitimer(signal.ITIMER_REAL, 100)
os.sched_setaffinity(0, os.sched_getaffinity(0))
os.setpriority(os.PRIO_PROCESS, 0, 5)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
a, b = socket.socketpair()
a.send(os.getrandom(4)); b.recv(4)
os.memfd_create("x"), os.eventfd(0), os.pidfd_open(os.getpid())
os.listxattr("/root"), os.statvfs("/"), os.sync()
master, slave = os.openpty()
os.write(master, b"x")
print("all well")
"""
    assert (await node.python(program)).endswith("all well\n")


async def test_what_one_container_writes_no_other_sees(node: Bench) -> None:
    await node.shell("echo mine > /etc/mine; rm -r /usr/lib64; mkdir /usr/lib64")
    code, out, _ = await node.shell("ls /etc/mine /usr/lib64")
    assert code == 2
    assert "ld-linux" in out


async def test_a_program_that_is_not_there(node: Bench) -> None:
    container = await node.begin("no-such-program")
    ended = await node.ended(container)
    assert ended["code"] != 0
    assert "No such file" in node.server.of(container).text("stderr")


async def test_a_start_that_fails_says_why_and_leaves_nothing(node: Bench) -> None:
    with pytest.raises(RemoteFailure, match="hostname"):
        await node.begin("true", hostname="x" * 100)
    with pytest.raises(RemoteFailure, match="No such file"):
        await node.begin("true", layers=["missing"])
    await node.until(lambda: not node.files(), "removed files")
    assert (await node.shell("true"))[0] == 0


async def test_a_kill_ends_all_of_it(node: Bench) -> None:
    script = "trap '' TERM; (trap '' TERM HUP; sleep 1000) & sleep 1000; true"
    container = await node.begin("sh", "-c", script)
    await node.server.ask("container.kill", container=container, reason="test")
    ended = await node.ended(container, within_s=2)
    assert ended["signal"] == 9
    await node.until(lambda: not any("sleep 1000" in command for command in node.processes().values()), "no sleep")


async def test_starting_twice_is_starting_once(node: Bench) -> None:
    await asyncio.gather(*(node.server.ask("container.start", container="ta-x", spec=_sleeper()) for _ in range(3)))
    await node.server.ask("container.kill", container="ta-x", reason="test")
    await node.ended("ta-x")
    assert len(node.server.of("ta-x").exits) == 1


async def test_many_at_once(node: Bench) -> None:
    results = await asyncio.gather(*(node.shell(f"echo {number}") for number in range(16)))
    assert [out for _, out, _ in results] == [f"{number}\n" for number in range(16)]


async def test_marks_are_stripped_and_name_the_input(node: Bench) -> None:
    program = r"""
import os
os.write(1, b"before\n\x1e\x02fc-1:0\x03")
os.write(1, b"of the first\n\x1e")
os.write(1, b"\x02fc-1:1\x03of the second\n\x1e\x02\x03after\n\x1e alone")
"""
    container = await node.begin("python3", "-S", "-c", program)
    await node.ended(container)
    pieces: dict[str | None, bytes] = {}
    for _, key, data in node.server.of(container).output:
        pieces[key] = pieces.get(key, b"") + data
    assert pieces == {None: b"before\nafter\n\x1e alone", "fc-1:0": b"of the first\n", "fc-1:1": b"of the second\n"}


async def test_a_flush_waits_for_all_that_was_written(node: Bench) -> None:
    container = await node.begin("sh", "-c", "echo one; echo two; touch /run/done; sleep 100")
    await node.until(lambda: list(node.layout.containers.glob("*/upper/run/done")), "the file")
    await node.server.ask("logs.flush", containers=[container, "ta-unknown"])
    assert node.server.of(container).text() == "one\ntwo\n"


async def test_a_slow_server_holds_the_writer_back_and_loses_nothing(node: Bench) -> None:
    total = 16 << 20
    program = f"""
import os
written = 0
while written < {total}:
    written += os.write(1, b"x" * 65536)
"""
    node.server.takes_output.clear()
    container = await node.begin("python3", "-S", "-c", program)
    await asyncio.sleep(1)  # it writes 16 MiB in a tenth of this, if it is let
    assert not node.server.of(container).exits
    node.server.takes_output.set()
    assert (await node.ended(container))["code"] == 0
    assert len(node.server.of(container).text()) == total


async def test_work_goes_on_while_the_server_is_away(node: Bench) -> None:
    container = await node.begin("sh", "-c", "echo early; sleep 1; echo late; exit 5")
    await node.server.stop()
    await asyncio.sleep(1.5)  # the container ends meanwhile
    await node.server.start()
    ended = await node.ended(container)
    assert ended["code"] == 5
    assert [(each["id"], each["function"]) for each in node.server.hello["containers"]] == [(container, "fu-1")]
    assert node.server.of(container).text().endswith("late\n")
    assert node.server.hellos == 2


async def test_an_init_that_is_killed_takes_its_container_along(node: Bench) -> None:
    container = await node.begin("sh", "-c", "sleep 1000; true")
    await node.until(lambda: _find(node, "modicum-init"), "its init")
    kill(_find(node, "modicum-init")[0])
    ended = await node.ended(container)
    assert ended["signal"] == 9
    await node.until(lambda: not (_find(node, "sleep 1000") or node.files()), "nothing left")


async def test_a_program_that_is_killed_ends_its_container(node: Bench) -> None:
    container = await node.begin("sh", "-c", "sleep 1000 & sleep 2000; true")
    await node.until(lambda: _find(node, "sleep 2000"), "its program")
    shell = next(pid for pid, command in node.processes().items() if command.startswith("sh -c"))
    kill(shell)
    assert (await node.ended(container))["signal"] == 9
    await node.until(lambda: not (_find(node, "sleep") or node.files()), "nothing left")


async def test_a_runtime_that_is_killed_takes_its_container_along(node: Bench) -> None:
    container = await node.begin("sh", "-c", "sleep 1000; true")
    await node.until(lambda: _find(node, "sleep 1000"), "its program")
    kill(_find(node, "crun")[0])
    await node.ended(container)
    await node.until(lambda: not (_find(node, "sleep 1000") or node.files()), "nothing left")


def _sleeper() -> dict[str, object]:
    from tests.real.node.harness import spec

    return spec(("sleep", "1000"))


def _find(node: Bench, word: str) -> list[int]:
    return [pid for pid, command in node.processes().items() if word in command]
