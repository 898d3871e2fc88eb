"""What does a kill -9 leave behind, and does work go on?"""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path

import pytest

from modicum.node.slots import STOCK
from tests.real.node.harness import Bench, kill


@pytest.fixture
async def busy(node: Bench) -> Bench:
    """A node with two containers, one of which has a process of its own session."""
    await node.begin("sh", "-c", "setsid sleep 1001 & sleep 1002; true")
    await node.begin("sleep", "1003")
    await node.until(lambda: len(sleepers(node)) == 3, "three sleepers")
    return node


async def test_the_node_is_replaced(busy: Bench) -> None:
    before, asleep = busy.facts(), namespaces(busy)
    kill(before["node_pid"])
    await busy.until(lambda: busy.server.hellos == 2, "another node")
    await busy.until(lambda: not (sleepers(busy) or busy.files()), "nothing of the old one")
    assert not asleep & namespaces(busy)
    after = busy.facts()
    assert after["pid"] == before["pid"]
    assert after["node_pid"] != before["node_pid"]
    assert busy.server.hello["containers"] == []
    await busy.until(lambda: len(slots(busy)) <= STOCK, "the sweep of cgroups")
    assert (await busy.shell("echo again"))[1] == "again\n"


async def test_the_nodes_own_process_is_replaced_too(busy: Bench) -> None:
    program = [pid for pid, command in busy.processes().items() if "modicum.node.main" in command]
    kill(max(program))
    await busy.until(lambda: busy.server.hellos == 2, "another node")
    await busy.until(lambda: not (sleepers(busy) or busy.files()), "nothing of the old one")


async def test_a_node_that_keeps_dying_is_restarted_with_pauses(node: Bench) -> None:
    for _ in range(3):
        before = node.server.hellos
        kill(node.facts()["node_pid"])
        await node.until(partial(has_more_hellos, node, before), "another node", within_s=10)


async def test_a_dead_keeper_takes_everything_along(busy: Bench) -> None:
    assert busy.keeper is not None
    pid = busy.facts()["pid"]
    kill(pid)
    busy.keeper.wait()
    await busy.until(lambda: not busy.processes(), "the end of all processes")
    busy.start_keeper()
    await busy.until(lambda: busy.server.hellos == 2, "another node", within_s=10)
    await busy.until(lambda: not busy.files(), "nothing of the old one")
    assert len(slots(busy)) <= STOCK


async def test_a_second_keeper_leaves_the_first_alone(node: Bench) -> None:
    first, before = node.keeper, node.facts()
    node.start_keeper()
    assert node.keeper is not None
    assert node.keeper.wait(10) == 0
    node.keeper = first
    assert node.facts() == before


async def test_without_a_server_all_ends_by_itself(idle: Bench) -> None:
    await idle.start(MODICUM_SERVER_GRACE_S="1.5")
    await idle.begin("sleep", "1001")
    await idle.server.stop()
    started = time.monotonic()
    await idle.until(lambda: not idle.processes(), "the end", within_s=10)
    assert time.monotonic() - started > 1
    assert not (idle.cgroups() or idle.files() or idle.layout.keeper_facts.exists())


async def test_the_helper_of_the_node_can_be_killed(busy: Bench) -> None:
    program = [pid for pid, command in busy.processes().items() if "-m modicum.node.main" in command]
    helpers = [
        pid for pid in program if parent(pid) in program and not command_of(parent(pid)).startswith(b"/usr/bin/cat")
    ]
    kill(max(helpers))
    await busy.until(lambda: busy.server.hellos == 2, "another node")


async def test_the_uplink_can_be_killed(node: Bench) -> None:
    uplinks = uplinks_of(node)
    kill(min(uplinks))
    await node.until(lambda: set(uplinks_of(node)) - set(uplinks), "another uplink")
    assert node.server.hellos == 1
    assert (await node.shell("cat /proc/net/route"))[0] == 0


def has_more_hellos(bench: Bench, before: int) -> bool:
    return bench.server.hellos > before


def uplinks_of(bench: Bench) -> list[int]:
    return [pid for pid, command in bench.processes().items() if command.startswith("slirp4netns")]


def sleepers(bench: Bench) -> list[int]:
    return [pid for pid, command in bench.processes().items() if command.startswith("sleep 100")]


def namespaces(bench: Bench) -> set[str]:
    found = set()
    for pid in sleepers(bench):
        for name in ("net", "user", "mnt"):
            found.add(os.readlink(f"/proc/{pid}/ns/{name}"))
    return found


def slots(bench: Bench) -> set[str]:
    return {path.name for group in bench.cgroups() for path in Path(group).iterdir() if path.is_dir()}


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def command_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()
