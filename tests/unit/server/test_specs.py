"""What do the core and an agent hear of a function's options?"""

from __future__ import annotations

from typing import Any

from modicum.server.core.events import FunctionSpec, Retries
from modicum.server.records import Function
from modicum.server.specs import agent_spec, spec_of

LEAST = {"min_containers": 0, "max_containers": None, "scaledown_window": 60, "timeout": 300, "startup_timeout": 200}
SPEC = {"module": "m", "qualname": "f", "generator": False, "async": False}


def function(spec: dict[str, Any] | None = None, **options: Any) -> Function:
    definition = {"options": {**LEAST, **options}, "spec": {**SPEC, **(spec or {})}}
    return Function("fu-1", "ap-1", "f", definition, b"", generation=3)


def test_the_least_that_is_said_is_enough() -> None:
    assert spec_of(function()) == FunctionSpec("fu-1", "ap-1", target=1, startup_timeout_s=200, generation=3)


def test_inputs_that_run_together() -> None:
    spec = spec_of(function(concurrency={"max_inputs": 10, "target_inputs": 4}))
    assert (spec.slots, spec.aim, spec.batch_size) == (10, 4, 0)
    assert spec_of(function(concurrency={"max_inputs": 10, "target_inputs": None})).aim == 10


def test_a_batch_is_one_run_of_many_inputs() -> None:
    spec = spec_of(function(batching={"max_batch_size": 8, "wait_ms": 500}))
    assert (spec.slots, spec.aim, spec.batch_size, spec.batch_wait_s) == (8, 8, 8, 0.5)
    both = spec_of(function(batching={"max_batch_size": 8, "wait_ms": 0}, concurrency={"max_inputs": 2}))
    assert (both.slots, both.batch_size) == (16, 8)


def test_a_single_use_is_of_one_input() -> None:
    spec = spec_of(function(single_use_containers=True, concurrency={"max_inputs": 5, "target_inputs": 5}))
    assert (spec.slots, spec.aim, spec.single_use) == (1, 1, True)


def test_retries() -> None:
    given = {"max_retries": 3, "backoff_coefficient": 2.0, "initial_delay": 0.5, "max_delay": 9.0}
    assert spec_of(function(retries=given)).retries == Retries(3, 2.0, 0.5, 9.0)
    assert spec_of(function(retries={**given, "max_retries": 0})).retries is None
    assert spec_of(function({"generator": True}, retries=given)).retries is None


def test_what_an_agent_hears() -> None:
    made = function({"exits": True}, concurrency={"max_inputs": 2}, single_use_containers=True)
    assert spec_of(made).exits
    assert agent_spec(made) == {
        **SPEC,
        "exits": True,
        "concurrency": {"max_inputs": 2},
        "batching": None,
        "single_use": True,
    }
