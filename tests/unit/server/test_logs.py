"""Output can be read from any place on, waits for readers, and drops its oldest part at the limit."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from modicum.server.logs import Logs

KIB = 1024


@pytest.fixture
def logs(tmp_path: Path) -> Iterator[Logs]:
    made = Logs(tmp_path / "logs", 512 * KIB)
    made.open("ap-1")
    yield made
    for log in list(made._logs):
        made.remove(log)


async def read_all(logs: Logs, cursor: int = 0) -> tuple[list[tuple[str, str, bytes]], int]:
    """Return all entries from a cursor on, and how many bytes were dropped before them."""
    found: list[tuple[str, str, bytes]] = []
    lost = 0
    while True:
        cursor, entries, _, dropped = await logs.read("ap-1", cursor, 0)
        lost += dropped
        if not entries:
            return found, lost
        found += entries


async def test_entries_come_back_in_order(logs: Logs) -> None:
    written = [("stdout", "ta-1", b"one\n"), ("stderr", "ta-2", b""), ("system", "im-1", b"\x00\xff")]
    logs.append("ap-1", written)
    got, dropped = await read_all(logs)
    assert got == [written[0], written[2]]  # nothing was written, nothing is kept
    assert dropped == 0


async def test_a_cursor_goes_on_where_it_was(logs: Logs) -> None:
    logs.append("ap-1", [("stdout", "ta-1", b"one")])
    cursor, entries, ended, _ = await logs.read("ap-1", 0, 0)
    assert len(entries) == 1
    assert not ended
    logs.append("ap-1", [("stdout", "ta-1", b"two")])
    _, entries, _, _ = await logs.read("ap-1", cursor, 0)
    assert entries == [("stdout", "ta-1", b"two")]


async def test_large_texts_come_in_parts_and_reads_are_bounded(logs: Logs) -> None:
    text = os.urandom(900 * KIB // 4)
    logs.append("ap-1", [("stdout", "ta-1", text)])
    _, entries, _, _ = await logs.read("ap-1", 0, 0)
    assert sum(len(part) for _, _, part in entries) <= 2 * Logs.TEXT_MAX
    logs.append("ap-1", [("stdout", "ta-1", bytes(Logs.TEXT_MAX + 1))])
    got, _ = await read_all(logs)
    assert all(len(part) <= Logs.TEXT_MAX for _, _, part in got)
    assert b"".join(part for _, _, part in got) == text + bytes(Logs.TEXT_MAX + 1)


async def test_the_oldest_goes_and_the_reader_is_told_how_much(logs: Logs, tmp_path: Path) -> None:
    lines = [b"%06d " % n + bytes(8 * KIB) for n in range(200)]
    for line in lines:
        logs.append("ap-1", [("stdout", "ta-1", line)])
    used = sum(entry.stat().st_size for entry in os.scandir(tmp_path / "logs" / "ap-1"))
    assert used <= 9 * (64 + 9) * KIB
    got, dropped = await read_all(logs)
    assert [text for _, _, text in got] == lines[-len(got) :]
    per_line = (logs.end("ap-1")) // 200
    assert dropped == (200 - len(got)) * per_line > 0


async def test_a_cursor_amid_the_log_survives_the_loss_of_older_parts(logs: Logs) -> None:
    logs.append("ap-1", [("stdout", "ta-1", bytes(100 * KIB))])
    cursor, _, _, _ = await logs.read("ap-1", 0, 0)
    logs.append("ap-1", [("stdout", "ta-1", b"next")])
    _, entries, _, dropped = await logs.read("ap-1", cursor, 0)
    assert (entries, dropped) == ([("stdout", "ta-1", b"next")], 0)


async def test_reader_waits_for_output(logs: Logs) -> None:
    reader = asyncio.ensure_future(logs.read("ap-1", 0, 30))
    await asyncio.sleep(0)
    assert not reader.done()
    logs.append("ap-1", [("stdout", "ta-1", b"x")])
    assert (await reader)[1] == [("stdout", "ta-1", b"x")]


async def test_reader_is_told_of_the_end(logs: Logs) -> None:
    logs.append("ap-1", [("stdout", "ta-1", b"x")])
    cursor, _, ended, _ = await logs.read("ap-1", 0, 0)
    assert not ended
    reader = asyncio.ensure_future(logs.read("ap-1", cursor, 30))
    await asyncio.sleep(0)
    logs.finish("ap-1")
    assert await reader == (cursor, [], True, 0)
    assert (await logs.read("ap-1", 0, 30))[1:3] == ([("stdout", "ta-1", b"x")], True)


async def test_waiting_ends(logs: Logs) -> None:
    assert await logs.read("ap-1", 0, 0.001) == (0, [], False, 0)


async def test_a_log_that_is_there_goes_on(logs: Logs, tmp_path: Path) -> None:
    logs.append("ap-1", [("stdout", "ta-1", b"before")])
    logs._logs.pop("ap-1").close()
    again = Logs(tmp_path / "logs", 512 * KIB)
    assert again.known() == ["ap-1"]
    again.open("ap-1")
    again.append("ap-1", [("stdout", "ta-1", b"after")])
    got, _ = await read_all(again)
    assert [text for _, _, text in got] == [b"before", b"after"]
    again.remove("ap-1")
    assert again.known() == []


async def test_logs_that_are_not_there(logs: Logs) -> None:
    logs.append("ap-none", [("stdout", "ta-1", b"dropped")])
    logs.finish("ap-none")
    logs.remove("ap-none")
    assert logs.end("ap-none") == 0
    with pytest.raises(KeyError):
        await logs.read("ap-none", 0, 0)


async def test_log_that_was_cut_short_goes_on_behind_its_last_whole_record(tmp_path: Path) -> None:
    first = Logs(tmp_path / "torn", 512 * KIB)
    first.open("ap-1")
    first.append("ap-1", [("stdout", "ta-1", b"whole"), ("stdout", "ta-1", b"torn")])
    first._logs["ap-1"].close()
    (segment,) = (tmp_path / "torn" / "ap-1").iterdir()
    os.truncate(segment, segment.stat().st_size - 2)  # as a kill in mid-write leaves it
    again = Logs(tmp_path / "torn", 512 * KIB)
    again.open("ap-1")
    again.append("ap-1", [("stderr", "ta-2", b"later")])
    assert (await again.read("ap-1", 0, 0))[1] == [("stdout", "ta-1", b"whole"), ("stderr", "ta-2", b"later")]
    again.remove("ap-1")
