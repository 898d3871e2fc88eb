"""A core to drive by hand, invariants checked after every event."""

from __future__ import annotations

import pytest

from modicum.testing.sim_driver import Driver


@pytest.fixture
def core() -> Driver:
    return Driver()
