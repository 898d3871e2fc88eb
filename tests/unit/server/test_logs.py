"""Output is read from any place on, waits for readers, outlives its app, and drops its oldest part at the limits."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from modicum.server import log_segments
from modicum.server.log_filter import Wanted
from modicum.server.log_segments import TEXT_MAX, Entry, Log
from modicum.server.logs import DAY_S, INLINE_BYTES, Logs

KIB = 1024


class Clock:
    """A time that stands until a test moves it. Files are written today, so it begins there."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path.stat().st_mtime)


@pytest.fixture
def logs(tmp_path: Path, clock: Clock) -> Iterator[Logs]:
    made = Logs(tmp_path / "logs", 512 * KIB, clock=clock)
    made.open("ap-1", "one")
    yield made
    made.close()


def said(text: bytes, stream: str = "stdout", source: str = "ta-1", function: str = "fu-1", key: str = "") -> Entry:
    return Entry(stream, source, text, function, key)


def again(logs: Logs, tmp_path: Path, clock: Clock) -> Logs:
    """Return the logs as the next server finds them."""
    logs.close()
    return Logs(tmp_path / "logs", 512 * KIB, clock=clock)


async def read_all(logs: Logs, cursor: int = 0, wanted: Wanted = Wanted()) -> tuple[list[Entry], int]:  # noqa: B008
    """Return all entries from a cursor on, and how many bytes were dropped before them."""
    found: list[Entry] = []
    lost = 0
    while True:
        before = cursor
        cursor, entries, _, dropped = await logs.read("ap-1", cursor, 0, wanted)
        lost += dropped
        found += entries
        if cursor == before:
            return found, lost


async def texts(logs: Logs, wanted: Wanted = Wanted()) -> list[bytes]:  # noqa: B008
    return [entry.text for entry in (await read_all(logs, 0, wanted))[0]]


async def test_entries_come_back_in_order_with_all_that_is_known_of_them(logs: Logs, clock: Clock) -> None:
    written = [
        said(b"one\n", key="fc-1:0"),
        said(b"", "stderr", "ta-2"),
        Entry("system", "im-1", b"\x00\xff"),
    ]
    logs.append("ap-1", written)
    got, dropped = await read_all(logs)
    # nothing was written, nothing is kept
    assert got == [written[0]._replace(time=clock.now), written[2]._replace(time=clock.now)]
    assert dropped == 0


async def test_a_cursor_goes_on_where_it_was(logs: Logs) -> None:
    logs.append("ap-1", [said(b"one")])
    cursor, entries, ended, _ = await logs.read("ap-1", 0, 0)
    assert len(entries) == 1
    assert not ended
    logs.append("ap-1", [said(b"two")])
    _, entries, _, _ = await logs.read("ap-1", cursor, 0)
    assert [entry.text for entry in entries] == [b"two"]


