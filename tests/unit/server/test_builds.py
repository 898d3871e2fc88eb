"""Which builds happen, and which need not: shared, forced, remembered."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from modicum.server.parts import Parts
from modicum.stores import queries
from modicum.wire.channel import RemoteFailure
from modicum.wire.messages import NODE
from tests.unit.server.parts import Wire

Step = dict[str, Any]
BASE: Step = {"op": "debian_slim", "python": "3.12"}
PIP: Step = {"op": "pip_install", "packages": ["six"]}
FORCED: Step = {**PIP, "force_build": True}


class Node(Wire):
    """Builds whatever it is asked for, unless it `fails`."""

    def __init__(self, parts: Parts) -> None:
        super().__init__(NODE, "no-1")
        self.asked: list[dict[str, Any]] = []
        self.fails = ""
        self._builds = parts.builds
        parts.fleet.nodes["no-1"] = self
        parts.fleet.node_joined.set()

    async def request(self, header: dict[str, Any], payload: bytes = b"") -> Any:
        self.asked.append(header)
        if self.fails:
            self._builds.failed(header["build"], self.fails)
        else:
            self._builds.done(header["build"], {"env": {}})
        return {"t": "reply"}, b""


@pytest.fixture
async def node(parts: Parts) -> Node:
    return Node(parts)


async def test_an_image_is_built_once_and_kept(parts: Parts, node: Node) -> None:
    steps = [BASE, {"op": "configure", "workdir": "/x"}, PIP]
    first, second = await asyncio.gather(*(parts.builds.build(steps, "ap-1") for _ in range(2)))
    assert first == second == await parts.builds.build(steps, "ap-2")
    asked = node.asked[0]
    assert [layer["step"]["op"] for layer in asked["layers"]] == ["debian_slim", "pip_install"]
    assert asked["layers"][1]["configured"] == ({"op": "configure", "workdir": "/x"},)
    stored = await parts.database.submit(queries.everything)
    assert [image[0] for image in stored.images] == [first]


async def test_what_was_forced_is_everybodys_from_then_on(parts: Parts, node: Node) -> None:
    plain = await parts.builds.build([BASE, PIP], "ap-1")
    forced = await parts.builds.build([BASE, FORCED], "ap-2")
    assert forced != plain
    built = len(node.asked)
    assert await parts.builds.build([BASE, PIP], "ap-3") == forced
    assert await parts.builds.build([BASE, FORCED], "ap-2") == forced  # the same app: a request that was sent again
    assert len(node.asked) == built
    assert await parts.builds.build([BASE, FORCED], "ap-4") not in (plain, forced)


async def test_what_was_forced_outlives_the_server(parts: Parts, node: Node) -> None:
    forced = await parts.builds.build([BASE, FORCED], "ap-1")
    stored = await parts.database.submit(queries.everything)
    parts.builds.restore_forced({})
    assert await parts.builds.build([BASE, PIP], "ap-2") != forced
    parts.builds.restore_forced(stored.forced)
    assert await parts.builds.build([BASE, PIP], "ap-2") == forced


async def test_ignoring_the_cache_changes_nothing_for_others(parts: Parts, node: Node) -> None:
    plain = await parts.builds.build([BASE, PIP], "ap-1")
    own = await parts.builds.build([BASE, FORCED], "ap-2", ignore_cache=True)
    assert own != plain
    assert {layer["id"] for layer in node.asked[-1]["layers"]}.isdisjoint(
        layer["id"] for layer in node.asked[0]["layers"]
    )
    assert await parts.builds.build([BASE, PIP], "ap-2", ignore_cache=True) == own  # all images of one run share
    assert await parts.builds.build([BASE, PIP], "ap-3") == plain


async def test_a_forced_build_that_fails_changes_nothing(parts: Parts, node: Node) -> None:
    plain = await parts.builds.build([BASE, PIP], "ap-1")
    node.fails = "no network"
    with pytest.raises(RemoteFailure, match="no network"):
        await parts.builds.build([BASE, FORCED], "ap-2")
    assert await parts.builds.build([BASE, PIP], "ap-3") == plain


async def test_steps_that_are_none_are_refused(parts: Parts, node: Node) -> None:
    with pytest.raises(RemoteFailure, match="a step that makes a layer") as caught:
        await parts.builds.build([{"op": "configure", "env": {}}], "ap-1")
    assert caught.value.code == "invalid"
