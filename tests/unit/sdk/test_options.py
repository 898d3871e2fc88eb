"""The parameters of `@app.function`: the table and the signature, what is yet to come, older names."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest

from modicum import options
from modicum.app import App
from modicum.exception import DeprecationError, InvalidError


def decorated(**parameters: Any) -> Any:
    return App("a").function(serialized=True, name="f", **parameters)(lambda: None)


def test_the_table_is_the_signature() -> None:
    signature = inspect.signature(App.function)
    keywords = {name: p.default for name, p in signature.parameters.items() if p.kind is p.KEYWORD_ONLY}
    assert [each.name for each in options.PARAMETERS] == list(keywords)
    assert {each.name: each.default for each in options.PARAMETERS} == keywords
    assert not {old.old for old in options.OLD_NAMES} & set(keywords)


YET_TO_COME = [each.name for each in options.PARAMETERS if each.check is None]


@pytest.mark.parametrize("name", YET_TO_COME)
def test_what_is_yet_to_come_says_so_and_asking_for_nothing_is_fine(name: str) -> None:
    default = next(each.default for each in options.PARAMETERS if each.name == name)
    assert decorated(**{name: None}).name == "f"
    assert decorated(**{name: default}).name == "f"
    with pytest.raises(
        InvalidError, match=f"the parameter `{name}` of @app.function is not in Modicum yet; leave it out"
    ):
        decorated(**{name: {"something": 1}})


def test_an_unknown_parameter_is_refused_with_the_nearest() -> None:
    with pytest.raises(
        TypeError, match=r"@app\.function takes no parameter 'max_contaners'; did you mean 'max_containers'"
    ):
        decorated(max_contaners=1)
    with pytest.raises(TypeError, match=r"modal\.App takes no parameter 'nmae'; did you mean 'name'"):
        App(nmae="x")  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("old", "value", "new", "kept"),
    [
        ("concurrency_limit", 3, "max_containers", 3),
        ("container_idle_timeout", 30, "scaledown_window", 30),
        ("keep_warm", 2, "min_containers", 2),
    ],
)
def test_older_names(old: str, value: int, new: str, kept: int) -> None:
    with pytest.warns(DeprecationError, match=f"`{old}` is now `{new}`; accepted for compatibility") as caught:
        function = decorated(**{old: value})
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert getattr(function.options, new) == kept
    with pytest.warns(DeprecationError), pytest.raises(InvalidError, match=f"under its older name, {old}={value}"):
        decorated(**{old: value, new: value + 1})


@pytest.mark.parametrize(
    ("old", "value", "new"),
    [
        ("_experimental_buffer_containers", 1, "buffer_containers"),
        ("checkpointing_enabled", True, "enable_memory_snapshot"),
        ("secret", object(), "secrets"),
        ("max_inputs", 1, "single_use_containers"),
    ],
)
def test_older_names_of_what_is_yet_to_come(old: str, value: object, new: str) -> None:
    with pytest.warns(DeprecationError, match=f"`{old}` is now `{new}`"):
        assert decorated(**{old: None}).name == "f"
    with (
        pytest.warns(DeprecationError),
        pytest.raises(InvalidError, match=f"the parameter `{new}` .* not in Modicum yet"),
    ):
        decorated(**{old: value})


@pytest.mark.parametrize(
    ("old", "harmless", "harmful", "hint"),
    [
        ("allow_concurrent_inputs", 1, 10, "@modal.concurrent(max_inputs=…)`, which is not in Modicum yet"),
        ("interactive", False, True, "modal run -i"),
        ("mounts", [], ["x"], "image.add_local_dir(…)"),
        ("shared_volumes", {}, {"/v": 1}, "`modal.Volume`, which is not in Modicum yet"),
        ("_allow_background_volume_commits", True, False, "always committed in the background"),
    ],
)
def test_older_names_without_a_present_one(old: str, harmless: object, harmful: object, hint: str) -> None:
    with pytest.warns(DeprecationError, match=f"`{old}` has no effect any longer"):
        decorated(**{old: harmless})
    with pytest.raises(InvalidError, match=f"@app.function no longer takes `{old}`: .*{re.escape(hint)}"):
        decorated(**{old: harmful})


def test_what_is_ignored() -> None:
    with pytest.warns(DeprecationError, match="`allow_cross_region_volumes` has no effect any longer"):
        decorated(allow_cross_region_volumes=True)


def test_only_one_input_per_container_was_ever_possible() -> None:
    with pytest.warns(DeprecationError), pytest.raises(InvalidError, match="max_inputs can only be 1"):
        decorated(max_inputs=2)


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"name": "a b"}, "'a b' is no name for a function"),
        ({"name": ""}, "'' is no name for a function"),
        ({"serialized": 1}, "serialized must be True or False, not 1"),
        ({"include_source": "no"}, "include_source must be True or False, not 'no'"),
        ({"is_generator": 3}, "is_generator must be True or False, not 3"),
    ],
)
def test_values_that_make_no_sense(parameters: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidError, match=reason):
        App("a").function(**parameters)


@pytest.mark.parametrize("tags", [{"a b": "x"}, {"a": ""}, {"a": 1}, {"a": "x" * 64}, ["a"], "a"])
def test_tags_that_make_no_sense(tags: Any) -> None:
    with pytest.raises(InvalidError, match="tags must be a dict whose keys and values are 1 to 63 letters"):
        App(tags=tags)


def test_names_that_look_like_ids() -> None:
    with pytest.raises(InvalidError, match="is no name for an app"):
        App("ap-0123456789abcdefABCDEF")
    assert App("ap-0123").name == "ap-0123"
