"""How secrets are kept: encrypted, once for the same values, as long as something names them, and out of sight."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import stat
import traceback
from pathlib import Path
from typing import Any

import pytest

from modicum.server import secrets as secrets_
from modicum.server.api.router import Router
from modicum.server.main import Server
from modicum.server.parts import Parts
from modicum.server.secrets import Secrets
from modicum.stores import secrets as stored
from modicum.wire.channel import RemoteFailure
from tests.unit.server.parts import Wire, ask
from tests.unit.server.test_calls import CREATE, OPTIONS, World

VALUE = "hunter2-7f3a"


@pytest.fixture
async def world(assembled: tuple[Server, Parts, Router]) -> World:
    made = World(*assembled)
    await made.begin()
    return made


async def create(world: World, values: Any, channel: Wire | None = None) -> str:
    payload = values if isinstance(values, bytes) else json.dumps(values).encode()
    return (await world.tell(channel or world.user, {"t": "secret.create"}, payload))["secret"]  # type: ignore[no-any-return]


def found_in(folder: Path, text: str) -> list[str]:
    """Return the files that hold a text."""
    return [str(path) for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


async def started_with(world: World, **options: Any) -> dict[str, Any]:
    """Have a function with these options called; return what the node is told to start."""
    app = (await world.tell(world.user, {"t": "app.create", "name": "b", "key": "k2"}))["app"]
    await world.tell(world.user, {"t": "app.attach", "app": app})
    made = await world.tell(world.user, {**CREATE, "app": app, "options": {**OPTIONS, **options}}, b"code")
    world.function = made["function"]
    world.node.take()
    await world.inputs("fc-9")
    await world.settle()
    starts = [header["spec"] for header, _ in world.node.take() if header["t"] == "container.start"]
    return starts[0] if starts else {}


async def test_the_same_is_kept_once_and_nowhere_in_clear(world: World, tmp_path: Path) -> None:
    one = await create(world, {"A": VALUE, "B": "c"})
    assert one == await create(world, {"B": "c", "A": VALUE}, Wire("user"))
    assert one != await create(world, {"A": VALUE})
    assert len(await world.parts.database.submit(stored.everything)) == 2
    assert world.parts.secrets.variables([one]) == {"A": VALUE, "B": "c"}
    assert found_in(tmp_path, VALUE) == []
    assert VALUE not in repr(world.parts.secrets.__dict__)
    key = tmp_path / "secrets.key"
    assert (stat.S_IMODE(key.stat().st_mode), len(key.read_bytes())) == (0o600, 32)
    assert not (tmp_path / "secrets.new").exists()


async def test_another_home_gives_other_ids(world: World, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Secrets(tmp_path / "other", world.parts.database)
    assert await other.keep({"A": VALUE}) != await create(world, {"A": VALUE})


async def test_a_later_server_reads_them(world: World, tmp_path: Path) -> None:
    one = await create(world, {"A": VALUE})
    later = Secrets(tmp_path, world.parts.database)
    later.restore(await world.parts.database.submit(stored.everything))
    assert later.variables([one]) == {"A": VALUE}
    assert await later.keep({"A": VALUE}) == one


async def test_a_key_that_is_lost_or_another(world: World, tmp_path: Path) -> None:
    one = await create(world, {"A": VALUE})
    (tmp_path / "secrets.key").write_bytes(b"x" * 32)
    later = Secrets(tmp_path, world.parts.database)
    later.restore(await world.parts.database.submit(stored.everything))
    with pytest.raises(RemoteFailure, match=r"cannot be read: .*secrets\.key is not the key that it was kept with"):
        later.variables([one])
    (tmp_path / "secrets.key").write_bytes(b"short")
    later = Secrets(tmp_path, world.parts.database)
    later.restore(await world.parts.database.submit(stored.everything))
    with pytest.raises(RemoteFailure, match="holds no key of 32 bytes: restore it"):
        later.variables([one])
    (tmp_path / "secrets.key").unlink()
    with pytest.raises(RemoteFailure, match=r"secrets\.key is gone, without which no secret can be read"):
        later.variables([one])
    (tmp_path / "secrets.key").mkdir()
    with pytest.raises(RemoteFailure, match=r"secrets\.key cannot be read: Is a directory"):
        later.variables([one])
    (tmp_path / "secrets.key").rmdir()
    assert not (tmp_path / "secrets.key").exists(), "a new one would read none of them"


async def test_content_stays_with_its_id(world: World) -> None:
    """Who may write the database cannot give one function the secret of another."""
    one, two = await create(world, {"A": VALUE}), await create(world, {"A": "else"})
    known = world.parts.secrets._known
    known[two] = known[two]._replace(content=known[one].content)
    with pytest.raises(RemoteFailure, match="cannot be read"):
        world.parts.secrets.variables([two])


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b'"x"',
        VALUE.encode(),
        b"\xff" + VALUE.encode(),
        json.dumps({"A": 1}).encode(),
        json.dumps({"A-B": VALUE}).encode(),
        json.dumps({"A": f"{VALUE}\0"}).encode(),
        json.dumps({"A": f"{VALUE}\ud800"}).encode(),
        json.dumps({"A": VALUE * 20_000}).encode(),
        b'{"A": "' + b"x" * 600_000 + b'"}',
        b"[" * 100_000,
    ],
)
async def test_what_is_no_secret_is_refused_without_a_trace(
    world: World, payload: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(RemoteFailure, match="a secret is a JSON object") as caught:
        await create(world, payload)
    told = io.StringIO()
    traceback.print_exception(caught.value, file=told)
    assert VALUE not in told.getvalue() + caplog.text
    assert caught.value.code == "invalid"


async def test_more_than_a_process_or_the_disk_can_have(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    many = [await create(world, {f"A{n}": "x" * 120_000}) for n in range(7)]  # 7 * 120,000 = 840,000
    with pytest.raises(RemoteFailure, match=r"secrets of a function have 840,.* bytes together, more than 786,432"):
        await started_with(world, secrets=many)
    monkeypatch.setattr(secrets_, "KEPT_BYTES_MAX", 900_000)
    with pytest.raises(RemoteFailure, match="all secrets together have more than 900,000 bytes") as caught:
        await create(world, {"B": "x" * 100_000})
    assert caught.value.code == "resource_exhausted"
    assert await create(world, {"A0": "x" * 120_000}) == many[0], "what is kept is kept"
    monkeypatch.setattr(secrets_, "KEPT_BYTES_MAX", 854_000)
    small = [await create(world, {f"B{n}": ""}) for n in range(6)]
    with pytest.raises(RemoteFailure, match="all secrets together"):
        await create(world, {"C": ""})
    assert await create(world, {"B0": ""}) == small[0], "small ones count for what they take besides"


async def test_a_container_gets_its_variables_and_ours_win(world: World) -> None:
    one = await create(world, {"A": "1", "B": "1", "MODICUM_TASK_ID": "x", "MODAL_IS_REMOTE": "0", "PATH": "/mine"})
    two = await create(world, {"B": "2"})
    env = (await started_with(world, secrets=[one, two]))["env"]
    assert (env["A"], env["B"], env["PATH"]) == ("1", "2", "/mine")
    assert (env["MODICUM_TASK_ID"][:3], env["MODAL_IS_REMOTE"]) == ("ta-", "1")


async def test_values_are_in_no_log(world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    one = await create(world, {"A": VALUE})
    spec = await started_with(world, secrets=[one])
    assert spec["env"]["A"] == VALUE
    await world.parts.history.write()
    assert VALUE not in caplog.text
    assert found_in(tmp_path, VALUE) == []


async def test_secrets_that_are_not_there(world: World) -> None:
    with pytest.raises(RemoteFailure, match="there is no secret st-none"):
        await started_with(world, secrets=["st-none"])
    with pytest.raises(RemoteFailure, match="there is no secret st-none"):
        await world.tell(
            world.user, {"t": "function.bind", "function": world.function, "options": {"secrets": ["st-none"]}}
        )
    for wrong in ("st-1", [1], ["fu-1"], ["st-../x"], ["st-1"] * 257):
        with pytest.raises(RemoteFailure, match="no ids of up to 256 secrets"):
            await world.tell(
                world.user, {"t": "function.bind", "function": world.function, "options": {"secrets": wrong}}
            )


async def test_a_container_is_not_told_ids_of_secrets(world: World) -> None:
    """It could give itself the secrets of others by them."""
    one = await create(world, {"A": VALUE})
    await started_with(world, secrets=[one])
    container = next(iter(world.parts.fleet.containers))
    inside, user = Wire("container", container), world.user
    for kind, fields in (
        ("function.info", {"function": world.function}),
        ("function.lookup", {"function": world.function}),
        ("function.bind", {"function": world.function, "options": {"timeout": 3}}),
    ):
        assert one not in repr(await world.tell(inside, {"t": kind, **fields}))
        assert one in repr(await world.tell(user, {"t": kind, **fields}))


class TestGarbage:
    @pytest.fixture(autouse=True)
    def _at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(secrets_, "UNUSED_KEPT_S", -1.0)

    async def left(self, world: World) -> set[str]:
        await world.server._sweep_secrets(world.parts)
        rows = await world.parts.database.submit(stored.everything)
        assert {row.id for row in rows} == set(world.parts.secrets._known)
        return set(world.parts.secrets._known)

    async def test_what_a_running_function_names_stays(self, world: World) -> None:
        one, two, three = [await create(world, {"A": name}) for name in ("1", "2", "3")]
        await started_with(world, secrets=[one])
        variant = {"t": "function.bind", "function": world.function, "options": {"secrets": [two]}}
        await world.tell(world.user, variant)
        assert await self.left(world) == {one, two} and three
        function = world.parts.fleet.functions[world.function]
        world.parts.fleet.functions.clear()
        assert await self.left(world) == set()
        assert function.options["secrets"] == [one]

    async def test_what_a_kept_version_names_stays(self, world: World) -> None:
        made = []
        for number in range(2):
            secret = await create(world, {"A": str(number)})
            made.append(secret)
            draft = {"t": "app.create", "name": "d", "key": f"d{number}", "draft": True}
            app = (await world.tell(world.user, draft))["app"]
            await world.tell(world.user, {**CREATE, "app": app, "options": {**OPTIONS, "secrets": [secret]}}, b"code")
            assert await self.left(world) >= {secret}, "a draft's, too"
            publish = {"t": "app.publish", "draft": app, "name": "d", "key": f"p{number}", "strategy": "rolling"}
            await world.tell(world.user, {**publish, "by": "me", "client": "c", "tag": ""})
            await world.tell(world.user, {"t": "app.stop", "app": app})
        assert await self.left(world) == set(made)
        world.parts.publishing._kept = 1
        over = {"t": "app.rollover", "app": "d", "strategy": "rolling", "by": "me", "client": "c"}
        await world.tell(world.user, over)
        assert await self.left(world) == {made[1]}

    async def test_what_is_asked_for_again_during_a_sweep_stays(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        one = await create(world, {"A": "1"})
        monkeypatch.setattr(secrets_, "UNUSED_KEPT_S", 3600.0)
        known = world.parts.secrets._known
        known[one] = known[one]._replace(asked_at=0.0)
        sweeping = asyncio.ensure_future(world.parts.secrets.sweep([]))
        await asyncio.sleep(0)
        await asyncio.gather(sweeping, create(world, {"A": "1"}))
        assert await self.left(world) == {one}

    async def test_what_was_asked_for_just_now_stays(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        one = await create(world, {"A": "1"})
        monkeypatch.setattr(secrets_, "UNUSED_KEPT_S", 3600.0)
        assert await self.left(world) == {one}


async def test_an_unchanged_deploy_changes_nothing(world: World) -> None:
    changed = []
    for number in range(2):
        secret = await create(world, {"A": VALUE})
        draft = {"t": "app.create", "name": "d", "key": f"d{number}", "draft": True}
        app = (await world.tell(world.user, draft))["app"]
        await world.tell(world.user, {**CREATE, "app": app, "options": {**OPTIONS, "secrets": [secret]}}, b"code")
        publish = {"t": "app.publish", "draft": app, "name": "d", "key": f"p{number}", "strategy": "rolling"}
        changed.append((await world.tell(world.user, {**publish, "by": "me", "client": "c", "tag": ""}))["changed"])
    assert changed == [True, False]


async def test_steps_of_builds_get_variables_and_layers_do_not_show_them(world: World) -> None:
    one, two = await create(world, {"TOKEN": VALUE}), await create(world, {"TOKEN": "else"})
    app, ids = next(iter(world.parts.apps.by_id)), []
    for secret in (one, two):
        steps = [
            {"op": "debian_slim", "python": "3.12"},
            {"op": "run_commands", "commands": ["x"], "secrets": [secret]},
        ]
        building = ask(world.router, world.user, {"t": "image.build", "app": app, "steps": steps})
        task = asyncio.ensure_future(building)
        await world.settle()
        (request,) = [header for header, _ in world.node.take() if header["t"] == "image.build"]
        assert request["layers"][0]["variables"] == {}
        assert list(request["layers"][1]["variables"]) == ["TOKEN"]
        assert VALUE not in json.dumps([request["layers"][1][name] for name in ("id", "step", "configured")])
        ids.append(request["layers"][1]["id"])
        task.cancel()
    assert ids[0] != ids[1]
    for wrong in (["st-none"], "st-1"):
        steps = [{"op": "run_commands", "commands": ["x"], "secrets": wrong}]
        with pytest.raises(RemoteFailure, match=r"no secret st-none|no ids of up to"):
            await world.tell(world.user, {"t": "image.build", "app": app, "steps": steps})