async def test_large_texts_come_in_parts_and_reads_are_bounded(logs: Logs) -> None:
    text = os.urandom(900 * KIB // 4)
    logs.append("ap-1", [said(text)])
    assert b"".join(await texts(logs)) == text
    cursor = 0
    for _ in range(10):
        cursor, entries, _, _ = await logs.read("ap-1", cursor, 0)
        assert all(len(entry.text) <= TEXT_MAX for entry in entries)
        assert sum(len(entry.text) for entry in entries) <= (64 + 64) * KIB  # a segment, and what it ended with


async def test_the_oldest_goes_and_the_reader_is_told_how_much(logs: Logs, tmp_path: Path) -> None:
    lines = [b"%06d " % n + bytes(8 * KIB) for n in range(200)]
    for line in lines:
        logs.append("ap-1", [said(line)])
    used = sum(entry.stat().st_size for entry in os.scandir(tmp_path / "logs" / "ap-1"))
    assert used <= (512 + 9) * KIB
    got, dropped = await read_all(logs)
    assert [entry.text for entry in got] == lines[-len(got) :]
    per_line = logs.end("ap-1") // 200
    assert dropped == (200 - len(got)) * per_line > 0


async def test_a_cursor_amid_the_log_survives_the_loss_of_older_parts(logs: Logs) -> None:
    logs.append("ap-1", [said(bytes(700 * KIB))])
    cursor = logs.end("ap-1")
    logs.append("ap-1", [said(b"next")])
    _, entries, _, dropped = await logs.read("ap-1", cursor, 0)
    assert ([entry.text for entry in entries], dropped) == ([b"next"], 0)


async def test_reader_waits_for_output(logs: Logs) -> None:
    reader = asyncio.ensure_future(logs.read("ap-1", 0, 30))
    await asyncio.sleep(0)
    assert not reader.done()
    logs.append("ap-1", [said(b"x")])
    assert (await reader).entries[0].text == b"x"


async def test_reader_is_told_of_the_end(logs: Logs) -> None:
    logs.append("ap-1", [said(b"x")])
    cursor, _, ended, _ = await logs.read("ap-1", 0, 0)
    assert not ended
    reader = asyncio.ensure_future(logs.read("ap-1", cursor, 30))
    await asyncio.sleep(0)
    logs.finish("ap-1")
    assert await reader == (cursor, [], True, 0)
    page = await logs.read("ap-1", 0, 30)
    assert ([entry.text for entry in page.entries], page.ended) == ([b"x"], True)


async def test_waiting_ends(logs: Logs) -> None:
    assert await logs.read("ap-1", 0, 0.001) == (0, [], False, 0)


async def test_a_log_goes_on_with_the_next_server(logs: Logs, tmp_path: Path, clock: Clock) -> None:
    logs.append("ap-1", [said(b"before")])
    end = logs.end("ap-1")
    later = again(logs, tmp_path, clock)
    later.open("ap-1", "one")
    later.append("ap-1", [said(b"after")])
    assert await texts(later) == [b"before", b"after"]
    assert [entry.text for entry in (await read_all(later, end))[0]] == [b"after"]  # cursors stay good
    later.close()


async def test_what_an_app_that_has_ended_wrote_is_found_after_a_restart(
    logs: Logs, tmp_path: Path, clock: Clock
) -> None:
    logs.append("ap-1", [said(b"last words")])
    logs.name("ap-1", "fu-1", "f")
    logs.name("ap-1", "fu-1", "f")
    clock.now += 5
    logs.open("ap-2", "two")
    later = again(logs, tmp_path, clock)
    assert await texts(later) == [b"last words"]
    found = await later.named()
    assert [(each.log, each.app, each.functions) for each in found] == [
        ("ap-2", "two", {}),
        ("ap-1", "one", {"fu-1": "f"}),
    ]
    assert not later.is_live("ap-1")


async def test_logs_that_are_not_there(logs: Logs) -> None:
    logs.append("ap-none", [said(b"dropped")])
    logs.name("ap-none", "fu-1", "f")
    logs.finish("ap-none")
    assert logs.end("ap-none") == 0
    with pytest.raises(KeyError):
        await logs.read("ap-none", 0, 0)
    with pytest.raises(KeyError):
        await logs.read_back("../logs/ap-1", None, 1)


async def test_log_that_was_cut_short_goes_on_behind_its_last_whole_record(
    logs: Logs, tmp_path: Path, clock: Clock
) -> None:
    logs.append("ap-1", [said(b"whole"), said(b"torn")])
    logs.close()
    (segment,) = (tmp_path / "logs" / "ap-1").glob("*.log")
    os.truncate(segment, segment.stat().st_size - 2)  # as a kill in mid-write leaves it
    for _ in range(2):  # also once it is no longer the newest
        logs = again(logs, tmp_path, clock)
        logs.open("ap-1", "one")
        logs.append("ap-1", [said(b"later")])
    assert await texts(logs) == [b"whole", b"later", b"later"]
    logs.close()


async def test_a_log_whose_only_record_was_cut_short(logs: Logs, tmp_path: Path, clock: Clock) -> None:
    logs.append("ap-1", [said(b"torn")])
    logs.close()
    (segment,) = (tmp_path / "logs" / "ap-1").glob("*.log")
    os.truncate(segment, 7)
    later = Logs(tmp_path / "logs", 512 * KIB, clock=clock)
    later.open("ap-1", "one")
    later.append("ap-1", [said(b"later")])
    assert await texts(later) == [b"later"]
    later.close()


async def test_work_goes_on_with_a_full_disk(logs: Logs, monkeypatch: pytest.MonkeyPatch) -> None:
    logs.append("ap-1", [said(b"before")])

    def full(log: Log, now: float) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Log, "_settle", full)
        logs.append("ap-1", [said(b"late")])
    logs.append("ap-1", [said(b"after")])
    assert await texts(logs) == [b"before", b"late", b"after"]


