"""What every test gets: the marker of its tier, which is its folder's name, examples that no clock judges, and company.

Where two processes run the tests, those that share a server or a home run in one of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.scheduler import LoadScopeScheduling

TESTS = Path(__file__).parent
MARKED = {"sim", "conformance", "processes", "real", "guest"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with its tier."""
    for item in items:
        tier = item.path.relative_to(TESTS).parts[0]
        if tier in MARKED:
            item.add_marker(tier)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Hand tests out in groups."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return group(nodeid)

    return Scheduling(config, log)


def group(nodeid: str) -> str:
    """Return what a test shares with others: a person's homes and their images, a server, or its file's fixtures."""
    path, _, name = nodeid.partition("::")
    tier = path.split("/")[1]
    if tier == "real":
        return "real, ordinary" if "ordinary" in name.partition("[")[2] else "real, root"
    return tier if tier == "processes" else path


# How long an example takes says how busy the machine is.
hypothesis.settings.register_profile("modicum", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("modicum")
