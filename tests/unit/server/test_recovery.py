"""What a server that takes over hears before it decides anything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from modicum.engines.base import EngineFailure
from modicum.server.api.router import Router
from modicum.server.main import Server
from modicum.server.parts import Parts
from modicum.server.settings import Settings
from tests.unit.server.parts import NoEngine, Wire, ask
from tests.unit.server.test_calls import CREATE, LOOP_TURNS, NODE, OPTIONS, run_of


async def test_what_the_last_agent_holds_is_known_before_anything_is_dispatched(
    assembled: tuple[Server, Parts, Router],
) -> None:
    server, parts, router = assembled
    user = Wire("user")
    parts.builds.restore("im-1", ["la-1"], {})
    app = (await ask(router, user, {"t": "app.create", "name": "a", "key": "k"}))["app"]
    options = {**OPTIONS, "max_containers": 2}
    function = (await ask(router, user, {**CREATE, "app": app, "options": options}, b"code"))["function"]
    recovering = asyncio.create_task(server._recover(parts))
    containers = [{"id": name, "function": function} for name in ("ta-1", "ta-2")]
    await ask(router, Wire("node"), {**NODE, "containers": containers})
    inputs = {"t": "call.inputs", "call": "fc-1", "function": function, "kind": "map", "first": 0, "sizes": [1, 1]}
    await ask(router, user, inputs, b"xx")
    free, busy = Wire("container", "ta-1"), Wire("container", "ta-2")
    for agent, holding in ((free, []), (busy, [["fc-1:0", 1]])):
        assert not recovering.done()
        await ask(router, agent, {"t": "agent.hello", "build": "x", "holding": holding})
        await turn()
    assert recovering.done()
    assert [key for key, *_ in run_of(free)] == ["fc-1:1"]
    assert run_of(busy) == []


@pytest.mark.parametrize("builds", [["im-1"], []])
async def test_an_older_agent_stays_while_a_build_may_use_it(
    assembled: tuple[Server, Parts, Router], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, builds: list[str]
) -> None:
    server, parts, router = assembled
    (tmp_path / "links").mkdir()
    removed: list[Path] = []
    monkeypatch.setattr("modicum.server.main.remove_other_agents", removed.append)
    recovering = asyncio.create_task(server._recover(parts))
    await turn()
    assert removed == [], "no node has said yet what it does"
    await ask(router, Wire("node"), {**NODE, "containers": [], "builds": builds})
    await recovering
    assert len(removed) == (0 if builds else 1)


async def test_apps_made_with_isolation_are_not_run_without(tmp_path: Path) -> None:
    for runtime, name in (("process", "plain"), ("auto", "guarded")):
        async with taking_over(tmp_path, runtime) as (server, parts):
            await server._restore(parts)
            await parts.apps.create(name, f"key of {name}", True, {})
    async with taking_over(tmp_path, "process") as (server, parts):
        with pytest.raises(EngineFailure, match=r"process has none: guarded \(ap-\w+\); end them by"):
            await server._restore(parts)
        assert not parts.apps.by_id
    async with taking_over(tmp_path, "crun") as (server, parts):
        await server._restore(parts)
        assert {app.name for app in parts.apps.by_id.values()} == {"plain", "guarded"}


@asynccontextmanager
async def taking_over(home: Path, runtime: str) -> AsyncIterator[tuple[Server, Parts]]:
    """Another server of a home, before it has taken up what is there."""
    server = Server(Settings(home=home, runtime=runtime), NoEngine())
    parts = server._assemble()
    yield server, parts
    parts.database.close()
    parts.logs.close()


async def turn() -> None:
    for _ in range(LOOP_TURNS):
        await asyncio.sleep(0)
