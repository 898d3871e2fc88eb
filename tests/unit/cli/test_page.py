"""The reference page of the command line is complete; `test_pages.py` sees to it that it is up to date."""

from __future__ import annotations

from modicum.cli.main import cli
from modicum.cli.page import render


def test_every_option_says_what_it_does() -> None:
    lines = [line for line in render(cli).splitlines() if line.startswith("| `")]
    assert len(lines) > 10
    assert not [line for line in lines if line.endswith("|  |")]
