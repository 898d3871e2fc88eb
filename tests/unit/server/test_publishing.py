"""How apps are deployed, looked up, brought back, and what becomes of what waits for functions that go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from modicum.server.api.router import Router
from modicum.server.main import Server
from modicum.server.parts import Parts
from modicum.stores import queries
from modicum.wire.channel import RemoteFailure
from modicum.wire.frames import Header
from tests.unit.server.parts import Wire, ask, assemble
from tests.unit.server.test_calls import CREATE, NODE, OPTIONS, SPEC, World, of

AUTHOR = {"by": "ann", "client": "1.2"}


class Shop(World):
    """A server at which apps are deployed."""

    drafts = 0

    async def begin(self) -> None:
        await super().begin()
        self.parts.builds.restore("im-2", ["la-2"], {})
        self.parts.builds.node_has(["la-1", "la-2"])

    async def draft(self, functions: dict[str, Header], **facts: Any) -> str:
        """Make a draft with these functions; what they say is put over what all have."""
        self.drafts += 1
        create = {"t": "app.create", "name": "shop", "key": f"draft {self.drafts}", "draft": True, **facts}
        app = str((await self.tell(self.user, create))["app"])
        for name, fields in functions.items():
            code = fields.pop("code", b"")
            await self.tell(self.user, {**CREATE, "app": app, "name": name, **fields}, code)
        return app

    async def deploy(self, functions: dict[str, Header], tags: dict[str, str] | None = None, **facts: Any) -> Any:
        draft = await self.draft(functions, tags=tags or {})
        publish = {"t": "app.publish", "draft": draft, "name": "shop", **AUTHOR, **facts}
        answer = await self.tell(self.user, publish)
        await self.tell(self.user, {"t": "app.stop", "app": draft})
        return answer

    async def look_up(self, name: str = "f", channel: Wire | None = None, **fields: Any) -> Any:
        header = {"t": "function.lookup", "app": "shop", "name": name, **fields}
        return await self.tell(channel or self.user, header)

    async def history(self, app: str = "shop") -> list[Any]:
        return (await self.tell(self.user, {"t": "app.history", "app": app}))["versions"]  # type: ignore[no-any-return]

    async def starts(self) -> list[int]:
        """Return the generations of what the node was told to start since the last look."""
        await self.settle()
        return [header["spec"]["generation"] for header, _ in of(self.node.take(), "container.start")]


@pytest.fixture
async def shop(assembled: tuple[Server, Parts, Router]) -> Shop:
    made = Shop(*assembled)
    await made.begin()
    return made


# -- deploying -------------------------------------------------------------------------------------------------


async def test_a_draft_becomes_the_deployed_app(shop: Shop) -> None:
    answer = await shop.deploy({"f": {}, "g": {}}, tags={"team": "blue"}, tag="first")
    assert (answer["name"], answer["version"], answer["changed"]) == ("shop", 1, True)
    assert set(answer["functions"]) == {"f", "g"}
    (version,) = await shop.history()
    told = {name: version[name] for name in ("version", "deployed_by", "client", "strategy", "origin", "tag")}
    assert told == {
        "version": 1,
        "deployed_by": "ann",
        "client": "1.2",
        "strategy": "rolling",
        "origin": "deploy",
        "tag": "first",
    }
    found = await shop.tell(shop.user, {"t": "app.lookup", "app": "shop"})
    assert (found["app"], found["state"], found["tags"]) == (answer["app"], "deployed", {"team": "blue"})
    assert len(shop.parts.apps.by_id) == 2, "the draft is gone; the other is the world's own app"


async def test_nothing_of_a_draft_runs(shop: Shop) -> None:
    draft = await shop.draft({"f": {"options": {**OPTIONS, "min_containers": 1}}})
    assert await shop.starts() == []
    listed = (await shop.tell(shop.user, {"t": "app.list"}))["apps"]
    assert draft not in [each["id"] for each in listed]
    with pytest.raises(RemoteFailure, match="no deployed app 'shop' in the environment 'main'; none is deployed"):
        await shop.look_up()
    await shop.deploy({"f": {"options": {**OPTIONS, "min_containers": 1}}})
    assert await shop.starts() == [1]


async def test_what_is_unchanged_is_no_new_version(shop: Shop) -> None:
    first = await shop.deploy({"f": {}, "g": {"code": b"x"}}, tags={"a": "b"})
    again = await shop.deploy({"g": {"code": b"x"}, "f": {}}, tags={"a": "b"})
    assert again == {**first, "changed": False}
    assert len(await shop.history()) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"functions": {"f": {"image": "im-2"}}},
        {"functions": {"f": {"options": {**OPTIONS, "timeout": 7}}}},
        {"functions": {"f": {"spec": {**SPEC, "qualname": "other"}}}},
        {"functions": {"f": {"code": b"x"}}},
        {"functions": {"f": {}, "g": {}}},
        {"functions": {}},
        {"functions": {"f": {}}, "tags": {"a": "c"}},
        {"functions": {"f": {}}, "tag": "released"},
    ],
)
async def test_every_difference_is_a_new_version(shop: Shop, change: Any) -> None:
    first = await shop.deploy({"f": {}}, tags={"a": "b"})
    second = await shop.deploy(**{"tags": {"a": "b"}, **change})
    assert (second["app"], second["version"], second["changed"]) == (first["app"], 2, True)
    assert [each["version"] for each in await shop.history()] == [2, 1]


async def test_a_function_keeps_its_id_and_its_new_definition_gets_new_containers(shop: Shop) -> None:
    first = await shop.deploy({"f": {}})
    shop.function = first["functions"]["f"]
    await shop.inputs()
    assert await shop.starts() == [1]
    second = await shop.deploy({"f": {"image": "im-2"}})
    assert second["functions"] == first["functions"]
    assert shop.parts.fleet.functions[shop.function].generation == 2


async def test_a_container_that_is_started_before_is_told_what_it_was_made_of(shop: Shop) -> None:
    first = await shop.deploy({"f": {"code": b"first"}})
    shop.function = first["functions"]["f"]
    await shop.inputs()
    await shop.settle()
    (start,) = of(shop.node.take(), "container.start")
    await shop.deploy({"f": {"code": b"second", "spec": {**SPEC, "qualname": "new"}}})
    agent = Wire("container", start[0]["container"])
    answer, code = await shop.tell(agent, {"t": "agent.hello", "build": "x", "holding": []})
    assert (answer["function"]["qualname"], code) == ("f", b"first")
    _, rest = await shop.tell(agent, {"t": "agent.code", "offset": 2})
    assert rest == b"rst"


async def test_a_request_that_is_repeated_publishes_once(shop: Shop) -> None:
    first = await shop.deploy({"f": {}}, key="k")
    again = await shop.deploy({"f": {}}, key="k")
    assert again == first, "its first answer may have been lost: it says what that said"
    assert len(await shop.history()) == 1


async def test_only_drafts_are_published(shop: Shop) -> None:
    (running,) = shop.parts.apps.by_id
    for fields in ({"draft": running, "name": "shop"}, {"draft": "ap-none", "name": "shop"}, {"draft": running}):
        with pytest.raises(RemoteFailure):
            await shop.tell(shop.user, {"t": "app.publish", **fields})
    with pytest.raises(RemoteFailure, match="'sideways' is no strategy"):
        await shop.deploy({"f": {}}, strategy="sideways")
    assert shop.parts.apps.deployed == {}


async def test_a_publication_that_is_not_stored_changes_nothing(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    await shop.deploy({"f": {}})
    before = await shop.look_up()

    def fails(*args: Any) -> Any:
        def change(connection: Any) -> Any:
            raise OSError("the disk is full")

        return change

    monkeypatch.setattr("modicum.stores.versions.calls.terminate", fails)
    with pytest.raises(OSError, match="the disk is full"):
        await shop.deploy({"g": {}})
    monkeypatch.undo()
    assert await shop.look_up() == before
    assert [each["version"] for each in await shop.history()] == [1]
    stored = await shop.parts.database.submit(queries.everything)
    assert [row.name for row in stored.functions if row.app == before["app"]] == ["f"]


async def test_an_ephemeral_app_of_the_name_is_another(shop: Shop) -> None:
    running = (await shop.tell(shop.user, {"t": "app.create", "name": "shop", "key": "e"}))["app"]
    answer = await shop.deploy({"f": {}})
    assert answer["app"] != running
    assert (await shop.tell(shop.user, {"t": "app.lookup", "app": running}))["state"] == "ephemeral"


async def test_a_running_app_is_published_in_place(shop: Shop) -> None:
    """As `modicum serve` does."""
    (running,) = shop.parts.apps.by_id
    draft = await shop.draft({"f": {"image": "im-2"}, "g": {}})
    answer = await shop.tell(shop.user, {"t": "app.publish", "draft": draft, "app": running, "strategy": "recreate"})
    assert (answer["app"], answer["functions"]["f"]) == (running, shop.function)
    assert shop.parts.fleet.functions[shop.function].definition["image"] == "im-2"
    assert await shop.history(running) == [], "it is not deployed"


# -- what goes -------------------------------------------------------------------------------------------------


async def test_what_waits_for_a_function_that_goes_is_told_why(shop: Shop) -> None:
    answer = await shop.deploy({"f": {}, "gone": {}})
    shop.function = answer["functions"]["gone"]
    await shop.inputs("fc-1", "spawn")
    await shop.inputs("fc-2", "map", 2)
    getting = asyncio.ensure_future(shop.tell(shop.user, {"t": "call.get", "call": "fc-1", "index": 0, "wait_s": 60}))
    await shop.settle()
    shop.user.take()
    await shop.deploy({"f": {}})
    why = b"version 2 of the app 'shop' was published without this function"
    header, payload = await getting
    assert (header["outputs"][0][1], payload) == ("terminated", why)
    told = [payload for header, payload in of(shop.user.take(), "call.outputs") if header["call"] == "fc-2"]
    assert b"".join(told) == (b"'gone': " + why) * 2
    header, payload = await shop.tell(shop.user, {"t": "call.get", "call": "fc-1", "index": 0, "wait_s": 0})
    assert (header["outputs"][0][1], payload) == ("terminated", why), "and is told so later"
    with pytest.raises(RemoteFailure, match="does not exist"):
        await shop.inputs("fc-3", "spawn", r=1)


async def test_a_new_version_resets_what_autoscalers_were_told_and_an_unchanged_one_does_not(shop: Shop) -> None:
    base = (await shop.deploy({"f": {}, "g": {}}))["functions"]["f"]
    bind = {"t": "function.bind", "function": base, "options": {"timeout": 5}}
    variant = (await shop.tell(shop.user, bind))["function"]
    for each in (base, variant):
        told = {"t": "function.configure", "function": each, "settings": {"max_containers": 7}}
        await shop.tell(shop.user, told)

    def most() -> list[int | None]:
        return [shop.parts.controller.state.pools[each].spec.max_containers for each in (base, variant)]

    await shop.deploy({"f": {}, "g": {}})
    assert most() == [7, 7], "it is the same version"
    await shop.deploy({"f": {}, "g": {"code": b"2"}})
    assert most() == [1, 1], "as the decorator says"
    stored = await shop.parts.database.submit(queries.everything)
    assert [each.overrides for each in stored.functions if each.id in (base, variant)] == [{}, {}]


async def test_variants_follow_their_function(shop: Shop) -> None:
    async def vary(function: str) -> str:
        bind = {"t": "function.bind", "function": function, "options": {"timeout": 5}}
        return str((await shop.tell(shop.user, bind))["function"])

    def code(variant: str) -> bytes | None:
        found = shop.parts.fleet.functions.get(variant)
        return found.serialized if found is not None else None

    base = (await shop.deploy({"f": {"code": b"1"}}))["functions"]["f"]
    variant = await vary(base)
    then = await vary((await shop.look_up(version=1))["function"])
    await shop.deploy({"f": {"code": b"2"}})
    assert (code(variant), code(then)) == (b"2", b"1")
    shop.function = variant
    await shop.inputs("fc-1", "spawn")
    await shop.deploy({})
    assert (code(variant), code(then)) == (None, b"1")
    header, payload = await shop.tell(shop.user, {"t": "call.get", "call": "fc-1", "index": 0, "wait_s": 60})
    assert (header["outputs"][0][1], b"without this function" in payload) == ("terminated", True)
    await shop.deploy({"f": {"code": b"3"}})
    assert await vary(base) == variant, "it is there again, and the same"
    assert code(variant) == b"3"


async def test_stopping_is_for_good_and_frees_the_name(shop: Shop) -> None:
    first = await shop.deploy({"f": {}})
    await shop.tell(shop.user, {"t": "app.stop", "app": first["app"]})
    with pytest.raises(RemoteFailure, match="no deployed app 'shop'"):
        await shop.look_up()
    with pytest.raises(RemoteFailure, match="the app 'shop' is not deployed, it was stopped"):
        await shop.tell(shop.user, {"t": "app.rollback", "app": "shop", **AUTHOR})
    facts = await shop.tell(shop.user, {"t": "app.info", "app": "shop"})
    assert (facts["app"], facts["state"], facts["created_by"]) == (first["app"], "stopped", "ann")
    second = await shop.deploy({"f": {}})
    assert (second["app"] != first["app"], second["version"]) == (True, 1)
    assert (await shop.tell(shop.user, {"t": "app.info", "app": first["app"]}))["state"] == "stopped"
    listed = (await shop.tell(shop.user, {"t": "app.list"}))["apps"]
    assert [each["state"] for each in listed if each["name"] == "shop"] == ["deployed", "stopped"]


async def test_a_name_is_free_while_what_had_it_still_stops(shop: Shop) -> None:
    first = await shop.deploy({"f": {}})
    shop.function = first["functions"]["f"]
    await shop.inputs()
    await shop.container()
    stopping = asyncio.ensure_future(shop.tell(shop.user, {"t": "app.stop", "app": first["app"]}))
    await shop.settle()
    second = await shop.deploy({"f": {}})
    assert (second["app"] != first["app"], second["version"]) == (True, 1)
    assert not stopping.done(), "its container has not ended"
    for header, _ in of(shop.node.take(), "container.kill"):
        exited = {"t": "node.exited", "code": 0, "signal": 9, "oom": False, "detail": ""}
        await shop.tell(shop.node, {**exited, "container": header["container"]})
    await stopping
    assert shop.parts.apps.deployed["shop"].id == second["app"]


async def test_it_needs_no_client(shop: Shop) -> None:
    answer = await shop.deploy({"f": {}})
    caller = Wire("user")
    await shop.tell(caller, {"t": "app.attach", "app": answer["app"]})
    caller.close()
    shop.server._closed(caller)
    assert shop.parts.apps.by_id[answer["app"]].reaper is None


# -- earlier versions ------------------------------------------------------------------------------------------


async def roll(shop: Shop, kind: str, **fields: Any) -> Any:
    return await shop.tell(shop.user, {"t": f"app.{kind}", "app": "shop", **AUTHOR, **fields})


async def test_rolling_back_makes_what_was_a_new_version(shop: Shop) -> None:
    first = await shop.deploy({"f": {"code": b"1"}, "gone": {}}, tags={"a": "1"}, tag="one")
    await shop.deploy({"f": {"code": b"2"}}, tags={"a": "2"}, tag="two")
    answer = await roll(shop, "rollback")
    assert (answer["version"], answer["functions"]) == (3, first["functions"])
    assert shop.parts.fleet.functions[answer["functions"]["f"]].serialized == b"1"
    assert shop.parts.apps.deployed["shop"].tags == {"a": "1"}
    newest = (await shop.history())[0]
    assert (newest["origin"], newest["tag"], newest["functions"]) == ("rollback to v1", "one", ["f", "gone"])
    assert (await roll(shop, "rollback"))["version"] == 4
    assert (await shop.history())[0]["origin"] == "rollback to v2"
    assert (await roll(shop, "rollback", version=1, strategy="recreate"))["version"] == 5


async def test_what_cannot_be_rolled_back_to_is_said(shop: Shop) -> None:
    await shop.deploy({"f": {}})
    with pytest.raises(RemoteFailure, match="the app 'shop' has no version 0; its versions are 1 to 1"):
        await roll(shop, "rollback")
    with pytest.raises(RemoteFailure, match="version 1 is the present one of 'shop'; a rollover"):
        await roll(shop, "rollback", version=1)
    with pytest.raises(RemoteFailure, match=r"no deployed app 'shopp'.*did you mean 'shop'\?"):
        await roll(shop, "rollback", app="shopp")
    with pytest.raises(RemoteFailure, match="'a' is not deployed, it is ephemeral"):
        await roll(shop, "rollover", app="a")


async def test_a_rollover_replaces_containers_and_nothing_else(shop: Shop) -> None:
    first = await shop.deploy({"f": {"options": {**OPTIONS, "min_containers": 1}}}, tag="one")
    assert await shop.starts() == [1]
    answer = await roll(shop, "rollover", strategy="recreate")
    assert answer == {**first, "version": 2}
    function = shop.parts.fleet.functions[answer["functions"]["f"]]
    assert (function.generation, function.definition["options"]["min_containers"]) == (2, 1)
    newest = (await shop.history())[0]
    assert (newest["origin"], newest["tag"], newest["strategy"]) == ("rollover", "one", "recreate")


async def test_the_newest_versions_are_kept(assembled: tuple[Server, Parts, Router]) -> None:
    shop = Shop(*assembled)
    await shop.begin()
    shop.parts.publishing._kept = 2
    for number in range(4):
        await shop.deploy({"f": {"code": b"%d" % number, "image": "im-2" if number == 0 else "im-1"}})
    assert shop.parts.apps.deployed["shop"].images == {"im-1"}
    with pytest.raises(RemoteFailure, match="version 2 of the app 'shop' is not kept any longer: the newest 2 are"):
        await roll(shop, "rollback", version=2)
    assert (await roll(shop, "rollback", version=3))["version"] == 5
    assert len(await shop.history()) == 5, "that they were is known still"


async def test_images_of_kept_versions_are_in_use(shop: Shop) -> None:
    await shop.deploy({"f": {"image": "im-2"}})
    await shop.deploy({"f": {"image": "im-1"}})
    from modicum.server.api.images import _used

    assert _used(shop.parts) == {"la-1", "la-2"}
    await shop.tell(shop.user, {"t": "app.stop", "app": "shop"})
    await shop.parts.apps.stop(shop.parts.apps.deployed["shop"].id)
    assert _used(shop.parts) == {"la-1"}


async def test_a_version_whose_image_is_gone_is_not_rolled_back_to(shop: Shop) -> None:
    await shop.deploy({"f": {"image": "im-2"}})
    await shop.deploy({"f": {"image": "im-1"}})
    del shop.parts.builds._images["im-2"]
    with pytest.raises(RemoteFailure, match="'f' of version 1 of the app 'shop' cannot run any longer"):
        await roll(shop, "rollback")
    assert shop.parts.apps.deployed["shop"].version == 2


async def test_a_function_that_stays_at_a_version(shop: Shop) -> None:
    await shop.deploy({"f": {"code": b"1"}, "g": {"code": b"1"}})
    await shop.deploy({"f": {"code": b"2"}})
    now, then = await shop.look_up(), await shop.look_up(version=1)
    assert now["function"] != then["function"]
    assert shop.parts.fleet.functions[then["function"]].serialized == b"1"
    assert (await shop.look_up(version=1))["function"] == then["function"], "all who ask share its containers"
    assert (await shop.look_up("g", version=1))["name"] == "g", "that the present version lacks it is no matter"
    with pytest.raises(RemoteFailure, match="version 2 of the app 'shop' in the environment 'main' has no function"):
        await shop.look_up("g", version=2)
    with pytest.raises(RemoteFailure, match="has no version 9"):
        await shop.look_up(version=9)


async def test_what_stays_at_a_version_calls_the_others_of_that_version(shop: Shop) -> None:
    await shop.deploy({"f": {}, "g": {}})
    await shop.deploy({"f": {}, "g": {"image": "im-2"}})
    shop.function = (await shop.look_up(version=1))["function"]
    await shop.inputs()
    await shop.settle()
    (start,) = of(shop.node.take(), "container.start")
    agent = Wire("container", start[0]["container"])
    answer, _ = await shop.tell(agent, {"t": "agent.hello", "build": "x", "holding": []})
    then = (await shop.look_up("g", version=1))["function"]
    assert answer["functions"]["g"]["id"] == then
    assert (await shop.look_up("g", agent))["function"] == then, "by name, too"
    assert (await shop.look_up("g", agent, version=2))["function"] != then


# -- names -----------------------------------------------------------------------------------------------------


async def test_what_is_missing_is_named_with_what_there_is(shop: Shop) -> None:
    spec = {**SPEC, "class": True, "methods": {"run": {"generator": False, "async": False}}}
    await shop.deploy({"predict": {}, "train": {}, "Model.*": {"spec": spec}})
    with pytest.raises(RemoteFailure) as failure:
        await shop.look_up("predit")
    assert str(failure.value) == (
        "the app 'shop' in the environment 'main' has no function 'predit'; did you mean 'predict'? its functions are "
        "predict, train; its classes are Model"
    )
    with pytest.raises(RemoteFailure, match=r"has no class 'Modle'; did you mean 'Model'\?"):
        await shop.look_up("Modle.*")
    with pytest.raises(RemoteFailure, match="there is no function with the id fu-none"):
        await shop.tell(shop.user, {"t": "function.lookup", "function": "fu-none"})
    with pytest.raises(RemoteFailure, match="there is no app with the id ap-none"):
        await shop.tell(shop.user, {"t": "app.lookup", "app": "ap-none"})
    assert (await shop.look_up("Model.run"))["method"] == "run"
    with pytest.raises(RemoteFailure, match=r"has no function 'Model\.walk'"):
        await shop.look_up("Model.walk")


async def test_an_empty_app_is_made_on_request(shop: Shop) -> None:
    header = {"t": "app.lookup", "app": "new", "create": True}
    made = await shop.tell(shop.user, header)
    assert (made["state"], made["version"], made["functions"]) == ("deployed", 0, {})
    assert (await shop.tell(shop.user, header))["app"] == made["app"]
    with pytest.raises(RemoteFailure, match="a container makes no apps"):
        await shop.tell(Wire("container"), header)


async def test_tags_are_put_in_the_place_of_all(shop: Shop) -> None:
    app = (await shop.deploy({"f": {}}, tags={"a": "b"}))["app"]
    await shop.tell(shop.user, {"t": "app.tag", "app": app, "tags": {"c": "d"}})
    assert (await shop.tell(shop.user, {"t": "app.lookup", "app": app}))["tags"] == {"c": "d"}
    with pytest.raises(RemoteFailure, match="malformed"):
        await shop.tell(shop.user, {"t": "app.tag", "app": app, "tags": {"c": 5}})


async def test_containers_call_deployed_apps_and_their_own(shop: Shop) -> None:
    own = shop.function
    deployed = (await shop.deploy({"f": {}}))["functions"]["f"]
    other = (await shop.tell(shop.user, {"t": "app.create", "name": "other", "key": "o"}))["app"]
    foreign = (await shop.tell(shop.user, {**CREATE, "app": other}, b"code"))["function"]
    await shop.inputs()
    _, agent = await shop.container()
    for function, allowed in ((own, True), (deployed, True), (foreign, False)):
        question = {"t": "function.lookup", "function": function}
        shop.function = function
        if allowed:
            assert (await shop.tell(agent, question))["function"] == function
            call = f"fc-{function[3:]}"
            await shop.inputs(call, "spawn", channel=agent)
            await shop.tell(agent, {"t": "call.get", "call": call, "index": 0, "wait_s": 0})
            continue
        with pytest.raises(RemoteFailure, match="there is no function with the id"):
            await shop.tell(agent, question)
        with pytest.raises(RemoteFailure, match="functions of its own and of deployed apps"):
            await shop.inputs("fc-foreign", "spawn", channel=agent)
    with pytest.raises(RemoteFailure, match="no deployed app"):
        await shop.look_up(channel=agent, app=other)
    with pytest.raises(RemoteFailure, match="no deployed app"):
        await shop.tell(agent, {"t": "app.lookup", "app": other})
    for app in (shop.parts.fleet.functions[own].app, "shop"):
        assert (await shop.tell(agent, {"t": "app.lookup", "app": app}))["functions"]


# -- the next server -------------------------------------------------------------------------------------------


async def test_deployed_apps_come_back_with_all_that_waits(shop: Shop, tmp_path: Path) -> None:
    await shop.deploy({"f": {"image": "im-2"}, "gone": {}}, tags={"a": "b"})
    answer = await shop.deploy({"f": {"options": {**OPTIONS, "min_containers": 1}}}, tags={"a": "b"})
    then = (await shop.look_up(version=1))["function"]
    shop.function = answer["functions"]["f"]
    await shop.inputs("fc-1", "spawn")
    shop.function = then
    await shop.inputs("fc-2", "spawn")
    for image, layer in (("im-1", "la-1"), ("im-2", "la-2")):
        await shop.parts.database.submit(queries.add_image(image, [layer], {}))
    async with taking_over(tmp_path) as (server, parts, router):
        await server._restore(parts)
        await check_successor(shop, answer, then, server, parts, router)


@asynccontextmanager
async def taking_over(home: Path) -> AsyncIterator[tuple[Server, Parts, Router]]:
    """Another server of a home, before it has taken up what is there."""
    server, parts, router = assemble(home)
    yield server, parts, router
    for container in list(parts.fleet.containers.values()):
        parts.fleet._remove(container)
    parts.database.close()
    parts.logs.close()


async def check_successor(shop: Shop, answer: Any, then: str, server: Server, parts: Parts, router: Router) -> None:
    app = parts.apps.deployed["shop"]
    assert (app.id, app.version, app.tags, app.images) == (answer["app"], 2, {"a": "b"}, {"im-1", "im-2"})
    assert app.reaper is None
    assert app.functions == answer["functions"]
    assert [parts.backlog.pending(each) for each in (answer["functions"]["f"], then)] == [1, 1]
    found = await ask(router, shop.user, {"t": "function.lookup", "app": "shop", "name": "f", "version": 1})
    assert found["function"] == then
    node = Wire("node")
    await ask(router, node, {**NODE, "containers": []})
    await server._recover(parts)
    await shop.settle()
    started = {header["spec"]["function"] for header, _ in of(node.take(), "container.start")}
    assert started == {then, answer["functions"]["f"]}


async def test_stopping_the_server_stops_other_apps_only(shop: Shop) -> None:
    answer = await shop.deploy({"f": {}})
    await shop.server._end_everything(shop.parts)
    assert list(shop.parts.apps.by_id) == [answer["app"]]
    stored = await shop.parts.database.submit(queries.everything)
    assert [app.id for app in stored.apps] == [answer["app"]]
