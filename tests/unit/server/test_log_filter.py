"""Which lines are wanted, however they came."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modicum.server.log_filter import Wanted, last_lines, lines_with
from modicum.server.log_segments import Entry

ENTRIES = [
    Entry("stdout", "ta-1", b"a\n", "fu-1", "fc-1:0", 1.0),
    Entry("stderr", "ta-1", b"b\n", "fu-1", "fc-1:1", 2.0),
    Entry("stdout", "ta-2", b"c\n", "fu-2", "fc-2:0", 3.0),
    Entry("system", "ta-2", b"d\n", "fu-2", "", 4.0),
    Entry("stdout", "ta-1", b"e\n", "fu-1", "fc-10:0", 5.0),
]


@pytest.mark.parametrize(
    ("wanted", "letters"),
    [
        (Wanted(), b"abcde"),
        (Wanted(streams=frozenset({"stdout"})), b"ace"),
        (Wanted(streams=frozenset({"stdout", "system"})), b"acde"),
        (Wanted(functions=frozenset({"fu-2"})), b"cd"),
        (Wanted(functions=frozenset({"fu-1", "fu-2"})), b"abcde"),
        (Wanted(container="ta-1"), b"abe"),
        (Wanted(call="fc-1"), b"ab"),  # and not fc-10
        (Wanted(call="fc-1:1"), b"b"),
        (Wanted(since=2.0, until=4.0), b"bcd"),
        (Wanted(search="c"), b"c"),
        (Wanted(search="c", container="ta-1"), b""),
    ],
)
def test_what_is_wanted(wanted: Wanted, letters: bytes) -> None:
    assert b"".join(entry.text.strip() for entry in wanted.of(ENTRIES)) == letters


def out(text: bytes, source: str = "ta-1", key: str = "") -> Entry:
    return Entry("stdout", source, text, "fu-1", key)


def test_a_line_is_found_that_came_in_two_parts_with_others_between() -> None:
    entries = [out(b"no\nhay"), out(b"straw\n", "ta-2"), out(b"stack needle\nno\n")]
    assert [entry.text for entry in lines_with(entries, "haystack")] == [b"haystack needle\n"]


def test_lines_of_two_inputs_are_not_joined() -> None:
    entries = [out(b"nee", key="fc-1:0"), out(b"dle\n", key="fc-1:1")]
    assert lines_with(entries, "needle") == []


def test_an_unfinished_line_is_found_too() -> None:
    assert [entry.text for entry in lines_with([out(b"x\nneedle")], "needle")] == [b"needle"]


@given(
    st.lists(st.sampled_from([b"a", b"b", b"\n"]), max_size=30).map(b"".join), st.lists(st.integers(0, 30), max_size=5)
)
def test_however_the_output_was_cut_the_same_lines_are_found(text: bytes, cuts: list[int]) -> None:
    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    parts = [out(text[start:stop]) for start, stop in pairwise(places)]
    expected = [line for line in text.split(b"\n") if b"ab" in line]
    found = b"".join(entry.text for entry in lines_with(parts, "ab"))
    assert [line for line in found.split(b"\n") if line] == expected


def test_the_last_lines() -> None:
    entries = [out(b"1\n2\n"), out(b"3\n"), out(b"4\n5\n6")]
    assert [entry.text for entry in last_lines(entries, 2)] == [b"5\n6"]
    assert [entry.text for entry in last_lines(entries, 5)] == [b"2\n", b"3\n", b"4\n5\n6"]
    assert last_lines(entries, 100) == entries
    assert last_lines(entries, 0) == []
