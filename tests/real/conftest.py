"""Fixtures of the real tier: installations of root's and of an ordinary user's, kept for the whole run.

Building the first image takes longer than any test, so all tests of one person share a home and what it has cached.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.real.installation import Installation, Person, install, myself, ordinary


@pytest.fixture(scope="session", params=["root", "ordinary"])
def person(request: pytest.FixtureRequest) -> Iterator[Person]:
    """Who uses Modicum: root, and a user without any privilege. Without root only whoever runs the tests."""
    if os.geteuid() == 0 and request.param == "root":
        yield myself()
    elif os.geteuid() == 0:
        with _way_out():
            yield from ordinary()
    elif request.param == "ordinary":
        yield myself()
    else:
        pytest.skip("needs root")


@contextmanager
def _way_out() -> Iterator[None]:
    """Let an ordinary user make a way out for containers, as udev does on any usual machine."""
    device = Path("/dev/net/tun")
    mode = device.stat().st_mode
    device.chmod(0o666)
    try:
        yield
    finally:
        device.chmod(mode)


@pytest.fixture(scope="session")
def installation(person: Person) -> Iterator[Installation]:
    """The person's running Modicum, on a machine that is taken to have GPUs."""
    yield from install(person, {"MODICUM_GPUS": "H100:8,A100-40GB:2"})
