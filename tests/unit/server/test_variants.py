"""Functions with settings of their own, at the server: who shares one, what they keep, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modicum.server import variants as variants_
from modicum.server.api.router import Router
from modicum.server.core import events as ev
from modicum.server.main import Server
from modicum.server.parts import Parts
from modicum.stores import queries
from modicum.stores import variants as stored_variants
from modicum.wire.channel import RemoteFailure
from tests.unit.server.parts import Wire
from tests.unit.server.test_calls import CREATE, OPTIONS, SPEC, World, of, run_of
from tests.unit.server.test_recovery import taking_over

RETRIES = {"max_retries": 2, "backoff_coefficient": 1.0, "initial_delay": 1.0, "max_delay": 60.0}


@pytest.fixture
async def world(assembled: tuple[Server, Parts, Router]) -> World:
    made = World(*assembled)
    await made.begin()
    return made


async def bind(world: World, options: Any, channel: Wire | None = None, **fields: Any) -> dict[str, Any]:
    header = {"t": "function.bind", "function": world.function, "options": options, **fields}
    return await world.tell(channel or world.user, header)  # type: ignore[no-any-return]


async def configure(world: World, function: str | None = None, **settings: Any) -> dict[str, Any]:
    header = {"t": "function.configure", "function": function or world.function, "settings": settings}
    return await world.tell(world.user, header)  # type: ignore[no-any-return]


def spec_of(world: World, function: str) -> ev.FunctionSpec:
    return world.parts.controller.state.pools[function].spec


async def test_the_same_settings_are_the_same_variant(world: World) -> None:
    one = await bind(world, {"timeout": 5, "max_containers": 2})
    two = await bind(world, {"max_containers": 2, "timeout": 5}, Wire("user"))
    other = await bind(world, {"timeout": 6, "max_containers": 2})
    assert one == two
    assert len({world.function, one["function"], other["function"]}) == 3
    assert one["function"] == variants_.variant_id(world.function, {"timeout": 5, "max_containers": 2}, None)
    assert one["options"] == {**OPTIONS, "timeout": 5, "max_containers": 2}
    assert (spec_of(world, one["function"]).timeout_s, spec_of(world, one["function"]).max_containers) == (5, 2)


async def test_nothing_of_its_own_is_the_function_itself(world: World) -> None:
    assert (await bind(world, {}))["function"] == world.function
    assert (await bind(world, {"max_containers": None}))["function"] == world.function


async def test_a_variants_variant_is_one_of_the_same_function(world: World) -> None:
    first = await bind(world, {"timeout": 5, "max_containers": 3})
    second = await bind(world, {"timeout": 7, "retries": RETRIES}, function=first["function"])
    assert second == await bind(world, {"timeout": 7, "max_containers": 3, "retries": RETRIES})
    record = world.parts.fleet.functions[second["function"]]
    assert record.parent == world.function
    assert record.options["retries"] == RETRIES


async def test_parameters_of_a_class(world: World) -> None:
    plain = await bind(world, {}, parameters="QQ==")
    other = await bind(world, {}, parameters="Qg==")
    both = await bind(world, {"timeout": 5}, function=plain["function"])
    assert len({plain["function"], other["function"], both["function"]}) == 3
    assert both == await bind(world, {"timeout": 5}, parameters="QQ==")
    assert world.parts.fleet.functions[both["function"]].definition["parameters"] == "QQ=="


async def test_what_is_kept_warm_is_the_function_alone(world: World) -> None:
    (app,) = world.parts.apps.by_id
    header = {**CREATE, "app": app, "name": "g", "options": {**OPTIONS, "min_containers": 1}}
    world.function = (await world.tell(world.user, header))["function"]
    variant = await bind(world, {"timeout": 5})
    assert variant["options"]["min_containers"] == 0
    await world.settle()
    started = [header["spec"]["function"] for header, _ in of(world.node.sent, "container.start")]
    assert started == [world.function]


async def test_a_variant_has_containers_of_its_own(world: World) -> None:
    variant = (await bind(world, {"timeout": 5}))["function"]
    await world.inputs(function=variant)
    container, agent = await world.container()
    assert world.parts.fleet.containers[container].function == variant
    assert [entry[0] for entry in run_of(agent)] == ["fc-1:0"]


async def test_variants_end_with_their_app(world: World) -> None:
    variant = (await bind(world, {"timeout": 5}))["function"]
    (app,) = world.parts.apps.by_id.values()
    assert world.parts.apps.functions_of(app) == [world.function, variant]
    await world.parts.apps.stop(app.id)
    assert world.parts.fleet.functions == {}
    assert world.parts.controller.state.pools == {}
    with pytest.raises(RemoteFailure, match="does not exist, or its app has ended"):
        await bind(world, {"timeout": 6})


async def test_variants_come_back_with_the_next_server(world: World, tmp_path: Path) -> None:
    variant = (await bind(world, {"timeout": 5}, parameters="QQ=="))["function"]
    await configure(world, max_containers=7)
    await configure(world, variant, min_containers=1)
    await world.inputs("fc-9", "spawn", function=variant)
    async with taking_over(tmp_path, "auto") as (server, parts):
        await server._restore(parts)
        back = parts.fleet.functions[variant]
        assert (back.parent, back.settings, back.parameters) == (world.function, {"timeout": 5}, "QQ==")
        assert (back.options["timeout"], back.options["min_containers"]) == (5, 1)
        assert (back.serialized, back.definition["parameters"]) == (b"code", "QQ==")
        assert parts.fleet.functions[world.function].options["max_containers"] == 7
        assert parts.apps.variants == {world.function: [variant]}
        assert parts.backlog.pending(variant) == 1
        again = World(server, parts, server._router)
        again.function = world.function
        assert (await bind(again, {"timeout": 5}, parameters="QQ=="))["function"] == variant


async def test_a_function_that_is_defined_anew_takes_its_variants_along(world: World) -> None:
    variant = (await bind(world, {"timeout": 5}))["function"]
    await configure(world, variant, min_containers=1)
    base, before = world.parts.fleet.functions[world.function], world.parts.fleet.functions[variant]
    definition = {**base.definition, "image": "im-2", "options": {**OPTIONS, "startup_timeout": 9}}
    world.parts.variants.redefined(replace(base, definition=definition, serialized=b"newer"))
    changed = world.parts.fleet.functions[variant]
    assert (changed.id, changed.serialized, changed.definition["image"]) == (variant, b"newer", "im-2")
    assert (changed.options["timeout"], changed.options["startup_timeout"]) == (5, 9)
    assert (changed.options["min_containers"], changed.overrides) == (0, {})
    assert before.definition["image"] == "im-1", "its containers were made of it"
    assert spec_of(world, variant).startup_timeout_s == 9


async def test_a_batched_variant_says_so(world: World) -> None:
    made = await bind(world, {"batching": {"max_batch_size": 4, "wait_ms": 10}})
    assert made["spec"] == {**SPEC, "batched": True}


@pytest.mark.parametrize(
    "options",
    [
        None,
        5,
        "timeout",
        {"min_containers": 1},
        {"image": "im-2"},
        {"timeout": 0},
        {"timeout": "5"},
        {"max_containers": 0},
        {"retries": 3},
        {"retries": {"max_retries": -1}},
        {"retries": {"other": 1}},
        {"retries": {"max_retries": 3}},
        {"retries": {**RETRIES, "backoff_coefficient": 1e300}},
        {"retries": {**RETRIES, "initial_delay": 10**400}},
        {"scaledown_window": 10**400},
        {"concurrency": {"max_inputs": 0}},
        {"concurrency": {}},
        {"batching": {"wait_ms": 0.5, "max_batch_size": 2}},
        {"batching": {"wait_ms": 1}},
        {"placement": {"regions": "eu"}},
        {"placement": {"cloud": "x" * 300}},
        {"placement": {"nonpreemptible": 1}},
    ],
    ids=repr,
)
async def test_settings_that_make_no_sense(world: World, options: Any) -> None:
    with pytest.raises(RemoteFailure) as caught:
        await bind(world, options)
    assert caught.value.code == "invalid"
    assert list(world.parts.fleet.functions) == [world.function]


@pytest.mark.parametrize("parameters", [5, b"x", "x" * (25 << 10)], ids=["number", "bytes", "long"])
async def test_parameters_that_make_no_sense(world: World, parameters: Any) -> None:
    with pytest.raises(RemoteFailure, match="these are no parameters of a class"):
        await bind(world, {}, parameters=parameters)


async def test_generators_have_no_retries(world: World) -> None:
    (app,) = world.parts.apps.by_id
    header = {**CREATE, "app": app, "name": "g", "spec": {**SPEC, "generator": True}}
    world.function = (await world.tell(world.user, header))["function"]
    with pytest.raises(RemoteFailure, match="'g' is a generator function: it cannot have retries"):
        await bind(world, {"retries": RETRIES})


async def test_variants_without_end_are_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(variants_, "VARIANTS_MAX", 2)
    first = await bind(world, {"timeout": 1})
    await bind(world, {"timeout": 2})
    with pytest.raises(RemoteFailure, match="has 2 variants, each with settings or parameters of its own") as caught:
        await bind(world, {"timeout": 3})
    assert caught.value.code == "resource_exhausted"
    assert await bind(world, {"timeout": 1}) == first


async def test_a_variant_that_is_not_stored_is_none(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*row: Any) -> Any:
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(stored_variants, "add_variant", lambda *row: refuse)
        with pytest.raises(OSError, match="the disk is full"):
            await bind(world, {"timeout": 1})
    assert world.parts.apps.functions_of(*world.parts.apps.by_id.values()) == [world.function]
    bound = (await bind(world, {"timeout": 1}))["function"]
    await world.inputs(kind="spawn", function=bound)


async def test_containers_have_variants_of_their_own_apps_functions_alone(world: World) -> None:
    await world.inputs()
    _, agent = await world.container()
    assert (await bind(world, {"timeout": 5}, agent))["options"]["timeout"] == 5
    app = (await world.tell(world.user, {"t": "app.create", "name": "b", "key": "k2"}))["app"]
    other = (await world.tell(world.user, {**CREATE, "app": app}))["function"]
    for header in ({"t": "function.bind", "options": {}}, {"t": "function.configure", "settings": {}}):
        for named, code in ((other, "permission_denied"), ("a/f", "not_found"), ("b/f", "not_found")):
            with pytest.raises(RemoteFailure) as caught:
                await world.tell(agent, {**header, "function": named})
            assert caught.value.code == code
    assert await world.parts.database.submit(queries.everything) is not None


# -- what the autoscaler is told ---------------------------------------------------------------------------------


async def test_the_autoscaler_keeps_what_it_is_not_told_of(world: World) -> None:
    before = await configure(world)
    assert before == {
        "settings": {"min_containers": 0, "max_containers": 1, "buffer_containers": 0, "scaledown_window": 60},
        "overrides": {},
    }
    await configure(world, max_containers=5, min_containers=2)
    after = await configure(world, buffer_containers=1, scaledown_window=10)
    assert after["settings"] == {
        "min_containers": 2, "max_containers": 5, "buffer_containers": 1, "scaledown_window": 10,
    }  # fmt: skip
    spec = spec_of(world, world.function)
    assert (spec.min_containers, spec.max_containers, spec.scaledown_window_s) == (2, 5, 10)
    reset = await configure(world, min_containers=None, max_containers=None, scaledown_window=None)
    assert reset["settings"] == {
        "min_containers": 0, "max_containers": None, "buffer_containers": 1, "scaledown_window": 60,
    }  # fmt: skip


async def test_a_minimum_starts_containers_at_once(world: World) -> None:
    await configure(world, min_containers=1)
    await world.settle()
    assert len(of(world.node.sent, "container.start")) == 1


async def test_a_minimum_above_the_maximum_is_refused_and_changes_nothing(world: World) -> None:
    with pytest.raises(RemoteFailure, match=r"min_containers \(2\) is larger than max_containers \(1\)") as caught:
        await configure(world, min_containers=2)
    assert caught.value.code == "invalid"
    assert (await configure(world))["overrides"] == {}


@pytest.mark.parametrize(
    "told", [{"timeout": 5}, {"max_containers": 0}, {"min_containers": -1}, {"scaledown_window": 0}], ids=repr
)
async def test_the_autoscaler_is_not_told_nonsense(world: World, told: dict[str, Any]) -> None:
    with pytest.raises(RemoteFailure) as caught:
        await configure(world, **told)
    assert caught.value.code == "invalid"


# -- what is told of a function ----------------------------------------------------------------------------------


async def test_what_a_function_is(world: World) -> None:
    variant = (await bind(world, {"timeout": 5}))["function"]
    found = await world.tell(world.user, {"t": "function.info", "function": "a/f"})
    assert (found["function"], found["name"], found["app_name"]) == (world.function, "f", "a")
    assert (found["parent"], found["image"], found["options"], found["spec"]) == (None, "im-1", OPTIONS, SPEC)
    found = await world.tell(world.user, {"t": "function.info", "function": variant})
    assert (found["parent"], found["options"]["timeout"]) == (world.function, 5)


@pytest.mark.parametrize(
    ("named", "code", "reason"),
    [
        ("fu-none", "not_found", "the function fu-none does not exist"),
        ("f", "invalid", "'f' names no function; say APP/FUNCTION, or its id"),
        ("b/f", "not_found", "no app named 'b' is there"),
        ("a/g", "not_found", "the app 'a' has no function 'g'; it has f"),
    ],
    ids=["id", "no app", "other app", "other function"],
)
async def test_functions_that_are_not_there(world: World, named: str, code: str, reason: str) -> None:
    with pytest.raises(RemoteFailure, match=reason) as caught:
        await world.tell(world.user, {"t": "function.info", "function": named})
    assert caught.value.code == code


async def test_a_name_that_two_apps_have(world: World) -> None:
    app = (await world.tell(world.user, {"t": "app.create", "name": "a", "key": "k2"}))["app"]
    other = (await world.tell(world.user, {**CREATE, "app": app}))["function"]
    with pytest.raises(RemoteFailure, match=f"2 apps named 'a' have it; say which: {world.function}, {other}"):
        await world.tell(world.user, {"t": "function.info", "function": "a/f"})


async def test_what_a_function_does_now(world: World) -> None:
    question = {"t": "function.stats", "function": world.function}
    assert await world.tell(world.user, question) == {
        "backlog": 0, "runners": 0, "running": 0, "headroom": 0, "why": "",
    }  # fmt: skip
    await world.inputs(count=3)
    waiting = await world.tell(world.user, question)
    assert (waiting["backlog"], waiting["why"]) == (3, "1 container of it is starting")
    await world.container()
    working = await world.tell(world.user, question)
    assert (working["runners"], working["running"]) == (1, 1)


async def test_the_busiest_variants_come_first_and_all_of_them_newest_first(world: World) -> None:
    made = [(await bind(world, {"timeout": n}))["function"] for n in (1, 2, 3)]
    await world.inputs(function=made[1])
    await world.settle()
    question = {"t": "function.variants", "function": made[0]}
    busiest = await world.tell(world.user, {**question, "limit": 2})
    assert busiest["function"] == world.function
    assert [each["id"] for each in busiest["variants"]] == [made[1], made[2]]
    assert [each["runners"] for each in busiest["variants"]] == [1, 0]
    everyone = await world.tell(world.user, {**question, "limit": 0})
    assert [(each["id"], each["settings"]) for each in everyone["variants"]] == [
        (made[2], {"timeout": 3}),
        (made[1], {"timeout": 2}),
        (made[0], {"timeout": 1}),
    ]
