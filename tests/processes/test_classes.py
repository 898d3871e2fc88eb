"""What classes do through a whole server, and functions that take several inputs at once."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modicum.cls import Cls
from modicum.exception import InvalidError, NotFoundError
from tests.processes import models
from tests.processes.models import Batches, Counter, Refuses, Sent

Greeter: Any = models.Greeter  # its parameters
Leaves: Any = models.Leaves


@pytest.fixture(scope="module", autouse=True)
def app(server: subprocess.Popen[bytes]) -> Iterator[None]:
    with models.app.run():
        yield


def test_an_object_lives_as_long_as_its_container() -> None:
    counter = Counter()
    assert [counter.add.remote(), counter.add.remote(2)] == [1, 3]
    assert Counter().add.remote() == 4  # of no parameters: the same containers
    assert counter.kind.remote() == ("Counter", ["base", "counter"])
    assert list(counter.items.remote_gen(3)) == [0, 1, 2]
    assert counter.others.remote(10) == (14, "hello Ada")
    assert list(counter.add.map([0, 0])) == [14, 14]
    assert counter.add.spawn(1).get() == 15


def test_each_set_of_parameters_has_containers_of_its_own() -> None:
    one, other = Greeter(name="a"), Greeter(name="a", times=2)
    assert (one.greet.remote(), other.greet.remote()) == ("hello a", "hello ahello a")
    first, same_loop = one.where.remote()
    assert same_loop
    assert Greeter(name="a", times=1).where.remote() == (first, True)
    assert other.where.remote()[0] != first
    assert list(one.items.remote_gen(3)) == [0, 1, 2]


def test_a_class_with_other_settings() -> None:
    other: Any = Counter
    counter = other.with_options(timeout=50)()
    assert counter.add.remote(100) == 100  # in a container of its own
    assert counter.add.get_current_stats().num_total_runners == 1


def test_a_class_that_is_found_by_name() -> None:
    deployed = models.far.deploy()
    try:
        slow: Any = Cls.from_name("far", "Distant").with_options(timeout=20)
        assert slow(factor=5).times.remote(4) == 20
        distant: Any = Cls.from_name("far", "Distant")
        assert distant().times.remote(4) == 8
        triple = distant(factor=3)
        assert triple.times.remote(4) == 12
        assert list(triple.items.remote_gen(3)) == [0, 1, 2]
        with pytest.raises(InvalidError, match=r"'Distant\.items' is a generator function"):
            distant().items.remote(3)
        with pytest.raises(NotFoundError, match="'Distant' has no method 'time'; did you mean 'times'"):
            distant().time.remote(3)
        with pytest.raises(InvalidError, match="'Distant' has no parameter 'x'"):
            distant(x=3).times.remote(4)
        with pytest.raises(NotFoundError, match="Absent"):
            Cls.from_name("far", "Absent")().times.remote(3)
    finally:
        deployed.stop()


def test_a_class_without_its_module() -> None:
    assert Sent().power.remote(2) == 9


def test_what_an_enter_hook_raises_is_raised_for_callers() -> None:
    with pytest.raises(KeyError, match="no weights"):
        Refuses().use.remote()


def test_a_method_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="absent"):
        Counter().absent  # type: ignore[attr-defined]  # noqa: B018
    counter: Any = Counter()
    counter.add.method = "absent"
    with pytest.raises(NotFoundError, match=r"'Counter\.\*' has no method 'absent'"):
        counter.add.remote()


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, path.name
        time.sleep(0.02)


def test_a_container_without_work_leaves_and_no_thread_of_its_own_holds_it(tmp_path: Path) -> None:
    Leaves(folder=str(tmp_path)).nap.remote(0)
    wait_for(tmp_path / "left")


def test_threads_that_stay_are_not_waited_for_for_ever() -> None:
    program = """
import threading, time
from modicum.agent.service import end_within
threading.Thread(target=time.sleep, args=(3600,), name="uploader").start()
end_within(0.1)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.endswith("its threads uploader still run\n")


async def test_what_is_given_up_is_interrupted(tmp_path: Path) -> None:
    nap = asyncio.ensure_future(Leaves(folder=str(tmp_path)).nap.remote.aio(3600))
    await asyncio.to_thread(wait_for, tmp_path / "began")
    nap.cancel()
    await asyncio.to_thread(wait_for, tmp_path / "InputCancellation")


@pytest.mark.parametrize("function", [models.meet, models.meet_async], ids=["threads", "tasks"])
def test_several_inputs_at_once(function: Any, tmp_path: Path) -> None:
    met = list(function.map([str(tmp_path)] * 4, [4] * 4))
    assert len({process for process, _ in met}) == 1
    assert len({own for _, own in met}) == 4
    assert all(own is not None for _, own in met)


def test_inputs_run_together() -> None:
    assert list(models.together.map(range(8), [10] * 8)) == [(4, 10 * x) for x in range(8)]
    batches: Any = Batches()
    assert list(batches.together.map(range(6))) == [3] * 6
