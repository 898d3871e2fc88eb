"""The reference page says what the commands say."""

from __future__ import annotations

from pathlib import Path

from modicum.cli.main import cli
from modicum.cli.page import render

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "cli.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == render(cli), "run scripts/docs"


def test_every_option_says_what_it_does() -> None:
    lines = [line for line in render(cli).splitlines() if line.startswith("| `")]
    assert len(lines) > 10
    assert not [line for line in lines if line.endswith("|  |")]
