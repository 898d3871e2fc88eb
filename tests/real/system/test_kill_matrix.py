"""What does a kill -9 leave, and does the work go on? Every process, in every phase.

A case kills one process of a running whole, and then: five seconds later nothing is left of what died with it, what
should live does, and whoever is still there gets all he asked for, once.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from tests.real.installation import wait_until
from tests.real.system.house import Client, House, kill
from tests.real.system.traces import Process, Trace, doomed

pytestmark = pytest.mark.timeout(300)  # the first one may build the image

INPUTS, PAUSE_S = 24, 0.1
_PIP = "python -m pip install --no-compile attrs six"


@dataclass(frozen=True)
class Victim:
    """Who is killed, and what dies and what lives with it."""

    pid: int
    dies: list[Process]
    lives: list[Process]


def client_(house: House, client: Client, trace: Trace) -> Victim:
    dies = [trace.processes[client.process.pid]]
    for container in house.containers(client):
        dies += trace.of_container(container)
    return Victim(client.process.pid, dies, _daemons(house, trace))


def server(house: House, client: Client, trace: Trace) -> Victim:
    pid = house.status()["pid"]
    containers = [process for process in trace.processes.values() if process.container is not None]
    return Victim(pid, [trace.processes[pid]], [*_daemons(house, trace, "keeper_pid", "node_pid"), *containers])


def keeper(house: House, client: Client, trace: Trace) -> Victim:
    pid = house.status()["keeper_pid"]
    return Victim(pid, [trace.processes[pid], *trace.below(pid)], _daemons(house, trace, "pid"))


def node(house: House, client: Client, trace: Trace) -> Victim:
    status = house.status()
    return Victim(status["node_pid"], trace.below(status["keeper_pid"]), _daemons(house, trace, "pid", "keeper_pid"))


def agent(house: House, client: Client, trace: Trace) -> Victim:
    container = house.containers(client)[0]
    return Victim(house.agent(trace, container).pid, trace.of_container(container), _daemons(house, trace))


def init(house: House, client: Client, trace: Trace) -> Victim:
    container = house.containers(client)[0]
    return Victim(house.init(trace, container).pid, trace.of_container(container), _daemons(house, trace))


def _daemons(house: House, trace: Trace, *names: str) -> list[Process]:
    status = house.status()
    return [trace.processes[status[name]] for name in names or ("pid", "keeper_pid", "node_pid")]


VICTIMS = {each.__name__.rstrip("_"): each for each in (client_, server, keeper, node, agent, init)}


@pytest.fixture
def client(house: House) -> Iterator[Client]:
    with house.client() as client:
        client.ask("call", "called", number=0)
        yield client


def strike(house: House, client: Client, victim: str) -> None:
    """Kill it; return when nothing is left of it, and what should live does."""
    trace = house.trace()
    chosen = VICTIMS[victim](house, client, trace)
    expected = doomed(trace, chosen.dies)
    assert len(expected.processes) == len(chosen.dies)
    if victim != "server":
        assert expected.directories
        assert bool(expected.cgroups) == bool(trace.cgroups)
    kill(chosen.pid)
    if victim == "client":
        client.process.wait()
    house.wait_gone(expected)
    after = house.trace().keys()
    assert not [process for process in chosen.lives if process.key not in after]


REASONS = {"agent": "crashed", "init": "crashed", "node": "node lost", "keeper": "node lost"}
"""What is said of a container whose process, or node, was killed."""


def check_why(house: House, client: Client, victim: str) -> None:
    """Whoever asks later is told why a container ended, and its app's log has it, too."""
    if victim not in REASONS:
        return
    answer = house.installation.run("container", "list", "--all", "--app-id", client.app, "--json").stdout
    found = [each for each in json.loads(answer) if str(each["reason"]).startswith(REASONS[victim])]
    assert found, answer
    lines = house.installation.run("app", "logs", client.app, "--source", "system", "--search", "container").stdout
    assert any(each["container_id"] in lines for each in found), lines


@pytest.mark.parametrize("victim", VICTIMS)
def test_idle(house: House, client: Client, victim: str) -> None:
    with bystander(house, victim) as other:
        strike(house, client, victim)
        check_bystander(house, other)
    if victim != "client":
        assert client.ask("call", "called", number=7)["result"][0] == 7
        client.end()
        once = victim == "server"
        assert not once or [number for number, _ in client.runs()] == [0, 7]
        check_why(house, client, victim)
    house.wait_settled()


@pytest.mark.parametrize("victim", VICTIMS)
def test_in_mid_map(house: House, client: Client, victim: str) -> None:
    with bystander(house, victim) as other:
        client.tell("map", count=INPUTS, pause_s=PAUSE_S)
        client.wait("mapped", lambda event: event["result"][0] == 4)
        strike(house, client, victim)
        check_bystander(house, other)
    if victim != "client":
        client.wait("map ended")
        client.end()
        results = client.results("mapped")
        assert [number for number, _ in results] == list(range(INPUTS))
        runs = client.runs()
        assert {tuple(result) for result in results} <= set(runs)
        if victim == "server":
            assert sorted(number for number, _ in runs) == sorted([0, *range(INPUTS)])
    house.wait_settled()


@pytest.mark.parametrize("victim", VICTIMS)
def test_in_mid_build(house: House, client: Client, victim: str) -> None:
    with bystander(house, victim) as other:
        client.tell("build", salt=os.urandom(8).hex())
        client.wait("output", lambda event: "pip install" in event["text"])
        wait_until(lambda: _installers(house), client.story)
        strike(house, client, victim)
        check_bystander(house, other)
    if victim == "client":
        wait_until(lambda: not _installers(house), house.installation.logs)
    else:
        assert client.wait("built")["result"] == ["six", "attr"]
        assert client.ask("call", "called", number=7)["result"][0] == 7
        client.end()
    house.wait_settled()
    layers = {path.name for path in (house.home / "node/layers").iterdir()}
    assert layers == {path.stem for path in (house.home / "node/records").iterdir()}


@contextmanager
def bystander(house: House, victim: str) -> Iterator[Client | None]:
    """Another client with an app of its own, whom the death of the first must not touch."""
    if victim != "client":
        yield None
        return
    with house.client() as other:
        other.ask("call", "called", number=1)
        yield other
        other.end()
        assert [number for number, _ in other.runs()] == [1, 2]


def check_bystander(house: House, other: Client | None) -> None:
    if other is not None:
        before = house.containers(other)
        assert other.ask("call", "called", number=2)["result"][0] == 2
        assert house.containers(other) == before


def _installers(house: House) -> list[Process]:
    return [process for process in house.trace().processes.values() if process.command.endswith(_PIP)]
