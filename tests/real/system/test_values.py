"""Do values of any size come through, in both directions, without filling up what stands between? And all output?"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.real.installation import Person, wait_until
from tests.real.system.house import Client, House

pytestmark = pytest.mark.timeout(300)  # the first one may build the image

MIB = 1 << 20
LARGEST = 500 * MIB
SIZES = [0, 1, MIB - 1, MIB, MIB + 1, 2 * MIB, 100 * MIB + 1, LARGEST]
PEAK_MIB_MAX = 300
STREAMED = 500


def forget_peak(house: House) -> int:
    """Have the server's peak begin anew; return its pid."""
    server: int = house.status()["pid"]
    Path(f"/proc/{server}/clear_refs").write_text("5")
    return server


def peak_mib(pid: int) -> int:
    """Return the most memory that a process ever had."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("VmHWM:")[2].split()[0]) >> 10


@pytest.mark.parametrize("size", SIZES)
def test_there_and_back(house: House, person: Person, size: int) -> None:
    if size == LARGEST and person.name != "root":
        pytest.skip("one is enough to see that nothing fills up: who runs it makes no difference to that")
    with house.client() as client:
        server = forget_peak(house)
        assert client.ask("echo", "echoed", size=size)["same"]
        assert client.ask("make", "made", size=size)["same"]
        assert peak_mib(server) < PEAK_MIB_MAX
        client.end()
    assert not list((house.home / "blobs").glob("bl-*"))


def test_a_slow_reader_fills_nothing_up(house: House) -> None:
    with house.client() as client:
        server = forget_peak(house)
        client.tell("stream", count=STREAMED, size=MIB, pause_after=20)
        client.wait("paused")
        trace = house.trace()
        (container,) = house.containers(client)
        agent = house.agent(trace, container).pid
        wait_idle(agent, client)
        client.tell("resume")
        assert client.wait("streamed")["total"] == STREAMED * MIB
        peaks = {"server": peak_mib(server), "agent": peak_mib(agent)}
        assert max(peaks.values()) < PEAK_MIB_MAX, peaks
        client.end()


def wait_idle(agent: int, client: Client) -> None:
    """Return when the agent has stopped producing."""
    last = -1

    def stands_still() -> bool:
        nonlocal last
        fields = Path(f"/proc/{agent}/stat").read_text().rpartition(")")[2].split()
        spent = int(fields[11]) + int(fields[12])
        last, before = spent, last
        return spent == before

    for _ in range(5):
        wait_until(stands_still, client.story, within_s=20)


@pytest.mark.parametrize("how", ["exit", "segfault"])
def test_the_last_words_of_a_dying_process_arrive(house: House, how: str) -> None:
    with house.client() as client:
        client.tell("die", how=how)
        client.wait("failed")
        client.end()
        once = [f"line {number}" for number in range(1000)] + ["last words"]
        by_run: dict[str, str] = {}
        for event in client.events:
            if event["event"] == "output" and event["stream"] == "stdout":
                by_run[event["source"]] = by_run.get(event["source"], "") + event["text"]
        assert by_run
        for text in by_run.values():
            assert text.splitlines() == once
    house.wait_settled()
