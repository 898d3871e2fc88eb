"""Fixtures for tests of the whole system: a home for each person that runs the tests."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.real.installation import Person, install
from tests.real.system.house import House


@pytest.fixture(scope="session")
def house(person: Person) -> Iterator[House]:
    """A home that all tests of the person share. Its build's name marks what runs in its containers."""
    for installation in install(person, {"MODICUM_BUILD": f"house-{os.urandom(6).hex()}"}):
        yield House(installation)
