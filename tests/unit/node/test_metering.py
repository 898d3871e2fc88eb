"""What a container's meter says, from reading to reading and at its end."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from modicum.node import containers
from modicum.node.layout import Layout
from modicum.node.metering import Meter
from modicum.runtimes.base import Limits, RuntimeFailure, Usage

MIB = 1 << 20


def total(seconds: float, cpu_s: float | None, mib_s: float, peak_mib: float | None) -> dict[str, Any]:
    peak = None if peak_mib is None else int(peak_mib * MIB)
    parts = {"cpu_s": cpu_s, "memory_mib_s": mib_s, "memory_peak_bytes": peak}
    return {"seconds": seconds, **parts, "request": {"cpus": 1}}


def test_memory_counts_from_reading_to_reading() -> None:
    meter = Meter({"cpus": 1}, 100.0)
    assert meter.read(Usage(1.0, 10 * MIB, 15 * MIB), 105.0) == total(5, 1.0, 50, 15)
    assert meter.read(Usage(2.0, 20 * MIB, 25 * MIB), 110.0) == total(10, 2.0, 50 + 50, 25)
    assert meter.end(Usage(2.5, 0, 30 * MIB), 112.0) == total(12, 2.5, 100 + 40, 30)
    assert meter.read(Usage(), 120.0) == total(12, 2.5, 140, 30)  # it was read while it ended


def test_one_that_was_never_read_is_counted_with_its_peak() -> None:
    assert Meter({"cpus": 1}, 0.0).end(Usage(0.5, 0, 8 * MIB), 2.0) == total(2, 0.5, 16, 8)


def test_what_is_not_counted_is_not_known() -> None:
    meter = Meter({"cpus": 1}, 0.0)
    assert meter.read(Usage(), 5.0) == total(5, None, 0, None)
    assert meter.end(Usage(), 6.0) == total(6, None, 0, None)


@pytest.mark.parametrize(
    ("limit", "peak", "text"),
    [
        (256, 255, "it ran out of memory: limit 256 MiB, peak 255 MiB; ask for more with memory=…"),
        (256, None, "it ran out of memory: limit 256 MiB; ask for more with memory=…"),
        (
            None,
            900,
            "the machine ran out of memory: it had no limit, peak 900 MiB; say with memory=… how much it needs",
        ),
    ],
)
def test_who_runs_out_of_memory_hears_how_much_he_had(limit: int | None, peak: int | None, text: str) -> None:
    tracked: Any = SimpleNamespace(limits=Limits(memory_bytes=None if limit is None else limit * MIB))
    usage = Usage(memory_peak_bytes=None if peak is None else peak * MIB)
    assert containers._why_out_of_memory(tracked, usage) == text


def test_a_disk_must_have_what_is_asked_for(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.containers.mkdir(parents=True)
    containers._check_disk(0, layout)
    containers._check_disk(MIB, layout)
    with pytest.raises(
        RuntimeFailure, match=r"it asks for 1099511627776 MiB of disk, and [0-9]+ MiB of [0-9]+ MiB are"
    ):
        containers._check_disk(1 << 60, layout)
