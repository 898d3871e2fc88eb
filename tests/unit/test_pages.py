"""The pages that are made of tables say what the tables say."""

from __future__ import annotations

import pytest

from tests import pages


@pytest.mark.parametrize("name", pages.PAGES)
def test_pages_are_up_to_date(name: str) -> None:
    assert (pages.FOLDER / name).read_text() == pages.PAGES[name](), "run scripts/docs"
