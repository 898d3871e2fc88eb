"""Fixtures for tests of a real node that a test serves itself."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.real.installation import Person
from tests.real.node.harness import Bench, bench, give, maps_of, remove
from tests.real.node.rootfs import make_root


@pytest.fixture(scope="session")
def root(person: Person) -> Iterator[Path]:
    """A root directory for this person's containers."""
    folder = Path(tempfile.mkdtemp(prefix="modicum-root-"))
    folder.chmod(0o755)
    made = folder / "root"
    make_root(made)
    if os.geteuid() == 0:
        give(made, maps_of(person))
    yield made
    remove(folder)


@pytest.fixture
async def idle(person: Person, root: Path) -> AsyncIterator[Bench]:
    """A home whose keeper has not been started."""
    home = Path(tempfile.mkdtemp(prefix="modicum-node-"))
    async for made in bench(person, home, root):
        yield made


@pytest.fixture
async def node(idle: Bench) -> Bench:
    """A running node."""
    await idle.start()
    return idle
