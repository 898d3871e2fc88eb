"""Fixtures of the real tier: installations of root's and of an ordinary user's, kept for the whole run.

Building the first image takes longer than any test, so all tests of one person share a home and what it has cached.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.real.installation import Installation, Person, install, myself, ordinary


@pytest.fixture(scope="session", params=["root", "ordinary"])
def person(request: pytest.FixtureRequest) -> Iterator[Person]:
    """Who uses Modicum: root, and a user without any privilege. Without root only whoever runs the tests."""
    if os.geteuid() == 0:
        yield from iter([myself()]) if request.param == "root" else ordinary()
    elif request.param == "ordinary":
        yield myself()
    else:
        pytest.skip("needs root")


@pytest.fixture(scope="session")
def installation(person: Person) -> Iterator[Installation]:
    """The person's running Modicum, on a machine that is taken to have GPUs."""
    yield from install(person, {"MODICUM_GPUS": "H100:8,A100-40GB:2"})
