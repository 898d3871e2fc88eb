"""Failed attempts, loading and ends of containers, through a whole server."""

from __future__ import annotations

from typing import Any

import pytest

from modicum.server.api.router import Router
from modicum.server.core import events as ev
from modicum.server.main import Server
from modicum.server.parts import Parts
from modicum.wire.frames import Header
from tests.unit.server.parts import Wire
from tests.unit.server.test_calls import CREATE, OPTIONS, World, of, outputs, run_of

RETRIES = {"max_retries": 1, "backoff_coefficient": 1.0, "initial_delay": 0.0, "max_delay": 1.0}


class Retrying(World):
    """Its function runs again what failed, once."""

    async def tell(self, channel: Wire, header: Header, payload: bytes = b"") -> Any:
        if header["t"] == CREATE["t"]:
            header = {**header, "options": {**OPTIONS, "retries": RETRIES}}
        return await super().tell(channel, header, payload)


@pytest.fixture
async def world(assembled: tuple[Server, Parts, Router]) -> Retrying:
    made = Retrying(*assembled)
    await made.begin()
    return made


async def test_the_caller_hears_of_the_last_attempt_alone(world: Retrying) -> None:
    await world.inputs()
    container, agent = await world.container()
    blob = world.parts.blobs.new()
    world.parts.blobs.write(blob, 0, 1, b"x")
    assert world.parts.blobs.has(blob)
    assert run_of(agent) == [["fc-1:0", 1, 1, None]]
    await world.tell(agent, outputs(1, ["fc-1:0", 1, "exception", 0.0, 0, blob]))
    assert not of(world.user.take(), "call.outputs")
    assert not world.parts.blobs.has(blob)  # nobody will read it
    assert run_of(agent) == [["fc-1:0", 2, 1, None]]
    (sent,) = world.parts.fleet.containers[container].unacknowledged
    assert sent.open == 0  # the agent may forget the first
    await world.tell(agent, outputs(2, ["fc-1:0", 2, "exception", 0.0, 1, None]), b"e")
    ((header, payload),) = of(world.user.take(), "call.outputs")
    assert (header["outputs"], payload) == ([[0, "exception", 1, None]], b"e")


async def test_a_generator_is_not_repeated(world: Retrying) -> None:
    await world.inputs(kind="gen")
    _, agent = await world.container()
    run_of(agent)
    await world.tell(agent, outputs(1, ["fc-1:0", 1, "exception", 0.0, 1, None]), b"e")
    assert of(world.user.take(), "call.outputs")


async def test_no_input_comes_before_the_agent_has_loaded(world: Retrying) -> None:
    await world.inputs()
    await world.settle()
    ((start, _),) = of(world.node.sent, "container.start")
    agent = Wire("container", start["container"])
    await world.tell(agent, {"t": "agent.hello", "build": "x", "holding": [], "loaded": False})
    await world.settle()
    assert not run_of(agent)
    await world.tell(agent, {"t": "agent.loaded"})
    assert len(run_of(agent)) == 1


async def test_a_method_goes_with_its_input(world: Retrying) -> None:
    await world.inputs(method="m")
    _, agent = await world.container()
    assert run_of(agent) == [["fc-1:0", 1, 1, None, "m"]]


async def test_a_container_is_told_to_stop_and_what_it_ran_runs_again(world: Retrying) -> None:
    await world.inputs()
    container, agent = await world.container()
    agent.take()
    world.parts.controller.handle(ev.StopRequested(container, False))
    assert of(agent.take(), "exit") == [({"t": "exit", "now": True}, b"")]
    ended = {"t": "node.exited", "container": container, "code": 0, "signal": None, "oom": False, "detail": ""}
    await world.tell(world.node, ended)
    await world.settle()
    _, (start, _) = of(world.node.sent, "container.start")
    other = await world.agent(start["container"])
    assert run_of(other) == [["fc-1:0", 2, 1, None]]
    assert world.parts.controller.state.stats(world.function) == (0, 1, 1, 0)
