"""Dicts and queues through a whole server: from clients and from functions, by eight processes, over killed ones."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import modicum
from modicum import _blocking, _server
from modicum.cli.main import cli
from modicum.exception import (
    AlreadyExistsError,
    AsyncUsageWarning,
    DeprecationError,
    DeserializationError,
    InvalidError,
    NotFoundError,
    RequestSizeError,
    SerializationError,
)
from tests.processes import programs
from tests.processes.watching import eventually, status

MIB = 1 << 20


@pytest.fixture
def ours(server: subprocess.Popen[bytes]) -> Iterator[modicum.Dict]:
    with modicum.Dict.ephemeral() as made:
        yield made


@pytest.fixture
def line(server: subprocess.Popen[bytes]) -> Iterator[modicum.Queue]:
    with modicum.Queue.ephemeral() as made:
        yield made


def start(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.processes.sharing", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_a_dict_is_a_dict(ours: modicum.Dict) -> None:
    ours["a"] = 1
    ours[1, "b"] = {"x": [1, 2]}
    ours.update({"c": None}, d=4)
    assert (ours["a"], ours[1, "b"], "c" in ours, "e" in ours, ours.get("e"), ours.get("e", 5)) == (
        1, {"x": [1, 2]}, True, False, None, 5,
    )  # fmt: skip
    assert set(ours.keys()) == {"a", (1, "b"), "c", "d"}
    assert dict(ours.items())["d"] == 4
    assert sorted(ours.values(), key=str) == sorted([1, {"x": [1, 2]}, None, 4], key=str)
    del ours["a"]
    assert (ours.pop("d"), ours.pop("d", 7), ours.len(), ours.contains("c")) == (4, 7, 2, True)
    for missing in (lambda: ours["a"], lambda: ours.pop("a"), lambda: ours.__delitem__("a")):
        with pytest.raises(KeyError, match=f"a not in dict {ours.object_id}"):
            missing()
    assert (ours.put("l", 1, skip_if_exists=True), ours.put("l", 2, skip_if_exists=True), ours["l"]) == (True, False, 1)
    ours.clear()
    assert (ours.len(), list(ours.items())) == (0, [])


@pytest.mark.parametrize("size", [0, MIB - 100, MIB, 3 * MIB])
def test_values_of_any_size(ours: modicum.Dict, size: int) -> None:
    value = os.urandom(size)
    ours["k"] = b"before"
    ours["k"] = value
    assert (ours["k"], dict(ours.items())) == (value, {"k": value})
    assert ours.pop("k") == value
    ours.update(dict.fromkeys(range(3), value))
    assert dict(ours.items()) == dict.fromkeys(range(3), value)


def test_a_queue_is_a_queue(line: modicum.Queue) -> None:
    line.put(1)
    line.put_many([2, 3, 4])
    line.put("p", partition="p", partition_ttl=60)
    line.put_many([])
    assert (line.len(), line.len(partition="p"), line.len(total=True)) == (4, 1, 5)
    assert list(line.iterate()) == [1, 2, 3, 4]
    assert (line.get(), line.get_many(2), line.get_many(5), line.get_many(0)) == (1, [2, 3], [4], [])
    assert (line.get(block=False), line.get_many(3, block=False)) == (None, [])
    with pytest.raises(queue.Empty):
        line.get(timeout=0.01)
    line.clear(all=True)
    assert line.len(total=True) == 0
    items = [os.urandom(MIB // 2 - 100) for _ in range(5)]
    line.put_many(items)
    assert line.get_many(9) == items


def test_a_waiter_is_woken(line: modicum.Queue) -> None:
    got: list[Any] = []
    waiter = threading.Thread(target=lambda: got.append(line.get(timeout=30)))
    waiter.start()
    line.put("late")
    waiter.join()
    shown: list[Any] = []
    showing = threading.Thread(target=lambda: shown.append(next(line.iterate(item_poll_timeout=30))))
    showing.start()
    line.put("later")
    showing.join()
    assert (got, shown, line.len()) == (["late"], ["later"], 1)


def test_full_and_empty_are_the_standard_librarys(line: modicum.Queue) -> None:
    line.put_many(range(5000))
    with pytest.raises(queue.Full, match="has 5,000 items of the 5,000 that it holds"):
        line.put(1, block=False)
    with pytest.raises(queue.Full, match="there was no room"):
        line.put(1, timeout=0.01)
    with pytest.warns(UserWarning, match="ignored with block=False"):
        line.get(block=False, timeout=3)
    with pytest.warns(UserWarning, match="ignored with block=False"):
        line.put(1, block=False, timeout=3)
    with pytest.raises(RequestSizeError, match="a partition holds 5,000"):
        line.put_many([0] * 5001)


def test_what_cannot_be(ours: modicum.Dict, line: modicum.Queue) -> None:
    lock = threading.Lock()
    with pytest.raises(SerializationError, match="the value for the key 'k' cannot be stored: TypeError"):
        ours["k"] = lock
    with pytest.raises(SerializationError, match="the key <unlocked"):
        ours.get(lock)
    with pytest.raises(SerializationError, match="an item, a lock, cannot be stored"):
        line.put(lock)
    with pytest.raises(RequestSizeError, match=r"an item of 1\.0 MiB is too large for a Queue; 1 MiB is the most"):
        line.put(b"x" * MIB)
    with pytest.raises(RequestSizeError, match=r"the value for the key 'k' has 100\.0 MiB; a Dict takes 100"):
        ours["k"] = b"x" * (100 * MIB)
    with pytest.raises(RequestSizeError, match="is too large for a Dict; 262,144 is the most: use its hash"):
        ours["k" * 300_000] = 1
    with pytest.raises(InvalidError, match="10,001 entries in one update"):
        ours.update(dict.fromkeys(range(10_001), 0))
    with pytest.raises(InvalidError, match="takes a mapping, not list"):
        ours.update([("a", 1)])  # type: ignore[arg-type]
    for partition in ("", "x" * 65, "ü" * 33, 7):
        with pytest.raises(InvalidError, match="partition"):
            line.put(1, partition=partition)  # type: ignore[arg-type]
    with pytest.raises(InvalidError, match="Partition must be null when requesting to clear all"):
        line.clear(partition="p", all=True)
    for wrong in ({"timeout": "1"}, {"partition_ttl": 0}):
        with pytest.raises(InvalidError, match="number of seconds"):
            line.put(1, **wrong)
    with pytest.raises(RuntimeError, match="constructor is not allowed"):
        modicum.Dict()
    with pytest.raises(InvalidError, match="'qu-1' is not the id of a Dict; those begin with 'di-'"):
        modicum.Dict.from_id("qu-1")
    with pytest.raises(InvalidError, match="Invalid Queue name: 'a b'"):
        modicum.Queue.from_name("a b")


def test_what_cannot_be_loaded(ours: modicum.Dict, line: modicum.Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "Gone", type("Gone", (), {"__module__": programs.__name__}), raising=False)
    ours["k"] = programs.Gone()  # type: ignore[attr-defined]
    line.put(programs.Gone())  # type: ignore[attr-defined]
    monkeypatch.delattr(programs, "Gone")
    with pytest.raises(DeserializationError, match=r"the value for key 'k' of .* cannot be loaded here"):
        ours.get("k")
    with pytest.raises(DeserializationError, match=r"an item of .* cannot be loaded here"):
        line.get()


def test_names(server: subprocess.Popen[bytes]) -> None:
    with pytest.raises(NotFoundError, match="there is no dict named 'named'; make it by"):
        modicum.Dict.from_name("named").get("a")
    named = modicum.Dict.from_name("named", create_if_missing=True)
    with pytest.raises(AttributeError, match=r"call `\.hydrate\(\)` first"):
        _ = named.object_id
    named["a"] = 1
    assert named.object_id.startswith("di-")
    assert (named.name, named.info().name, repr(named)) == ("named", "named", "modal.Dict.from_name('named')")
    assert modicum.Dict.from_id(named.object_id)["a"] == 1
    for lazy in (named, modicum.Dict.from_name("named")):
        assert pickle.loads(pickle.dumps(lazy))["a"] == 1
    with pytest.raises(AlreadyExistsError, match="'named' already"):
        modicum.Dict.objects.create("named")
    modicum.Dict.objects.create("named", allow_existing=True)
    modicum.Dict.objects.create("newer")
    assert [each.name for each in modicum.Dict.objects.list()] == ["newer", "named"]
    assert [each.name for each in modicum.Dict.objects.list(max_objects=1)] == ["newer"]
    assert modicum.Dict.objects.list(created_before="2020-01-01") == []
    modicum.Dict.objects.delete("named")
    modicum.Dict.objects.delete("newer")
    modicum.Dict.objects.delete("named", allow_missing=True)
    with pytest.raises(NotFoundError):
        modicum.Dict.objects.delete("named")
    with pytest.raises(NotFoundError, match="it may have been deleted"):
        named.get("a")


def test_older_names(server: subprocess.Popen[bytes]) -> None:
    with pytest.warns(DeprecationError, match=r"Dict\.create_deployed"):
        made = modicum.Dict.create_deployed("old")
    with pytest.warns(DeprecationError, match=r"Dict\.lookup"):
        assert modicum.Dict.lookup("old").object_id == made
    with pytest.warns(DeprecationError, match="`label` is now `name`"):
        assert modicum.Dict.from_name(label="old").hydrate().object_id == made  # type: ignore[call-arg]
    with pytest.raises(InvalidError, match=r"d\.update\(data\)"):
        modicum.Dict.from_name("old", data={"a": 1})  # type: ignore[call-arg]
    with pytest.warns(DeprecationError, match=r"Dict\.delete"):
        modicum.Dict.delete("old")
    with pytest.raises(AttributeError, match=r"use Queue\.from_name"):
        _ = modicum.Queue.persisted  # type: ignore[attr-defined]


async def test_async(server: subprocess.Popen[bytes]) -> None:
    async with modicum.Dict.ephemeral() as ours, modicum.Queue.ephemeral() as line:
        await ours.put.aio("a", 1)
        assert await ours.get.aio("a") == 1
        assert [key async for key in ours.keys.aio()] == ["a"]
        with pytest.raises(KeyError):
            await ours.pop.aio("b")
        with pytest.warns(AsyncUsageWarning):
            assert ours["a"] == 1
        waiting = [asyncio.ensure_future(line.get.aio()) for _ in range(3)]
        await asyncio.sleep(0)
        await line.put_many.aio([1, 2, 3])
        assert set(await asyncio.gather(*waiting)) == {1, 2, 3}
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(line.get.aio(), 0.05)
        await line.put.aio(4)
        assert [item async for item in line.iterate.aio()] == [4], "who was cancelled has taken nothing"
    with pytest.raises(NotFoundError):
        await ours.get.aio("a")


def test_functions_share_them(app: modicum.App, ours: modicum.Dict, line: modicum.Queue) -> None:
    assert programs.share.remote(ours, line.object_id) == "from here"
    assert (ours["there"], line.get(timeout=30)) == ("from there", 2)


def test_the_command_line(server: subprocess.Popen[bytes]) -> None:
    def run(*arguments: str, fails: bool = False) -> str:
        done = CliRunner().invoke(cli, arguments)
        assert (done.exception is not None) == fails, done
        return str(done.exception) if fails else done.output

    run("dict", "create", "cli")
    modicum.Dict.from_name("cli").update({"a": "x" * 100, ("b", 1): {"c": 2}})
    assert run("dict", "get", "cli", "a") == "x" * 100 + "\n"
    assert run("dict", "get", "cli", "b") == "None\n"
    assert {each["name"] for each in json.loads(run("dict", "list", "--json"))} == {"cli"}
    shown = run("dict", "items", "cli", "-r")
    assert "'" + "x" * 79 + "..." in shown and "('b', 1)" in shown
    assert "..." in run("dict", "items", "cli", "1").splitlines()[-1]
    assert len(json.loads(run("dict", "items", "cli", "--json"))) == 2
    assert "answer with `--yes`" in run("dict", "clear", "cli", fails=True)
    run("dict", "clear", "cli", "-y")
    assert run("dict", "items", "cli") == "the dict is empty\n"
    run("queue", "create", "cli")
    line = modicum.Queue.from_name("cli")
    line.put_many([1, "two", 3])
    line.put(4, partition="p")
    assert run("queue", "peek", "cli", "2") == "1\ntwo\n"
    assert (run("queue", "len", "cli"), run("queue", "len", "cli", "-t")) == ("3\n", "4\n")
    (told,) = json.loads(run("queue", "list", "--json"))
    assert (told["partitions"], told["total_size"]) == (2, 4)
    run("queue", "clear", "cli", "--all", "-y")
    assert line.len(total=True) == 0
    for kind in ("dict", "queue"):
        run(kind, "delete", "cli", "-y")
        run(kind, "delete", "cli", "-y", "--allow-missing")
        assert f"there is no {kind} named 'cli'; make it by" in run(kind, "delete", "cli", "-y", fails=True)


# -- who is killed ---------------------------------------------------------------------------------------------


def test_a_killed_client_takes_nothing_with_it(line: modicum.Queue) -> None:
    waiters = [start("wait", line.object_id) for _ in range(2)]
    for waiter in waiters:
        assert waiter.stdout is not None
        assert waiter.stdout.readline() == "waiting\n"
    waiters[0].kill()
    waiters[0].communicate()
    line.put("item")
    left = waiters[1].communicate(timeout=30)[0]
    assert left == "item\n"


def test_what_is_ephemeral_goes_with_its_process(server: subprocess.Popen[bytes]) -> None:
    holder = start("hold")
    assert holder.stdout is not None
    theirs = modicum.Dict.from_id(holder.stdout.readline().strip())
    assert theirs["a"] == 1
    holder.kill()
    holder.communicate()
    eventually(lambda: _is_gone(theirs))


def _is_gone(theirs: modicum.Dict) -> bool:
    try:
        theirs.get("a")
    except NotFoundError:
        return True
    return False


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home for servers that are killed; the clients start the next one."""
    _blocking.close_idle()
    monkeypatch.setenv("MODICUM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MODICUM_RUNTIME", "process")
    yield tmp_path / "home"
    with _server.connect() as link:
        _server.ask(link, {"t": "server.stop", "all": True})
    _blocking.close_idle()


def test_eight_processes_and_a_server_that_is_killed(own_home: Path) -> None:
    """Four put and four take while the server is killed twice: each number comes out once."""
    line = modicum.Queue.from_name("line", create_if_missing=True).hydrate()
    taken = modicum.Dict.from_name("taken", create_if_missing=True).hydrate()
    consumers = [start("consume", line.object_id, taken.object_id) for _ in range(4)]
    producers = [start("produce", line.object_id, str(100 * number), "20") for number in range(4)]
    for share in (15, 45):
        eventually(lambda share=share: taken.len() >= share, within_s=60)  # type: ignore[misc]
        os.kill(status()["pid"], signal.SIGKILL)
    put = [int(number) for each in producers for number in each.communicate(timeout=60)[0].split()]
    line.put_many([None] * 4)
    got = [int(number) for each in consumers for number in each.communicate(timeout=60)[0].split()]
    assert sorted(put) == sorted(got) == [100 * first + number for first in range(4) for number in range(20)]
    assert taken.len() == 80
    assert [each.returncode for each in (*producers, *consumers)] == [0] * 8
