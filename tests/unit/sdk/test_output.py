"""What of the containers' output reaches the terminal, and when."""

from __future__ import annotations

import os
import re
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modicum.output import LinePrinter


def test_whole_lines_only(capsys: pytest.CaptureFixture[str]) -> None:
    show = LinePrinter()
    show("stdout", "ta-1", b"one\ntw")
    assert capsys.readouterr().out == "one\n"
    show("stdout", "ta-2", b"other\n")
    show("stdout", "ta-1", b"o\nthree")
    assert capsys.readouterr().out == "other\ntwo\n"
    show.close()
    assert capsys.readouterr().out == "three\n"
    show.close()
    assert capsys.readouterr().out == ""


def test_a_reader_who_has_gone_stops_his_own_stream_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w", closefd=False) as gone:
        show = LinePrinter()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", gone)
            show("stdout", "ta-1", b"one\ntwo")
            show("stderr", "ta-1", b"still read\n")
            show.close()
        os.dup2(os.open(os.devnull, os.O_WRONLY), writing)  # what is left in its buffer goes there
    os.close(writing)
    assert capsys.readouterr().err == "still read\n"


def test_streams_go_where_they_belong(capsys: pytest.CaptureFixture[str]) -> None:
    show = LinePrinter()
    for stream in ("stdout", "stderr", "system"):
        show(stream, "ta-1", f"{stream}\n".encode())
    assert capsys.readouterr() == ("stdout\n", "stderr\nsystem\n")


def test_quiet_hides_the_system_alone(capsys: pytest.CaptureFixture[str]) -> None:
    show = LinePrinter(quiet=True)
    show("system", "im-1", b"building\n")
    show("stderr", "ta-1", b"mine\n")
    assert capsys.readouterr() == ("", "mine\n")


def test_a_character_cut_in_two(capsys: pytest.CaptureFixture[str]) -> None:
    show = LinePrinter()
    for byte in "grün\n".encode():
        show("stdout", "ta-1", bytes([byte]))
    show("stdout", "ta-1", b"\xff\n")
    assert capsys.readouterr().out == "grün\n\ufffd\n"


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.text(alphabet="xy\n", max_size=6)), max_size=12))
def test_nothing_is_lost_and_no_lines_are_mixed(
    capsys: pytest.CaptureFixture[str], writes: list[tuple[str, str]]
) -> None:
    show = LinePrinter()
    for source, text in writes:
        show("stdout", source, text.replace("x", source).replace("y", source).encode())
    show.close()
    lines = capsys.readouterr().out.splitlines()
    assert not any("a" in line and "b" in line for line in lines)
    assert "".join(lines).count("a") == sum(len(t.replace("\n", "")) for s, t in writes if s == "a")


def test_an_unfinished_line_is_shown_when_nothing_comes(capsys: pytest.CaptureFixture[str]) -> None:
    show = LinePrinter()
    show("stdout", "ta-1", b"name? ")
    assert show.is_unfinished
    assert capsys.readouterr().out == ""
    show.rest()
    assert not show.is_unfinished
    assert capsys.readouterr().out == "name? "
    show("stdout", "ta-1", b"Ada\n")
    assert capsys.readouterr().out == "Ada\n"


def test_another_line_begins_behind_an_unfinished_one(capsys: pytest.CaptureFixture[str]) -> None:
    show = LinePrinter()
    show("stdout", "ta-1", b"..")
    show.rest()
    show("stdout", "ta-2", b"other\n")
    show("stdout", "ta-1", b".\n")
    assert capsys.readouterr().out == "..\nother\n.\n"


def test_progress_that_returns_to_the_lines_start(capsys: pytest.CaptureFixture[str]) -> None:
    show = LinePrinter()
    show("stderr", "ta-1", b"\r10 %\r20 %")
    assert capsys.readouterr().err == "\r10 %\r"


def test_half_a_character_waits_for_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    show = LinePrinter()
    show("stdout", "ta-1", "né".encode()[:-1])
    show.rest()
    assert capsys.readouterr().out == "n"
    show("stdout", "ta-1", "né".encode()[-1:] + b"\n")
    assert capsys.readouterr().out == "é\n"


def test_the_time_stands_before_each_line_once(capsys: pytest.CaptureFixture[str]) -> None:
    show = LinePrinter(timestamps=True)
    show("stdout", "ta-1", b"one\ntwo\nthr")
    show.rest()
    show("stdout", "ta-1", b"ee\n")
    stamp = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d "
    assert re.fullmatch(f"{stamp}one\n{stamp}two\n{stamp}three\n", capsys.readouterr().out)
