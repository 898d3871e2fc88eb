"""Several apps in one program: side by side, included, and no calls of another app's function by accident."""

from __future__ import annotations

import pytest

from modicum.exception import ExecutionError, InvalidError
from tests.processes import pairs
from tests.processes.watching import status

pytestmark = pytest.mark.usefixtures("server")


def test_two_apps_run_at_once_and_one_of_them_not_twice() -> None:
    with pairs.one.run(), pairs.two.run():
        assert (pairs.twin_of_one.remote(), pairs.twin_of_two.remote()) == ("one's", "two's")
        assert {"one", "two"} <= {app["name"] for app in status()["apps"]}
        with pytest.raises(InvalidError, match="the app is already running"), pairs.one.run():
            pass
        assert pairs.twin_of_one.remote() == "one's"
    with pytest.raises(ExecutionError, match="its app is not running"):
        pairs.twin_of_one.remote()


def test_included_functions_call_and_map_each_other() -> None:
    with pairs.both.run(name="under-another-name"):
        assert pairs.sums.remote(3) == 5 + 9 + 3  # 0 + 1 + 4, 3 * 3, 0 + 1 + 2
        assert pairs.squares.remote(4) == [0, 1, 4, 9]
        (app,) = [app for app in status()["apps"] if app["id"] == pairs.both.app_id]
        assert (app["name"], app["tags"]) == ("under-another-name", {"team": "blue", "stage": "own"})


def test_a_function_of_two_running_apps_is_the_inner_ones_while_that_runs() -> None:
    with pairs.one.run():
        outer = pairs.square.object_id
        with pairs.both.run():
            assert pairs.square.object_id != outer
            assert pairs.square.remote(2) == 4
        assert pairs.square.object_id == outer
        assert pairs.square.remote(3) == 9


def test_a_container_calls_no_other_apps_function() -> None:
    with pairs.one.run(), pairs.two.run():
        with pytest.raises(ExecutionError, match=r"'squares' cannot be called here.*app\.include\(other_app\)"):
            pairs.calls_a_stranger.remote(3)
        expected = r"'twin' of modicum\.App\('two'\) cannot be called here.*another of that name, .*pairs\.twin_of_one;"
        with pytest.raises(ExecutionError, match=expected):
            pairs.calls_the_other_twin.remote()
