"""Calls that live on without their caller, through a whole server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import modicum
from modicum.exception import RemoteError
from modicum.types import InputStatus
from tests.processes import spawned
from tests.processes.watching import eventually


@pytest.fixture(scope="module")
def app(server: object) -> Iterator[modicum.App]:
    with spawned.app.run():
        yield spawned.app


def test_a_map_that_nobody_waits_for(app: modicum.App, tmp_path: Path) -> None:
    assert spawned.record.spawn_map([str(tmp_path)] * 30, range(30)) is None
    eventually(lambda: len(os.listdir(tmp_path)) == 30, within_s=30)


def test_its_values_by_index_and_in_order(app: modicum.App) -> None:
    call = spawned.odd_fails.experimental_spawn_map(range(0, 3000, 2))
    assert call.num_inputs() == 1500
    assert list(call.iter()) == list(range(0, 3000, 2))
    assert list(call.iter(start=7, end=9)) == [14, 16]
    assert call.get(index=1499) == 2998
    with pytest.raises(ValueError, match="Invalid index range: 0 to 1501 for 1500 inputs"):
        list(call.iter(end=1501))
    with pytest.raises(modicum.exception.NotFoundError, match="has 1500 inputs, none with index 1500"):
        call.get(index=1500)


async def test_the_same_in_an_event_loop(app: modicum.App) -> None:
    async def numbers() -> object:
        for number in (2, 3, 4):
            yield number

    call = await spawned.odd_fails.experimental_spawn_map.aio(numbers())  # type: ignore[arg-type]
    assert await call.num_inputs.aio() == 3
    values = call.iter.aio()
    assert await anext(values) == 2
    with pytest.raises(ValueError, match="3 is odd"):
        await anext(values)
    others = [await spawned.odd_fails.spawn.aio(number) for number in (0, 2)]
    assert await modicum.FunctionCall.gather.aio(*others) == [0, 2]


def test_gathering_raises_the_first_failure_at_once(app: modicum.App, tmp_path: Path) -> None:
    waits = spawned.wait_for.spawn(str(tmp_path / "go"))
    with pytest.raises(ValueError, match="1 is odd"):
        modicum.FunctionCall.gather(waits, spawned.odd_fails.spawn(1))
    (tmp_path / "go").touch()
    fine = spawned.odd_fails.spawn(8)
    assert modicum.FunctionCall.gather(fine, waits) == [8, str(tmp_path / "go")]


def test_a_pending_call_says_why_and_can_be_cancelled(app: modicum.App, tmp_path: Path) -> None:
    runs = spawned.wait_for.spawn(str(tmp_path / "go"))
    waits = spawned.wait_for.spawn(str(tmp_path / "never"))
    eventually(lambda: "ta-" in _why(runs), within_s=30)
    assert "busy" in _why(waits)
    waits.cancel()
    with pytest.raises(RemoteError, match="the call was cancelled"):
        waits.get()
    with pytest.raises(TimeoutError):
        runs.get(timeout=0)
    (tmp_path / "go").touch()
    assert runs.get() == str(tmp_path / "go")
    runs.cancel()
    assert runs.get() == str(tmp_path / "go"), "an output stays"


@pytest.mark.parametrize("function", [spawned.run_on, spawned.run_on_async], ids=lambda each: str(each.name))
def test_cancelling_interrupts_what_runs(app: modicum.App, tmp_path: Path, function: Any) -> None:
    call = function.spawn(str(tmp_path))
    eventually(lambda: os.listdir(tmp_path), within_s=30)
    call.cancel()
    eventually(lambda: "interrupted" in os.listdir(tmp_path), within_s=30)
    with pytest.raises(RemoteError, match="the call was cancelled"):
        call.get()


def test_cancelling_may_end_the_container(app: modicum.App, tmp_path: Path) -> None:
    call = spawned.run_on.spawn(str(tmp_path))
    eventually(lambda: os.listdir(tmp_path), within_s=30)
    (mark,) = os.listdir(tmp_path)
    call.cancel(terminate_containers=True)
    eventually(lambda: not Path("/proc", mark.split()[1]).exists(), within_s=30)
    assert [each for each in os.listdir(tmp_path) if each.startswith("runs")] == [mark], "it is not run again"


def _why(call: modicum.FunctionCall[str]) -> str:
    with pytest.raises(TimeoutError) as caught:
        call.get(timeout=0)
    return str(caught.value)


def test_the_graph_of_calls(app: modicum.App) -> None:
    call = spawned.outer.spawn(2)
    inner, value = call.get()
    assert value == modicum.FunctionCall.from_id(inner).get() == 2
    for each in (call, modicum.FunctionCall.from_id(inner)):
        (root,) = each.get_call_graph()
        assert (root.function_name, root.function_call_id, root.status) == (
            "outer",
            call.object_id,
            InputStatus.SUCCESS,
        )
        assert root.task_id.startswith("ta-")
        assert [child.function_call_id for child in root.children] == [inner]
