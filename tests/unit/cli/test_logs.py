"""Which moments are meant, how kept lines are shown, and which wishes are refused before anybody is asked."""

from __future__ import annotations

import json
import time
from datetime import datetime

import pytest
from click.testing import CliRunner

from modicum.cli import logs, moments
from modicum.cli.log_printing import JsonPrinter, LogPrinter
from modicum.cli.log_reading import Entry, Log
from modicum.cli.main import cli
from modicum.exception import InvalidError, NotFoundError

NOW = 1_800_000_000.0
LOG = Log("ap-1", "one", {"fu-1": "f", "fu-2": "g", "fu-3": "f", "fu-4": "Model.*"}, True)


@pytest.mark.parametrize(
    ("text", "ago"),
    [("90s", 90), ("30m", 1800), ("2h", 7200), ("1d", 86_400), ("1w", 604_800), ("1d12h", 129_600), (" 1.5h ", 5400)],
)
def test_how_long_ago(text: str, ago: float) -> None:
    assert moments.parse("--since", text, NOW) == NOW - ago


def test_dates_and_times() -> None:
    assert moments.parse("--since", "2026-03-01T05:00:00Z") == 1_772_341_200
    assert moments.parse("--since", "2026-03-01T05:00:00+02:00") == 1_772_341_200 - 7200
    here = datetime.strptime("2026-03-01 05:00", "%Y-%m-%d %H:%M").timestamp()  # noqa: DTZ007 - it is this machine's
    assert moments.parse("--since", "2026-03-01 05:00") == here


@pytest.mark.parametrize("text", ["", "2", "h", "2 h", "2y", "-2h", "yesterday", "2026-13-01"])
def test_what_is_no_moment(text: str) -> None:
    with pytest.raises(InvalidError, match=r"^--until .* is no moment: say how long ago"):
        moments.parse("--until", text)


def out(text: bytes, stream: str = "stdout", source: str = "ta-1", key: str = "fc-1:0") -> Entry:
    return Entry(stream, source, text, 1_800_000_000.5, "fu-1", key)


def shown(capsys: pytest.CaptureFixture[str], printer: LogPrinter | JsonPrinter, *entries: Entry) -> str:
    for entry in entries:
        printer.show(entry)
    printer.close()
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def test_all_streams_are_the_result(capsys: pytest.CaptureFixture[str]) -> None:
    entries = out(b"one\n"), out(b"two\n", "stderr"), out(b"three\n", "system")
    assert shown(capsys, LogPrinter([]), *entries) == "one\ntwo\nthree\n"


def test_what_stands_before_lines(capsys: pytest.CaptureFixture[str]) -> None:
    before = ["timestamp", "function_id", "function_call_id", "container_id"]
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(NOW))
    line = f"{stamp} fu-1 fc-1 ta-1 "
    assert shown(capsys, LogPrinter(before), out(b"one\ntwo\n")) == f"{line}one\n{line}two\n"
    assert shown(capsys, LogPrinter(["function_call_id"]), out(b"built\n", key="")) == "- built\n"


def test_lines_of_inputs_that_come_in_parts_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    entries = out(b"o", key="fc-1:0"), out(b"t", key="fc-2:0"), out(b"ne\n", key="fc-1:0"), out(b"wo\n", key="fc-2:0")
    assert shown(capsys, LogPrinter(["function_call_id"]), *entries) == "fc-1 one\nfc-2 two\n"


def test_an_unfinished_line_is_shown_when_nothing_comes(capsys: pytest.CaptureFixture[str]) -> None:
    printer = LogPrinter(["container_id"])
    printer.show(out(b"name? "))
    printer.show(out(b"", source="ta-2"))
    assert capsys.readouterr().out == ""
    printer.rest()
    assert capsys.readouterr().out == "ta-1 name? "
    assert shown(capsys, printer, out(b"none\n")) == "none\n"


def test_only_whole_lines_are_searched(capsys: pytest.CaptureFixture[str]) -> None:
    printer = LogPrinter([], "needle")
    printer.show(out(b"a nee"))
    printer.rest()
    assert shown(capsys, printer, out(b"dle\nhay\n")) == "a needle\n"


def test_an_object_for_each_line(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(
        capsys,
        JsonPrinter(LOG),
        out(b"o"),
        out(b"ne\ntwo \xff", key="fc-1:0"),
        Entry("system", "im-1", b"x\n", 0.0, "", ""),
    )
    one, built, two = map(json.loads, text.splitlines())
    assert one == {
        "timestamp": "2027-01-15T08:00:00.500+00:00", "source": "stdout", "message": "one", "app_id": "ap-1",
        "function_id": "fu-1", "function": "f", "function_call_id": "fc-1", "input": 0, "container_id": "ta-1",
    }  # fmt: skip
    assert two["message"] == "two �"
    assert [built[name] for name in ("function_id", "function_call_id", "input", "container_id")] == [None] * 4


def test_functions_go_by_name() -> None:
    assert logs.functions_named(LOG, "f") == ("fu-1", "fu-3")  # with its variants
    assert logs.functions_named(LOG, "fu-9") == ("fu-9",)
    assert logs.functions_named(LOG, "Model") == logs.functions_named(LOG, "Model.predict") == ("fu-4",)
    with pytest.raises(NotFoundError, match=r"app one has no function 'h' that has run; it has Model.\*, f, g"):
        logs.functions_named(LOG, "h")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["app", "logs", "x", "-f", "--until", "1h"], "--follow goes on"),
        (["app", "logs", "x", "--all", "-n", "5"], "two answers"),
        (["app", "logs", "x", "--since", "1h", "--until", "2h"], "--since 1h comes after --until 2h"),
        (["app", "logs", "x", "--call", "in-1"], "--call 'in-1' is no id: it begins with 'fc-'"),
        (["container", "logs", "co-1"], "CONTAINER 'co-1' is no id: it begins with 'ta-'"),
        (["function", "logs", "f"], "'f' names no function: say APP/NAME"),
    ],
)
def test_what_is_refused(monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str) -> None:
    monkeypatch.setattr(logs, "find", lambda of: LOG)
    result = CliRunner().invoke(cli, arguments)
    assert isinstance(result.exception, InvalidError)
    assert message in str(result.exception)
