"""Containers that have ended are forgotten by age, and by number."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from modicum.stores import ends
from modicum.stores.database import Database
from modicum.stores.ends import Ended


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(f"sqlite:///{tmp_path}/store.db")
    yield made
    made.close()


@pytest.mark.parametrize(("before", "most", "left"), [(0, 9, 5), (3, 9, 3), (0, 2, 2), (5, 2, 1), (9, 9, 0), (0, 0, 0)])
async def test_the_newest_are_kept_for_their_time(database: Database, before: float, most: int, left: int) -> None:
    for n in range(1, 6):
        ended = Ended(f"ta-{n}", "ap-1", "a", "fu-1", "f", "n", None, float(n), "crashed", "why")
        await database.submit(ends.add(ended))
    await database.submit(ends.forget(before, most))
    found = await database.submit(ends.newest(9))
    assert [each["id"] for each in found] == [f"ta-{5 - n}" for n in range(left)]
