"""What every test gets: the marker of its tier, which is its folder's name, and examples that no clock judges."""

from __future__ import annotations

from pathlib import Path

import hypothesis
import pytest

TESTS = Path(__file__).parent
MARKED = {"sim", "conformance", "processes", "real", "guest"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with its tier."""
    for item in items:
        tier = item.path.relative_to(TESTS).parts[0]
        if tier in MARKED:
            item.add_marker(tier)


# How long an example takes says how busy the machine is.
hypothesis.settings.register_profile("modicum", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("modicum")
