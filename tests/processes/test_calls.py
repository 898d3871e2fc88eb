"""What each way of calling a function does, through a whole server."""

from __future__ import annotations

import asyncio
import threading
import traceback
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

import modicum
from modicum.app import App
from modicum.exception import (
    AsyncUsageWarning,
    ExecutionError,
    FunctionTimeoutError,
    InternalFailure,
    InvalidError,
    NotFoundError,
    RemoteError,
    SerializationError,
)
from tests.processes import programs

pytestmark = pytest.mark.usefixtures("app")


def test_remote_returns_the_value() -> None:
    assert programs.double.remote(21) == 42
    assert programs.add.remote(1, y=2, scale=10) == 30


def test_local_runs_here() -> None:
    assert programs.double.local(4) == 8


async def test_remote_async() -> None:
    assert await programs.double.remote.aio(3) == 6
    assert await asyncio.gather(*(programs.double.remote.aio(n) for n in range(20))) == [2 * n for n in range(20)]


async def test_blocking_call_in_a_loop_warns() -> None:
    with pytest.warns(AsyncUsageWarning, match="aio"):
        assert programs.double.remote(1) == 2


def test_async_function() -> None:
    assert programs.slow_double.remote(4) == 8
    assert sorted(programs.slow_double.map(range(5), order_outputs=False)) == [0, 2, 4, 6, 8]


def test_exception_arrives_as_itself() -> None:
    with pytest.raises(programs.Refused, match="no") as caught:
        programs.fail.remote("own")
    assert caught.value.__notes__ == ["a note"]
    text = "".join(traceback.format_exception(caught.value))
    assert "in fail" in text
    assert "raise error" in text  # the remote source line
    assert "agent/loop.py" not in text


def test_exception_keeps_its_cause() -> None:
    with pytest.raises(RuntimeError, match="outer") as caught:
        programs.fail.remote("cause")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_exception_that_does_not_unpickle_comes_as_text() -> None:
    with pytest.raises(RemoteError, match="Contrary: one") as caught:
        programs.fail.remote("contrary")
    assert "in fail" in str(caught.value)


def test_exit_of_user_code_does_not_end_the_caller() -> None:
    with pytest.raises(RemoteError, match="the function ended with SystemExit") as caught:
        programs.fail.remote("exit")
    assert "in fail" in str(caught.value)


def test_crash_is_retried_then_reported() -> None:
    with pytest.raises(InternalFailure, match="exit code 9"):
        programs.fail.remote("crash")


def test_timeout() -> None:
    with pytest.raises(FunctionTimeoutError):
        programs.sleep_limited.remote(30)
    assert programs.sleep_limited.remote(0) == "done"


def test_argument_that_cannot_be_sent() -> None:
    with pytest.raises(SerializationError, match="double"):
        programs.double.remote(threading.Lock())  # type: ignore[arg-type]


def test_wrong_ways_of_calling() -> None:
    with pytest.raises(TypeError, match=r"\.remote"):
        programs.double(1)
    with pytest.raises(InvalidError, match="remote_gen"):
        programs.count.remote(1)
    with pytest.raises(InvalidError, match="remote_gen"):
        programs.count.spawn(1)
    with pytest.raises(InvalidError, match="remote_gen"):
        programs.count.map([1])
    with pytest.raises(InvalidError, match="not a generator"):
        programs.double.remote_gen(1)  # type: ignore[misc]


def test_context_inside_and_outside() -> None:
    local, input_id, call_id = programs.where.remote()
    assert not local
    assert input_id is not None
    assert input_id.startswith("in-")
    assert call_id is not None
    assert call_id.startswith("fc-")
    assert modicum.is_local()
    assert modicum.current_input_id() is None
    assert modicum.current_function_call_id() is None


def test_calls_from_inside_a_function() -> None:
    assert programs.nested.remote(5) == [10, 0, 2, 4]


def test_import_modal_inside() -> None:
    assert programs.imports_modal.remote()


def test_serialized_function() -> None:
    assert programs.shipped.remote(1) == 101


def test_value_that_needs_cloudpickle() -> None:
    made = programs.lambda_maker.remote(3)
    assert callable(made)
    assert made(4) == 7


# -- map -------------------------------------------------------------------------------------------------------


def test_map_keeps_the_order() -> None:
    assert list(programs.double.map(range(2500))) == [2 * n for n in range(2500)]


def test_map_zips_iterables_and_passes_kwargs() -> None:
    assert list(programs.add.map([1, 2, 3], [10, 20], kwargs={"scale": 2})) == [22, 44]


def test_map_that_nobody_looks_at_warns() -> None:
    with pytest.warns(UserWarning, match="double"):
        programs.double.map([1])


def test_map_of_nothing() -> None:
    assert list(programs.double.map([])) == []


def test_starmap_and_for_each() -> None:
    assert list(programs.add.starmap([(1, 2), (3, 4)])) == [3, 7]
    programs.double.for_each(range(10))
    with pytest.raises(ValueError, match="1"):
        programs.odd_fails.for_each([0, 1, 2])
    programs.odd_fails.for_each([0, 1, 2], ignore_exceptions=True)


