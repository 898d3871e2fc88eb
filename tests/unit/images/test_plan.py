"""Which layers an image consists of."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modicum.server.images.plan import InvalidSteps, forced_builds, layer_id, missing, plan

Step = dict[str, Any]

BASE = {"op": "debian_slim", "python": "3.12"}
NUMPY = {"op": "pip_install", "packages": ["numpy"]}
ATTRS = {"op": "uv_pip_install", "packages": ["attrs"]}

values = st.one_of(st.text(), st.booleans(), st.integers(), st.lists(st.text(), max_size=3))
steps = st.builds(
    lambda op, fields: {**fields, "op": op},
    st.sampled_from(["debian_slim", "pip_install", "uv_pip_install"]),
    st.dictionaries(st.text(min_size=1).filter(lambda key: key not in ("op", "force_build")), values, max_size=3),
)


def ids(steps: list[Step], forced: dict[str, str] | None = None) -> list[str]:
    return [layer.id for layer in plan(steps, forced).layers]


def test_an_image_is_its_topmost_layer() -> None:
    planned = plan([BASE, NUMPY])
    assert planned.image == planned.layers[1].id
    assert planned.image.startswith("im-")
    assert [layer.step for layer in planned.layers] == [BASE, NUMPY]


def test_the_ids_never_change_by_themselves() -> None:
    """A changed hash would rebuild every image of every user: only a raised BUILDER may do that."""
    assert layer_id("", BASE) == "im-3a1cd7c68ecd9611e425a6dad8d105c2"


@given(st.lists(steps, min_size=1, max_size=4), st.lists(steps, min_size=1, max_size=4))
def test_layers_are_shared_as_far_as_the_definitions_agree(one: list[Step], other: list[Step]) -> None:
    agree = 0
    while agree < min(len(one), len(other)) and repr(sorted_step(one[agree])) == repr(sorted_step(other[agree])):
        agree += 1
    assert ids(one)[:agree] == ids(other)[:agree]
    assert set(ids(one)[agree:]).isdisjoint(ids(other)[agree:])


def sorted_step(step: Step) -> list[tuple[str, Any]]:
    return sorted(step.items())


@given(st.lists(steps, min_size=1, max_size=4))
def test_every_layer_has_its_own_id_and_the_order_of_keys_is_nothing(chain: list[Step]) -> None:
    assert len(set(ids(chain))) == len(chain)
    assert ids(chain) == ids([dict(reversed(step.items())) for step in chain])


@given(st.lists(steps, min_size=1, max_size=4), st.data())
def test_missing_keeps_the_order(chain: list[Step], data: st.DataObject) -> None:
    layers = plan(chain).layers
    have = data.draw(st.sets(st.sampled_from([layer.id for layer in layers])))
    lacking = missing(layers, have)
    assert [layer for layer in layers if layer in lacking] == lacking
    assert {layer.id for layer in lacking} | have == {layer.id for layer in layers}


def test_a_forced_build_makes_new_layers_from_there_on_for_everyone() -> None:
    forced_steps: list[Step] = [BASE, {**NUMPY, "force_build": True}, ATTRS]
    forced = forced_builds(forced_steps, "once")
    before, after = ids([BASE, NUMPY, ATTRS]), ids(forced_steps, forced)
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, False, False]
    assert ids([BASE, NUMPY, ATTRS], forced) == after
    assert ids([BASE, ATTRS], forced) == ids([BASE, ATTRS])
    assert ids(forced_steps, forced_builds(forced_steps, "twice"))[1] != after[1]


def test_force_build_is_no_part_of_what_is_built() -> None:
    layers = plan([{**BASE, "force_build": True}]).layers
    assert layers[0].step == BASE
    assert ids([{**BASE, "force_build": True}]) == ids([BASE])


@pytest.mark.parametrize("bad", [[], [{"python": "3.12"}], [{"op": 3}]])
def test_what_is_no_image_is_refused(bad: list[Step]) -> None:
    with pytest.raises(InvalidSteps):
        plan(bad)


ENV: Step = {"op": "configure", "env": {"A": "1"}}
ENTRY: Step = {"op": "configure", "entrypoint": ["e"]}


def test_configuring_makes_no_layer_but_another_image() -> None:
    plain, configured = plan([BASE, NUMPY]), plan([BASE, NUMPY, ENV, ENTRY])
    assert plain.layers == configured.layers
    assert configured.configured == (ENV, ENTRY)
    assert len({plain.image, configured.image, plan([BASE, NUMPY, ENTRY, ENV]).image}) == 3
    assert configured.image.startswith("im-")


def test_a_layer_is_known_by_what_it_sees() -> None:
    plain, seen, unseen = plan([BASE, NUMPY]), plan([BASE, ENV, NUMPY]), plan([BASE, ENTRY, NUMPY])
    assert seen.layers[1].configured == (ENV,)
    assert seen.layers[0] == plain.layers[0]
    assert seen.layers[1].id != plain.layers[1].id
    assert unseen.layers[1].id == plain.layers[1].id


def test_how_parts_get_to_the_node_is_no_part_of_what_is_built() -> None:
    steps: list[list[Step]] = [
        [BASE, {"op": "run_function", "key": "k", "shipped": {"files": files}}] for files in ("la-1", "la-2")
    ]
    first, second = (plan(each) for each in steps)
    assert first.image == second.image
    assert first.layers[1].step["shipped"] == {"files": "la-1"}


def test_all_can_be_forced_at_once() -> None:
    forced = forced_builds([BASE, ENV, NUMPY], "n", everything=True)
    assert len(forced) == 2
    assert set(ids([BASE, ENV, NUMPY], forced)).isdisjoint(ids([BASE, ENV, NUMPY]))


def test_configuration_alone_is_no_image() -> None:
    with pytest.raises(InvalidSteps, match="a step that makes a layer"):
        plan([ENV])
