"""The parameters of `@app.function`: the table and the signature, what is yet to come, older names."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

import modicum
from modicum import options
from modicum.app import App
from modicum.exception import DeprecationError, InvalidError
from modicum.retries import Retries
from modicum.secret import Secret


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
        ("_experimental_buffer_containers", 1, "buffer_containers", 1),
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


def test_one_input_per_container_by_its_older_name() -> None:
    with pytest.warns(DeprecationError, match="`max_inputs` is now `single_use_containers`"):
        assert decorated(max_inputs=1).options.single_use_containers is True
    with pytest.warns(DeprecationError):
        assert decorated(max_inputs=None).options.single_use_containers is False


def test_a_single_secret_by_its_older_name() -> None:
    with pytest.warns(DeprecationError, match="`secret` is now `secrets`"):
        assert decorated(secret=None).name == "f"
    one = Secret.from_dict({"A": "b"})
    with pytest.warns(DeprecationError):
        assert decorated(secret=one).options.secrets == [one]
    with pytest.warns(DeprecationError), pytest.raises(InvalidError, match="one of them is of type 'object'"):
        decorated(secret=object())


@pytest.mark.parametrize(
    ("old", "harmless", "harmful", "hint"),
    [
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


def test_what_a_function_asks_for_is_sent() -> None:
    retries = Retries(max_retries=2, initial_delay=3.0, max_delay=30.0)
    asked = decorated(
        min_containers=1, max_containers=4, buffer_containers=2, scaledown_window=5, timeout=10, startup_timeout=20,
        retries=retries, single_use_containers=True, region=["eu", "us"], nonpreemptible=True, cpu=2, memory=(256, 512),
        ephemeral_disk=1024, gpu="H100:2", block_network=True, _experimental_restrict_output=True,
    )  # fmt: skip
    assert asked.options.as_dict(["st-1"]) == {
        "min_containers": 1,
        "max_containers": 4,
        "buffer_containers": 2,
        "scaledown_window": 5,
        "timeout": 10,
        "startup_timeout": 20,
        "retries": {"max_retries": 2, "backoff_coefficient": 2.0, "initial_delay": 3.0, "max_delay": 30.0},
        "schedule": None,
        "single_use_containers": True,
        "placement": {"regions": ["eu", "us"], "nonpreemptible": True},
        "concurrency": None,
        "batching": None,
        "block_network": True,
        "restrict_modal_access": False,
        "restrict_output": True,
        "secrets": ["st-1"],
        "cpu": [2.0, None],
        "memory": [256, 512],
        "ephemeral_disk": 1024,
        "gpu": [{"type": "H100", "count": 2}],
    }
    plain = decorated(enable_memory_snapshot=True).options.as_dict()
    assert (plain["timeout"], plain["startup_timeout"], plain["scaledown_window"]) == (300, 300, 60)
    assert (plain["retries"], plain["placement"], plain["buffer_containers"]) == (None, None, 0)


def test_a_number_of_retries_has_a_fixed_interval() -> None:
    fixed = {"max_retries": 3, "backoff_coefficient": 1.0, "initial_delay": 1.0, "max_delay": 60.0}
    assert decorated(retries=3).options.retries == fixed
    assert decorated(retries=0).options.retries == {**fixed, "max_retries": 0}


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"retries": "3"}, "retries must be a whole number or a modicum.Retries, not '3'"),
        ({"retries": True}, "retries must be a whole number or a modicum.Retries, not True"),
        ({"retries": -1}, "max_retries must be a whole number from 0 up, not -1"),
        ({"buffer_containers": -1}, "buffer_containers must be a whole number from 0 up, not -1"),
        ({"max_containers": 0}, "max_containers must be a whole number from 1 up, not 0"),
        ({"scaledown_window": 1}, "scaledown_window must be from 2 to 3600 seconds, not 1"),
        ({"timeout": None}, "timeout must be a number of seconds above 0, not None"),
        ({"min_containers": 3, "max_containers": 2}, r"min_containers \(3\) is larger than max_containers \(2\)"),
        ({"region": 5}, "region must be a name or a list of names, not 5"),
        ({"cloud": ""}, "cloud must be a name, not ''"),
        ({"nonpreemptible": "yes"}, "nonpreemptible must be True or False, not 'yes'"),
        ({"enable_memory_snapshot": None}, "enable_memory_snapshot must be True or False, not None"),
    ],
)
def test_settings_that_make_no_sense(parameters: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidError, match=reason):
        App("a").function(**parameters)


def test_generators_have_no_retries() -> None:
    def items() -> Iterator[int]:
        yield 1

    with pytest.raises(InvalidError, match="items' is a generator function: it cannot have retries"):
        App("a").function(serialized=True, retries=1)(items)
    with pytest.raises(InvalidError, match="it cannot have retries"):
        App("a").function(serialized=True, retries=1, is_generator=True)(lambda: None)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"max_retries": -1}, "max_retries must be a whole number from 0 up, not -1"),
        ({"max_retries": 1.5}, "max_retries must be a whole number from 0 up, not 1.5"),
        ({"backoff_coefficient": 0.9}, "backoff_coefficient must be from 1 to 10, not 0.9"),
        ({"backoff_coefficient": 10.1}, "backoff_coefficient must be from 1 to 10, not 10.1"),
        ({"initial_delay": -0.1}, "initial_delay must be from 0 to 60 seconds, not -0.1"),
        ({"initial_delay": 61}, "initial_delay must be from 0 to 60 seconds, not 61"),
        ({"max_delay": 0.5}, "max_delay must be from 1 to 60 seconds, not 0.5"),
        ({"max_delay": "5"}, "max_delay must be from 1 to 60 seconds, not '5'"),
    ],
)
def test_policies_that_make_no_sense(wrong: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidError, match=reason):
        Retries(**{"max_retries": 1, **wrong})


def test_a_policy_is_read_as_modals() -> None:
    policy = Retries(max_retries=4, initial_delay=1.5)
    assert (policy.max_retries, policy.backoff_coefficient) == (4, 2.0)
    assert (policy.initial_delay, policy.max_delay) == (timedelta(seconds=1.5), timedelta(seconds=60))
    assert repr(policy) == "modicum.Retries(max_retries=4, backoff_coefficient=2, initial_delay=1.5, max_delay=60)"
    with pytest.raises(TypeError):
        Retries(4)  # type: ignore[call-arg]


def test_concurrency_and_batching_are_checked() -> None:
    assert options.read_concurrency("x", 5) == {"max_inputs": 5, "target_inputs": None}
    assert options.read_concurrency("x", 5, 5) == {"max_inputs": 5, "target_inputs": 5}
    assert options.read_batching(4, 0) == {"max_batch_size": 4, "wait_ms": 0}
    with pytest.raises(TypeError, match=r"@modal\.concurrent needs max_inputs"):
        options.read_concurrency("@modal.concurrent", None)
    with pytest.raises(InvalidError, match=r"target_inputs \(6\) is larger than max_inputs \(5\)"):
        options.read_concurrency("x", 5, 6)
    for wrong in ((0, 0), (1001, 0), (1, -1), (1, 600_001), (1.5, 0)):
        with pytest.raises(InvalidError, match="must be a whole number from"):
            options.read_batching(*wrong)


@pytest.mark.parametrize("tags", [{"a b": "x"}, {"a": ""}, {"a": 1}, {"a": "x" * 64}, ["a"], "a"])
def test_tags_that_make_no_sense(tags: Any) -> None:
    with pytest.raises(InvalidError, match="tags must be a dict whose keys and values are 1 to 63 letters"):
        App(tags=tags)


def test_names_that_look_like_ids() -> None:
    with pytest.raises(InvalidError, match="is no name for an app"):
        App("ap-0123456789abcdefABCDEF")
    assert App("ap-0123").name == "ap-0123"


# -- inputs at once, by its older name ---------------------------------------------------------------------------


def test_the_older_way_to_run_inputs_at_once_is_the_decorator() -> None:
    with pytest.warns(
        DeprecationError, match=r"`allow_concurrent_inputs` is now `@modal\.concurrent\(max_inputs"
    ) as told:
        function = decorated(allow_concurrent_inputs=5)
    assert [each.filename for each in told] == [__file__]
    assert function.options.concurrency == {"max_inputs": 5, "target_inputs": 5}
    with pytest.warns(DeprecationError):
        assert decorated(allow_concurrent_inputs=None).options.concurrency is None


def test_the_older_and_the_present_way_are_not_both_given() -> None:
    with pytest.warns(DeprecationError), pytest.raises(InvalidError, match="the concurrency of 'f' is set twice"):

        @App("a").function(serialized=True, allow_concurrent_inputs=5)  # type: ignore[call-arg]
        @modicum.concurrent(max_inputs=5)
        def f() -> None: ...


def test_classes_are_told_of_older_names_too() -> None:
    app = App("a")
    with pytest.warns(DeprecationError) as told:

        @app.cls(concurrency_limit=2, allow_concurrent_inputs=4, container_idle_timeout=9, serialized=True)  # type: ignore[call-arg]
        class Model:
            @modicum.method()
            def run(self) -> None: ...

    assert len(told) == 3
    made = app.functions["Model.*"].options
    assert (made.max_containers, made.scaledown_window) == (2, 9)
    assert made.concurrency == {"max_inputs": 4, "target_inputs": 4}
