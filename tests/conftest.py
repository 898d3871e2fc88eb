"""What every test gets: the marker of its tier, which is its folder's name, examples that no clock judges, and company.

Where two processes run the tests, those that share a server or a home run in one of them.
"""

from __future__ import annotations

from pathlib import Path

import hypothesis
import pytest

TESTS = Path(__file__).parent
MARKED = {"sim", "conformance", "processes", "real", "guest"}


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist looks at the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with its tier, and with those that it is to run beside."""
    for item in items:
        tier = item.path.relative_to(TESTS).parts[0]
        if tier in MARKED:
            item.add_marker(tier)
        item.add_marker(pytest.mark.xdist_group(_company(tier, item)))


def _company(tier: str, item: pytest.Item) -> str:
    """Return the name of the group that a test runs with: whose homes it uses, its server's, or its file's."""
    if tier == "real":
        parameters: dict[str, object] = getattr(getattr(item, "callspec", None), "params", {})
        return str(parameters.get("person", "root"))
    return tier if tier == "processes" else item.path.stem


# How long an example takes says how busy the machine is.
hypothesis.settings.register_profile("modicum", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("modicum")