def test_map_reads_its_input_lazily() -> None:
    taken = 0

    def numbers() -> Iterator[int]:
        nonlocal taken
        for n in range(100_000):
            taken += 1
            yield n

    results = programs.double.map(numbers())
    assert taken == 0
    assert [next(results) for _ in range(3)] == [0, 2, 4]
    assert taken <= 1100
    results.close()  # type: ignore[attr-defined]


def test_map_over_results_of_a_map() -> None:
    assert list(programs.double.map(programs.double.map(range(100)))) == [4 * n for n in range(100)]


def test_map_raises_at_its_place() -> None:
    results = programs.odd_fails.map([0, 2, 3, 4])
    assert [next(results), next(results)] == [0, 2]
    with pytest.raises(ValueError, match="3"):
        next(results)


def test_map_returns_exceptions() -> None:
    got = list(programs.odd_fails.map([0, 1, 2], return_exceptions=True))
    assert got[0] == 0
    assert isinstance(got[1], ValueError)
    assert got[2] == 2


async def test_map_async_with_async_input() -> None:
    async def numbers() -> AsyncIterator[int]:
        for n in range(300):
            if n % 100 == 0:
                await asyncio.sleep(0.01)
            yield n

    assert [x async for x in programs.double.map.aio(numbers())] == [2 * n for n in range(300)]
    assert [x async for x in programs.add.starmap.aio([(1, 2)])] == [3]
    await programs.double.for_each.aio(range(5))


async def test_sync_map_in_a_loop_is_refused() -> None:
    with pytest.raises(InvalidError, match="aio"):
        programs.double.map([1])


def test_mixed_map_is_not_held_up_by_its_slowest_input(tmp_path: Path) -> None:
    """The slow one runs until all short ones have: those that were queued behind it go to the other container."""
    slow, *short = programs.meet.starmap([(str(tmp_path), 100)] + [(str(tmp_path), 0)] * 100)
    assert len(short) == 100
    assert slow not in short


# -- generators ------------------------------------------------------------------------------------------------


def test_generator() -> None:
    assert list(programs.count.remote_gen(1000)) == list(range(1000))
    assert list(programs.slow_count.remote_gen(10)) == list(range(10))


async def test_generator_async() -> None:
    assert [x async for x in programs.count.remote_gen.aio(10)] == list(range(10))


def test_generator_that_fails_gives_its_items_first() -> None:
    results = programs.count_then_fail.remote_gen(3)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(programs.Refused):
        next(results)


def test_generator_that_has_given_items_is_not_run_again() -> None:
    results = programs.count_then_crash.remote_gen(3)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(InternalFailure, match="lost after it had given items"):
        next(results)


def test_generator_of_large_items() -> None:
    items = list(programs.count.remote_gen(5, 3_000_000))
    assert [len(item) for item in items if isinstance(item, bytes)] == [3_000_000] * 5


@pytest.mark.parametrize("function", [programs.count_alone, programs.slow_count_alone])
def test_generator_given_up_early_frees_its_only_container(function: Any) -> None:
    results = function.remote_gen(1_000_000)
    assert next(results) == 0
    results.close()
    assert list(function.remote_gen(3)) == [0, 1, 2]


# -- values ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1, 5_000_000, 50_000_000])
def test_values_of_any_size_both_ways(size: int) -> None:
    assert programs.length.remote(bytes(size)) == size
    assert len(programs.make.remote(size)) == size


def test_large_values_in_a_map() -> None:
    sizes = [10, 3_000_000, 20, 2_000_000]
    assert [len(x) for x in programs.make.map(sizes)] == sizes
    assert list(programs.length.map([bytes(n) for n in sizes])) == sizes


# -- spawn -----------------------------------------------------------------------------------------------------


def test_spawn_and_get() -> None:
    call = programs.double.spawn(5)
    assert call.object_id.startswith("fc-")
    assert call.get() == 10
    assert modicum.FunctionCall.from_id(call.object_id).get(timeout=0) == 10


async def test_spawn_async() -> None:
    call = await programs.double.spawn.aio(6)
    assert await call.get.aio() == 12


def test_get_without_an_output_raises_the_builtin_timeout() -> None:
    call = programs.sleep.spawn(1.5)
    with pytest.raises(TimeoutError):
        call.get(timeout=0)
    with pytest.raises(TimeoutError):
        call.get(timeout=0.1)
    assert call.get(timeout=20) == 1.5


def test_get_raises_what_the_function_raised() -> None:
    call = programs.fail.spawn("own")
    with pytest.raises(programs.Refused):
        call.get()


def test_get_of_a_call_that_never_was() -> None:
    with pytest.raises(NotFoundError, match="fc-00"):
        modicum.FunctionCall.from_id("fc-00").get(timeout=0)
    with pytest.raises(InvalidError, match="fc-"):
        modicum.FunctionCall.from_id("im-1")


def test_large_value_of_a_spawned_call_may_be_fetched_twice() -> None:
    call = programs.make.spawn(3_000_000)
    assert len(call.get()) == len(call.get()) == 3_000_000


# -- apps ------------------------------------------------------------------------------------------------------


def test_function_of_an_app_that_does_not_run() -> None:
    other = App("other")

    @other.function(serialized=True)
    def lonely() -> None: ...

    with pytest.raises(ExecutionError, match="not running"):
        lonely.remote()


def test_an_app_runs_once() -> None:
    with pytest.raises(InvalidError, match="already running"), programs.app.run():
        pass
