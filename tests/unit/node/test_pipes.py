"""Are marks taken out of output wherever a read cuts them?"""

from __future__ import annotations

import asyncio
import os
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from modicum.node.pipes import MarkSplitter, OutputPipe

SAID = b"start\x1e\x02fc-1:0\x03one\n\x1e\x02fc-1:1\x03two\x1e\x02\x03end"
MEANT = {None: b"startend", "fc-1:0": b"one\n", "fc-1:1": b"two"}


def split(parts: list[bytes]) -> list[tuple[str | None, bytes]]:
    splitter = MarkSplitter()
    pieces = [piece for part in parts for piece in splitter.feed(part)]
    return pieces + splitter.finish()


def by_key(pieces: list[tuple[str | None, bytes]]) -> dict[str | None, bytes]:
    found: dict[str | None, bytes] = {}
    for key, data in pieces:
        found[key] = found.get(key, b"") + data
    return found


def test_whole() -> None:
    expected = [(None, b"start"), ("fc-1:0", b"one\n"), ("fc-1:1", b"two"), (None, b"end")]
    assert split([SAID]) == expected


def test_cut_at_every_place() -> None:
    for cut in range(len(SAID) + 1):
        assert by_key(split([SAID[:cut], SAID[cut:]])) == MEANT


def test_byte_by_byte() -> None:
    assert by_key(split([SAID[place : place + 1] for place in range(len(SAID))])) == MEANT


def test_what_only_resembles_a_mark_is_output() -> None:
    for said in (b"\x1e", b"a\x1eb", b"\x1e\x02 never ended", b"\x1e\x1e\x02", b"\x1e\x02" + b"x" * 300 + b"\x03"):
        assert b"".join(data for _, data in split([said])) == said


def test_a_mark_within_what_resembles_one() -> None:
    assert by_key(split([b"\x1e\x1e\x02k\x03v"])) == {None: b"\x1e", "k": b"v"}


INPUTS = [f"fc-{n}:0" for n in range(5)]


@given(
    st.lists(st.tuples(st.sampled_from(INPUTS), st.binary(min_size=1, max_size=6)), max_size=20),
    st.lists(st.integers(0, 400), max_size=12),
)
def test_many_inputs_that_print_by_turns_keep_what_is_theirs(said: list[tuple[str, bytes]], cuts: list[int]) -> None:
    said = [(key, data.replace(b"\x1e", b"")) for key, data in said]
    stream = b"".join(b"\x1e\x02" + key.encode() + b"\x03" + data for key, data in said)
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    pieces = split([stream[start:stop] for start, stop in pairwise(places)])
    expected = {key: b"".join(data for of, data in said if of == key) for key, _ in said}
    assert by_key(pieces) == {key: data for key, data in expected.items() if data}
    assert b"".join(data for _, data in pieces) == b"".join(data for _, data in said)  # and the order of all


def test_an_input_that_prints_amid_anothers_line() -> None:
    pieces = split([b"\x1e\x02fc-1:0\x03half \x1e\x02fc-2:0\x03whole\n\x1e\x02fc-1:0\x03done\n"])
    assert pieces == [("fc-1:0", b"half "), ("fc-2:0", b"whole\n"), ("fc-1:0", b"done\n")]


@given(st.lists(st.binary(max_size=20).map(lambda data: data.replace(b"\x1e", b"")), max_size=10))
def test_output_without_marks_passes_unchanged(parts: list[bytes]) -> None:
    assert by_key(split(parts)).get(None, b"") == b"".join(parts)


@given(
    st.binary(max_size=60).map(lambda data: data.translate(bytes(b"\x1e\x02\x03ab"[byte % 5] for byte in range(256))))
)
def test_any_cut_means_the_same(said: bytes) -> None:
    whole = by_key(split([said]))
    for cut in range(len(said)):
        assert by_key(split([said[:cut], said[cut:]])) == whole


async def test_a_pipe_is_read_paused_and_drained() -> None:
    heard: list[bytes] = []
    pipe = OutputPipe(heard.append)
    os.write(pipe.write_end, b"one")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert heard == [b"one"]
    pipe.pause()
    os.write(pipe.write_end, b"two")
    await asyncio.sleep(0)
    assert heard == [b"one"]
    pipe.drain()
    assert heard == [b"one", b"two"]
    pipe.resume()
    os.write(pipe.write_end, b"three")
    pipe.close_write_end()
    pipe.drain()
    pipe.close()
    assert heard == [b"one", b"two", b"three"]
