"""What processes have used, as /proc and the kernel tell it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading

from modicum.runtimes.base import Usage
from modicum.runtimes.process_usage import Census, usage_at_end, usage_of


def test_a_living_process_counts_its_own_and_what_ended_below_it() -> None:
    os.times()
    usage = usage_of([os.getpid(), 1 << 30])  # there is no such process as the second
    ours = sum(os.times()[:4])
    assert usage.cpu_s is not None
    assert ours - 0.5 < usage.cpu_s <= ours + 0.02  # /proc counts in ticks of 10 ms
    assert usage.memory_bytes is not None
    assert usage.memory_bytes > 1 << 20
    assert usage_of([]) == Usage(0.0, 0, None)


def test_a_process_that_was_waited_for() -> None:
    process = subprocess.Popen([sys.executable, "-S", "-c", "bytearray(32 << 20)"])
    _, process.returncode, used = os.wait4(process.pid, 0)
    usage = usage_at_end(used)
    assert usage.cpu_s
    assert usage.memory_peak_bytes is not None
    assert usage.memory_peak_bytes > 32 << 20


def test_what_one_does_not_know_another_may() -> None:
    assert Usage(None, 0, 5).completed_by(Usage(2.0, 7, None)) == Usage(2.0, 0, 5)


async def test_who_asks_while_a_look_is_under_way_shares_it() -> None:
    gate, looks = threading.Event(), []

    def look() -> int:
        looks.append(1)
        gate.wait()
        return len(looks)

    census = Census(look)
    asking = [asyncio.ensure_future(census.take()) for _ in range(3)]
    await asyncio.sleep(0)
    asking[0].cancel()
    gate.set()
    assert await asyncio.gather(*asking[1:]) == [1, 1]
    assert await census.take() == 2, "the next one sees what is there then"
