"""Do limits hold, for root and for an ordinary user to whom root has delegated a cgroup?"""

from __future__ import annotations

import os
import pwd
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.real.node.harness import Bench

CGROUPS = Path("/sys/fs/cgroup")


@pytest.fixture
async def limited(idle: Bench) -> AsyncIterator[Bench]:
    """A node whose containers' limits are enforced."""
    if os.geteuid() != 0 or not (CGROUPS / "pids/cgroup.procs").exists():
        pytest.skip("needs root, and the controllers of cgroup v1")
    if not idle.maps.privileged:
        delegate(idle)
    await idle.start()
    assert idle.server.hello["limits"] == "limits enforced on cgroup v1"
    yield idle
    await idle.stop()
    idle.keeper = None
    for group in idle.delegated:
        group.rmdir()


def delegate(bench: Bench) -> None:
    """Do what root does once for an ordinary user."""
    account = pwd.getpwnam(bench.person.name)
    bench.delegated = [CGROUPS / name / "modicum" / bench.layout.key for name in ("pids", "memory", "cpu")]
    for group in bench.delegated:
        group.mkdir(parents=True)
        for path in (group, group / "cgroup.procs"):
            os.chown(path, account.pw_uid, account.pw_gid)


async def test_too_many_processes(limited: Bench) -> None:
    program = """
import os, time
count = 0
try:
    while count < 100:
        if os.fork() == 0:
            time.sleep(60)
        count += 1
except BlockingIOError:
    pass
print(count)
"""
    assert 10 <= int(await limited.python(program, limits={"pids": 20})) <= 20


async def test_too_much_memory(limited: Bench) -> None:
    program = "x = bytearray(256 << 20)"
    container = await limited.begin("python3", "-S", "-c", program, limits={"memory_bytes": 64 << 20})
    ended = await limited.ended(container, within_s=60)
    assert (ended["signal"], ended["oom"]) == (9, True)
    assert ended["detail"].startswith("it ran out of memory: limit 64 MiB, peak 6"), ended["detail"]
    assert ended["detail"].endswith(" MiB; ask for more with memory=…")
    assert 60 << 20 < ended["usage"]["memory_peak_bytes"] <= 64 << 20
    assert ended["usage"]["memory_mib_s"] > 0


async def test_a_share_of_a_cpu(limited: Bench) -> None:
    program = """
import time
start = time.monotonic()
while time.monotonic() - start < 1: pass
print(time.process_time())
"""
    container = await limited.begin("python3", "-S", "-c", program, limits={"cpus": 0.2}, request={"cpus": 0.1})
    usage = (await limited.ended(container))["usage"]
    used = float(limited.server.of(container).text())
    assert used < 0.6  # of 1 s, were there no limit
    assert (usage["request"], usage["seconds"] >= 1) == ({"cpus": 0.1}, True)
    if limited.maps.privileged:  # time is counted by a controller that was not delegated
        assert used <= usage["cpu_s"] < used + 1


async def test_without_a_delegated_cgroup_it_says_so(node: Bench) -> None:
    if node.maps.privileged:
        pytest.skip("root needs no delegation")
    assert node.server.hello["limits"].startswith("limits not enforced: no writable cgroup")
    assert (await node.shell("true", limits={"pids": 1, "memory_bytes": 1, "cpus": 0.1}))[0] == 0
