"""What may be asked for of a machine, with the words in which Modal refuses, and how the server's remarks are told."""

from __future__ import annotations

from typing import Any

import pytest

from modicum import _remarks, _resources, output
from modicum._function_info import of_answer
from modicum.app import App
from modicum.exception import InvalidError

INF, NAN = float("inf"), float("nan")
NO_CORES: tuple[Any, ...] = (True, NAN, INF, "2", {}, (1, 2, 3), (1, None), (None, 1), (1, NAN))
NO_MIB: tuple[Any, ...] = (True, NAN, INF, "1g", 0.5, (1, "2"))
NO_DISK: tuple[Any, ...] = (False, NAN, "1", (1, 2))


@pytest.mark.parametrize(
    ("name", "value", "sent"),
    [
        ("cpu", 4, [4.0, None]),
        ("cpu", 0.125, [0.125, None]),
        ("cpu", (1.0, 4), [1.0, 4.0]),
        ("cpu", (2, 2), [2.0, 2.0]),
        ("memory", 8192, [8192, None]),
        ("memory", 1024.0, [1024, None]),  # Modal's client takes a float for nothing at all
        ("memory", (2048, 8192), [2048, 8192]),
        ("ephemeral_disk", 3_145_728, 3_145_728),
    ],
)
def test_what_is_asked_for(name: str, value: Any, sent: Any) -> None:
    assert getattr(_resources, name)(name, value) == sent


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("cpu", 0, "CPU request must be a positive number, not 0"),
        ("cpu", -1.5, "CPU request must be a positive number, not -1.5"),
        ("cpu", (0, 1), "CPU request must be a positive number, not 0"),
        ("cpu", (1, 0), "CPU limit must be a positive number, not 0"),
        ("cpu", (1.0, 0.5), "Cannot specify a CPU limit lower than request: 500 < 1000"),
        ("cpu", 0.0001, "CPU request must be from 0.001 to 4096 cores"),
        ("cpu", 1e9, "CPU request must be from 0.001 to 4096 cores"),
        ("cpu", 10**400, "CPU request must be from 0.001 to 4096 cores"),
        *(("cpu", value, "cpu must be a number of cores, or a tuple") for value in NO_CORES),
        ("memory", 0, "memory request must be a positive number of MiB, not 0"),
        ("memory", -1, "memory request must be a positive number of MiB, not -1"),
        ("memory", (512, 256), "Cannot specify a memory limit lower than request: 256 < 512"),
        ("memory", (128, 0), "memory limit must be a positive number of MiB, not 0"),
        ("memory", 1 << 40, "memory request must be at most 67,108,864 MiB"),
        *(("memory", value, "memory must be a whole number of MiB") for value in NO_MIB),
        ("memory", (1,), "memory must be a number of MiB, or a tuple"),
        ("ephemeral_disk", 3_145_729, "ephemeral_disk request must be at most 3,145,728 MiB, not 3145729"),
        ("ephemeral_disk", -1, "ephemeral_disk request must be a positive number of MiB"),
        *(("ephemeral_disk", value, "ephemeral_disk must be a whole number") for value in NO_DISK),
    ],
    ids=repr,
)
def test_what_makes_no_sense(name: str, value: Any, reason: str) -> None:
    with pytest.raises(InvalidError) as caught:
        App("a").function(serialized=True, **{name: value})
    assert reason in str(caught.value)
    with pytest.raises(InvalidError):
        App("a").cls(serialized=True, **{name: value})


def test_a_function_says_what_it_asks_for() -> None:
    least = {"timeout": 1, "startup_timeout": 1}
    options = {**least, "cpu": [1.0, 4.0], "memory": [2048, None], "ephemeral_disk": 5}
    found = of_answer({"options": options, "spec": {}, "image": "im-1"})
    assert (found.cpu, found.memory_mib, found.ephemeral_disk_mib) == ((1.0, 4.0), 2048, 5)
    nothing = of_answer({"options": least, "spec": {}, "image": "im-1"})
    assert (nothing.cpu, nothing.memory_mib, nothing.ephemeral_disk_mib) == (None, None, None)


@pytest.fixture
def untold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_remarks, "_told", set())


def test_each_remark_is_shown_once(untold: None, capsys: pytest.CaptureFixture[str]) -> None:
    with output.enable_output():
        _remarks.tell([{"remarks": ["a whole machine"]}, {}, {"remarks": ["a whole machine", "no limits"]}])
    assert capsys.readouterr().err == "warning: a whole machine\nwarning: no limits\n"
    _remarks.tell([{"remarks": ["no limits"]}])


def test_without_a_display_a_remark_is_a_warning(untold: None) -> None:
    with pytest.warns(UserWarning, match="a whole machine") as caught:
        _remarks.tell([{"remarks": ["a whole machine"]}])
    assert caught[0].filename == __file__
