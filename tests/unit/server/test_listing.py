"""What the server tells of what runs and waits, and which layers it lets go."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from modicum.server.api.router import Router
from modicum.server.main import Server
from modicum.server.parts import Parts
from modicum.stores import queries
from modicum.wire.channel import ChannelClosed, RemoteFailure
from modicum.wire.frames import Frame, Header
from tests.unit.server.parts import Wire
from tests.unit.server.test_calls import World

LAYERS = {"la-1": 100, "la-2": 20, "la-3": 3}


class Node(Wire):
    """A node with some layers; what it is asked to keep it keeps."""

    def __init__(self) -> None:
        super().__init__("node")
        self.layers = dict(LAYERS)
        self.answer: Exception | None = None

    async def request(self, header: Header, payload: bytes = b"") -> Frame:
        self.send(header, payload)
        if self.answer is not None:
            raise self.answer
        if header["t"] == "layers.list":
            return {"layers": list(self.layers.items())}, b""
        if header["t"] == "layers.prune":
            gone = {layer: size for layer, size in self.layers.items() if layer not in header["keep"]}
            self.layers = {layer: size for layer, size in self.layers.items() if layer not in gone}
            return {"removed": list(gone.items())}, b""
        return {"known": True}, b""


@pytest.fixture
async def world(assembled: tuple[Server, Parts, Router]) -> World:
    made = World(*assembled)
    made.node = Node()
    await made.begin()
    return made


async def test_apps_and_containers(world: World) -> None:
    await world.inputs()
    container, _ = await world.container()
    (app,) = (await world.tell(world.user, {"t": "app.list"}))["apps"]
    assert (app["name"], app["state"], app["functions"], app["containers"]) == ("a", "ephemeral", 1, 1)
    assert app["created_at"] > 1e9
    (found,) = (await world.tell(world.user, {"t": "container.list"}))["containers"]
    assert found["id"] == container
    assert (found["app"], found["app_name"], found["function"]) == (app["id"], "a", "f")
    assert (found["state"], found["running"]) == ("ready", 1)
    assert found["since"] >= app["created_at"] - 1


async def test_why_a_call_waits(world: World) -> None:
    app = next(iter(world.parts.apps.by_id))
    question = {"t": "app.waiting", "apps": [app, "ap-of-nobody"]}
    assert await world.tell(world.user, question) == {"waiting": []}
    await world.inputs(count=3)
    (found,) = (await world.tell(world.user, question))["waiting"]
    assert found == {"app": app, "function": "f", "inputs": 3, "why": "1 container of it is starting"}
    await world.container()
    assert await world.tell(world.user, question) == {"waiting": []}, "the container has one and takes the others"


async def test_a_function_that_is_gone_waits_for_nothing(world: World) -> None:
    assert world.parts.controller.state.waits_for_container("fu-of-nobody") == 0


async def test_images_and_their_room(world: World) -> None:
    world.parts.builds.restore("im-2", ["la-1", "la-2"], {})
    world.parts.builds.restore("im-gone", ["la-1", "la-of-another-node"], {})
    world.parts.builds.node_has(list(LAYERS))
    answer = await world.tell(world.user, {"t": "image.list"})
    assert answer == {
        "images": [
            {"id": "im-1", "layers": 1, "bytes": 100, "in_use": True},
            {"id": "im-2", "layers": 2, "bytes": 120, "in_use": False},
        ],
        "layers": 3,
        "bytes": 123,
    }


async def prune(world: World, dry_run: bool) -> Any:
    return await world.tell(world.user, {"t": "image.prune", "dry_run": dry_run})


async def test_what_no_app_uses_goes(world: World) -> None:
    parts = world.parts
    parts.builds.restore("im-2", ["la-1", "la-2"], {})
    await parts.database.submit(queries.add_image("im-2", ["la-1", "la-2"], {}))
    parts.builds.node_has(list(LAYERS))
    expected = {"images": 1, "layers": 2, "bytes": 23}
    assert await prune(world, dry_run=True) == expected
    assert list(world.node.layers) == list(LAYERS)  # type: ignore[attr-defined]
    assert await prune(world, dry_run=False) == expected
    assert list(world.node.layers) == ["la-1"]  # type: ignore[attr-defined]
    assert list(parts.builds.images()) == ["im-1"]
    assert await parts.database.submit(queries.everything) is not None
    assert [row[0] for row in (await parts.database.submit(queries.everything)).images] == []
    assert await prune(world, dry_run=False) == {"images": 0, "layers": 0, "bytes": 0}


async def test_the_last_app_takes_its_layers_along(world: World) -> None:
    world.parts.builds.node_has(list(LAYERS))
    (app,) = world.parts.apps.by_id
    assert (await prune(world, dry_run=True))["layers"] == 2
    await world.parts.apps.stop(app)
    assert (await prune(world, dry_run=True)) == {"images": 1, "layers": 3, "bytes": 123}


async def test_what_an_app_had_built_stays_before_it_has_functions(world: World) -> None:
    (app,) = world.parts.apps.by_id
    world.parts.builds.node_has(list(LAYERS))
    world.parts.apps.claim(app, ["la-2"])
    world.parts.apps.claim("ap-ended", ["la-3"])
    await prune(world, dry_run=False)
    assert list(world.node.layers) == ["la-1", "la-2"]  # type: ignore[attr-defined]


async def test_who_wants_a_layer_while_it_goes_has_it_built(world: World) -> None:
    """The layers are forgotten before the node is asked, so that no build takes one for granted that is going."""
    builds = world.parts.builds
    builds.restore("im-2", ["la-2"], {})
    builds.node_has(list(LAYERS))
    pruning = asyncio.ensure_future(prune(world, dry_run=False))
    await world.settle()
    assert "im-2" not in builds.images()
    await pruning


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (RemoteFailure("unknown_message", "no"), "the node is of an earlier build"),
        (ChannelClosed("gone"), "the node ended meanwhile; ask again"),
        (RemoteFailure("internal", "a disk fault"), "a disk fault"),
    ],
)
async def test_a_node_that_does_not(world: World, answer: Exception, reason: str) -> None:
    world.node.answer = answer  # type: ignore[attr-defined]
    with pytest.raises(RemoteFailure, match=reason):
        await world.tell(world.user, {"t": "image.list"})
