"""What of its machine a container may use, what is kept for it, and what its user hears of that beforehand."""

from __future__ import annotations

from typing import Any

import pytest

from modicum.server import admission, limits
from modicum.server.api.options import check_options
from modicum.server.parts import Parts
from modicum.server.records import Function
from modicum.server.specs import spec_of
from modicum.wire.channel import Channel
from tests.unit.server.test_specs import LEAST, function

GIB = 1 << 30


@pytest.mark.parametrize(
    ("options", "cpus", "memory_bytes"),
    [
        ({}, None, None),  # 0.125 + 16 cores are more than there are
        ({"cpu": [2.0, None]}, None, None),
        ({"cpu": [1.0, 4.0]}, 4.0, None),
        ({"cpu": [1.0, 8.0]}, None, None),  # as many as there are
        ({"memory": [2048, None]}, None, None),
        ({"memory": [2048, 8192]}, None, 8 * GIB),
    ],
)
def test_limits(options: dict[str, Any], cpus: float | None, memory_bytes: int | None) -> None:
    assert limits.limits(options, 8) == {"pids": 4096, "cpus": cpus, "memory_bytes": memory_bytes}


def test_a_burst_ends_on_a_large_machine() -> None:
    assert limits.limits({}, 64)["cpus"] == 16.125
    assert limits.limits({"cpu": [4.0, None]}, 64)["cpus"] == 20


def test_what_is_kept() -> None:
    assert limits.request({}, 8) == {"cpus": 0.125, "memory_bytes": GIB // 8, "disk_bytes": 0}
    large = {"cpu": [64.0, None], "memory": [1024, None], "ephemeral_disk": 2048}
    assert limits.request(large, 8) == {"cpus": 8, "memory_bytes": GIB, "disk_bytes": 2 * GIB}


@pytest.mark.parametrize(("cpu", "threads"), [(0.125, "1"), (1.0, "1"), (1.5, "2"), (4.0, "4"), (64.0, "8")])
def test_threads(cpu: float, threads: str) -> None:
    found = limits.thread_variables({"cpu": [cpu, None]}, 8)
    assert found == dict.fromkeys(limits.THREADS, threads)
    assert limits.thread_variables({}, 8) == {}, "who asks for no CPUs may use all of them"


def test_the_core_hears_of_requests() -> None:
    spec = spec_of(function(cpu=[2.0, 4.0], memory=[512, None]))
    assert (spec.cpu, spec.memory_mib) == (2.0, 512)


@pytest.mark.parametrize(
    "options",
    [
        *({"cpu": cpu} for cpu in (2.0, [2.0], [0, None], [2.0, 1.0], [True, None], [float("nan"), None], ["1", None])),
        *({"memory": memory} for memory in (512, [0, None], [512, 256], [1.5, None], [1 << 40, None])),
        *({"ephemeral_disk": disk} for disk in (0, 3_145_729, [1, None], 1.0)),
    ],
    ids=repr,
)
def test_the_server_checks_them_again(options: dict[str, Any]) -> None:
    check_options({**LEAST, "cpu": [0.5, 1], "memory": [1, 1], "ephemeral_disk": 1})
    with pytest.raises((ValueError, TypeError)):
        check_options({**LEAST, **options})


async def remarks(parts: Parts, **options: Any) -> list[str]:
    return await admission.remarks(parts.fleet, parts.controller.state, function(**options))


def machine(parts: Parts, sentence: str = "limits enforced on cgroup v2") -> None:
    parts.fleet.node_facts["n"] = {"cpus": 2, "memory_bytes": 4 * GIB, "limits": sentence}
    parts.fleet.nodes["n"] = Channel(lambda *_: None)
    parts.fleet.node_joined.set()
    parts.controller.state.cluster.join("n", 2, 4096)


async def test_what_is_too_large_is_said_before_it_runs(parts: Parts) -> None:
    machine(parts)
    assert await remarks(parts) == []
    assert await remarks(parts, cpu=[2.0, None], memory=[4096, 8192]) == []
    assert await remarks(parts, cpu=[4.0, None]) == [
        "'f' asks for 4 CPUs, and no machine has more than 2: each of its containers gets a whole one"
    ]
    why = "its container needs 0.125 CPUs and 4097 MiB, more than any machine has: n (2 CPUs, 4096 MiB)"
    assert await remarks(parts, memory=[4097, None]) == [f"calls of 'f' fail: {why}"]


async def test_limits_that_do_not_hold_are_said(parts: Parts) -> None:
    machine(parts, "limits not enforced: no writable cgroup")
    assert await remarks(parts, cpu=[1.0, None]) == []
    said = ["limits not enforced: no writable cgroup; functions here may use more"]
    assert await remarks(parts, cpu=[1.0, 1.0]) == await remarks(parts, memory=[1, 1]) == said


async def test_a_machine_that_does_not_come_is_not_waited_for_long(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "NODE_WAIT_S", 0)
    asked: Function = function(cpu=[4.0, None])
    assert await admission.remarks(parts.fleet, parts.controller.state, asked) == []
