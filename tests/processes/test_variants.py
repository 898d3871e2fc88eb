"""Functions with settings of their own, and what their autoscalers are told, through a whole server."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from click.testing import CliRunner

import modicum
from modicum.cli.main import cli
from modicum.exception import FunctionTimeoutError, InvalidError
from tests.processes import tuning
from tests.processes.watching import eventually, status

pytestmark = pytest.mark.usefixtures("running")


@pytest.fixture(scope="module")
def running(server: object) -> Iterator[None]:
    with tuning.app.run():
        yield


def containers(function: str) -> int:
    return sum(each["function"] == function for each in status()["containers"])


def test_a_variant_has_containers_of_its_own_which_everybody_shares_who_asks_for_the_same() -> None:
    variant = tuning.who.with_options(timeout=30)
    plain, own = tuning.who.remote(), variant.remote()
    assert plain != own
    assert variant.object_id != tuning.who.object_id
    assert tuning.who.with_options(timeout=30).remote() == own
    assert tuning.who_is_asked_here.remote(30) == (plain, own)


def test_settings_hold_for_the_variant_alone() -> None:
    with pytest.raises(FunctionTimeoutError):
        tuning.who.with_options(timeout=1).remote(30.0)
    assert tuning.who.remote(1.2) > 0


def test_the_autoscaler_does_as_it_is_told() -> None:
    variant = tuning.who.with_options(timeout=31, scaledown_window=2)
    assert variant.autoscaler.settings().min_containers == 0
    told = variant.autoscaler.update(min_containers=2, max_containers=3)
    assert (told.min_containers, told.max_containers, told.scaledown_window) == (2, 3, 2)
    eventually(lambda: variant.get_current_stats().num_total_runners == 2)
    assert variant.autoscaler.update(min_containers=None, max_containers=1).min_containers == 0
    eventually(lambda: variant.get_current_stats().num_total_runners <= 1)
    with pytest.raises(InvalidError, match=r"min_containers \(2\) is larger than max_containers \(1\)"):
        variant.autoscaler.update(min_containers=2)


def test_what_fails_runs_again_as_often_as_its_policy_says() -> None:
    assert tuning.fails_twice.remote() == 3
    with pytest.raises(ConnectionError, match="attempt 2"):
        tuning.always_fails.with_options(retries=modicum.Retries(max_retries=1, initial_delay=0.0)).remote()


def test_a_container_for_each_input() -> None:
    assert tuning.once.remote() != tuning.once.remote()


def test_several_inputs_at_once_by_a_setting() -> None:
    assert sorted(tuning.meet.with_concurrency(max_inputs=3).map(range(3))) == [0, 1, 2]


def test_what_a_function_did() -> None:
    before = tuning.always_fails.stats().input_failure_count
    with pytest.raises(ConnectionError):
        tuning.always_fails.remote()
    found = tuning.always_fails.stats()
    assert found.input_failure_count == before + 1
    assert found.container_total_count >= 1
    assert found.input_percentile_stats["Execution time (s)"].percentiles


def test_what_is_told_of_functions_on_the_command_line() -> None:
    tuning.who.with_options(timeout=30).remote()
    shown = CliRunner().invoke(cli, ["function", "info", "tuning/who"], catch_exceptions=False).output
    assert f"who ({tuning.who.object_id})" in shown
    listed = CliRunner().invoke(cli, ["function", "variants", "tuning/who", "--json"], catch_exceptions=False).output
    assert {"timeout": 30} in [each["options"] for each in json.loads(listed)]
