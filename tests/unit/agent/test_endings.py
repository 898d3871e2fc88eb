"""What is told of an input that failed, beside what its caller gets."""

from __future__ import annotations

import pytest

from modicum import _context
from modicum.agent.endings import SUMMARY_CHARS, failure, summary
from modicum.exception import InputCancellation
from modicum.wire.messages import EXCEPTION


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


def test_errors_are_in_the_log_if_nobody_may_see_them_elsewhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert failure(raised(ValueError("x")))[0] == EXCEPTION
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(_context, "logs_errors", True)
    failure(raised(InputCancellation("cancelled")))
    assert capsys.readouterr().err == ""
    failure(raised(ValueError("x")))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("Traceback") and "test_endings.py" in lines[1] and lines[-1] == "ValueError: x"


def test_a_summary_is_one_line() -> None:
    assert summary(RuntimeError("no\nweights")) == "RuntimeError: no weights"
    assert len(summary(RuntimeError("x" * 999))) == SUMMARY_CHARS