async def test_names_and_new_segments_wait_for_room(logs: Logs, tmp_path: Path) -> None:
    folder, aside = tmp_path / "logs" / "ap-1", tmp_path / "aside"
    folder.rename(aside)
    for _ in range(3):
        logs.append("ap-1", [said(b"lost")])
        logs.name("ap-1", "fu-1", "f")
    aside.rename(folder)
    logs.append("ap-1", [said(b"kept")])
    logs.name("ap-1", "fu-1", "f")
    assert await texts(logs) == [b"kept"]
    assert len(logs._live["ap-1"].log.segments) == 1
    assert log_segments.names(folder).functions == {"fu-1": "f"}


async def test_it_is_read_back_part_by_part(logs: Logs) -> None:
    for n in range(100):
        logs.append("ap-1", [said(b"%02d %s\n" % (n, bytes(4 * KIB).replace(b"\0", b".")))])
    page = await logs.read_back("ap-1", None, 3)
    assert [entry.text[:2] for entry in page.entries] == [b"97", b"98", b"99"]
    found: list[bytes] = []
    cursor: int | None = None
    ended = False
    while not ended:
        cursor, entries, ended, _ = await logs.read_back("ap-1", cursor, 1000)
        found = [entry.text[:2] for entry in entries] + found
    assert found == [b"%02d" % n for n in range(100)]


async def test_only_the_part_of_a_time_is_read(logs: Logs, clock: Clock) -> None:
    began = clock.now
    for hour in range(5):
        clock.now = began + hour * 3600
        logs.append("ap-1", [said(b"%d" % hour + bytes(INLINE_BYTES - 1))])  # each in a segment of its own
    wanted = Wanted(since=began + 3600, until=began + 3 * 3600)
    assert [text[:1] for text in await texts(logs, wanted)] == [b"1", b"2", b"3"]
    last = await logs.read("ap-1", 0, 0, Wanted(since=began + 4 * 3600))
    assert last.entries[0].text[:1] == b"4"  # what is older was not even read
    pages = [await logs.read_back("ap-1", None, 10, Wanted(until=began + 1800))]
    while not pages[-1].ended:
        pages.append(await logs.read_back("ap-1", pages[-1].cursor, 10, Wanted(until=began + 1800)))
    assert [len(page.entries) for page in pages] == [0, 1]  # nor was what is newer


async def test_what_is_old_goes(logs: Logs, tmp_path: Path, clock: Clock) -> None:
    logs.append("ap-1", [said(b"old")])
    clock.now += DAY_S
    logs.append("ap-1", [said(b"new")])  # in another segment
    cursor = logs.end("ap-1")
    for segment in (tmp_path / "logs" / "ap-1").glob("*.log"):
        day = 0 if segment.read_bytes().endswith(b"old") else 1
        os.utime(segment, (clock.now, clock.now + (day - 1) * DAY_S))
    clock.now += 5.9 * DAY_S
    await logs.sweep()
    assert await texts(logs) == [b"old", b"new"]
    clock.now += 0.2 * DAY_S
    await logs.sweep()
    assert await texts(logs) == [b"new"]
    logs.append("ap-1", [said(b"newest")])
    assert [entry.text for entry in (await read_all(logs, cursor))[0]] == [b"newest"]


async def test_an_app_that_was_silent_for_long_goes_on(logs: Logs, clock: Clock) -> None:
    logs.append("ap-1", [said(b"old")])
    cursor = logs.end("ap-1")
    clock.now += 8 * DAY_S
    await logs.sweep()
    assert await texts(logs) == []
    logs.append("ap-1", [said(b"new")])
    assert [entry.text for entry in (await read_all(logs, cursor))[0]] == [b"new"]


async def test_logs_of_apps_that_ended_long_ago_go_as_a_whole(logs: Logs, tmp_path: Path, clock: Clock) -> None:
    logs.append("ap-1", [said(b"x")])
    logs.finish("ap-1")
    logs.open("ap-2", "two")
    logs.finish("ap-2")
    await logs.sweep()
    assert sorted(logs.known()) == ["ap-1", "ap-2"]
    clock.now += 8 * DAY_S
    await logs.sweep()
    assert not list((tmp_path / "logs").glob("*/*.log"))
    assert logs.known() == []


async def test_all_logs_together_are_bounded(tmp_path: Path, clock: Clock) -> None:
    logs = Logs(tmp_path / "all", 512 * KIB, 150 * KIB, clock=clock)
    for app in ("ap-1", "ap-2", "ap-3"):
        logs.open(app, app)
        logs.append(app, [said(bytes(60 * KIB))])
    logs.finish("ap-2")
    await logs.sweep()
    assert [each.parent.name for each in sorted((tmp_path / "all").glob("*/*.log"))] == ["ap-1", "ap-3"]
    logs.close()
