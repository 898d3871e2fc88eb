"""Fixtures for tests of the whole system: a home for each person that runs the tests, and fresh ones."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

import pytest

from tests.real.installation import Person, install
from tests.real.system.house import House


class Builder(Protocol):
    """Gives a fresh home, by default in a temporary directory."""

    def __call__(self, folder: Path | None = None, **variables: str) -> House: ...


@pytest.fixture(scope="session")
def house(person: Person) -> Iterator[House]:
    """A home that all tests of the person share, whose image is built."""
    with _house(person, None, {}) as house:
        with house.client() as client:
            client.end()
        yield house


@pytest.fixture
def fresh(person: Person, house: House) -> Iterator[Builder]:
    """Makes homes for one test; nothing runs in them yet, and the image is there."""
    with ExitStack() as stack:
        yield lambda folder=None, **variables: stack.enter_context(_house(person, folder, variables))


@contextmanager
def _house(person: Person, folder: Path | None, variables: dict[str, str]) -> Iterator[House]:
    """Its build's name marks what runs in its containers."""
    settings = {"MODICUM_BUILD": f"house-{os.urandom(6).hex()}", **variables}
    for installation in install(person, settings, folder):
        yield House(installation)
