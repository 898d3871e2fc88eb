"""One node for all tests of images, since the bases take time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.real.images.site import NodeSite, make
from tests.real.installation import Person


@pytest.fixture(scope="session")
def site(person: Person) -> Iterator[NodeSite]:
    """A running node of root's, then one of an ordinary user's."""
    yield from make(person)
