"""What survives when more than one thing dies, or the one that matters most?"""

from __future__ import annotations

import os

import pytest

from tests.real.installation import wait_until
from tests.real.system.conftest import Builder
from tests.real.system.house import Client, House, kill
from tests.real.system.traces import Process

pytestmark = pytest.mark.timeout(300)  # the first one may build the image


def test_spawned_inputs_survive_a_killed_server(house: House) -> None:
    with house.client() as client:
        calls = spawn(client)
        kill(house.status()["pid"])
        results = [client.ask("get", "got", call=call)["result"] for call in calls]
        again = [client.ask("get", "got", call=call)["result"] for call in calls]
        client.end()
        assert [number for number, _ in results] == list(range(len(calls)))
        assert again == results
        assert sorted(client.runs()) == sorted(tuple(result) for result in results)
    house.wait_settled()


def test_spawned_inputs_survive_the_death_of_everything_else(house: House) -> None:
    with house.client() as client:
        calls = spawn(client)
        status = house.status()
        for name in ("keeper_pid", "pid"):
            kill(status[name])
        results = [client.ask("get", "got", call=call)["result"] for call in calls]
        client.end()
        assert [number for number, _ in results] == list(range(len(calls)))
        assert {tuple(result) for result in results} <= set(client.runs())
    house.wait_settled()


def test_a_detached_app_needs_no_client_to_come_back(fresh: Builder) -> None:
    house = fresh(MODICUM_REATTACH_GRACE_S="0.1")
    with house.client(CLIENT_DETACH="1") as client:
        calls = spawn(client)
        client.close()
        kill(house.status()["pid"])
    with house.client() as other:
        results = [other.ask("get", "got", call=call)["result"] for call in calls]
        assert [number for number, _ in results] == list(range(len(calls)))
        other.end()
    assert house.status()["apps"] == [{"id": client.app, "name": "client", "detached": True, "tags": {}}]
    assert house.containers(client)  # they have not idled out


def spawn(client: Client) -> list[str]:
    """Spawn more inputs than can run at once; return their calls."""
    calls: list[str] = client.ask("spawn", "spawned", count=6, pause_s=0.4)["calls"]
    return calls


def test_a_killed_build_step_is_told_and_leaves_no_layer(house: House) -> None:
    salt = os.urandom(8).hex()
    before = sorted((house.home / "node/layers").iterdir())
    with house.client() as client:
        client.tell("build", salt=salt)
        wait_until(lambda: installers(house), client.story)
        kill(installers(house)[0].pid)
        failed = client.wait("failed")
        assert "pip install" in failed["message"]
        assert "status 137" in failed["message"]
        assert sorted((house.home / "node/layers").iterdir()) == before
        house.wait_settled()
        assert client.ask("build", "built", salt=salt)["result"] == ["six", "attr"]
        client.end()


def test_a_build_goes_on_while_anybody_waits_for_it(house: House) -> None:
    salt = os.urandom(8).hex()
    with house.client() as one, house.client() as other:
        one.tell("build", salt=salt)
        wait_until(lambda: installers(house), one.story)
        working = installers(house)
        other.tell("build", salt=salt)
        other.wait("output", lambda event: event["stream"] == "system")
        one.close()
        assert other.wait("built")["result"] == ["six", "attr"]
        assert len(working) == 1
        other.end()
    house.wait_settled()


def installers(house: House) -> list[Process]:
    """Return pip's own process, if a step runs one."""
    return [each for each in house.trace().processes.values() if each.command.endswith("--no-compile attrs six")]
