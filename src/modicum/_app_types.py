"""How what the server says of an app is told: `modal.types.AppInfo`."""

from __future__ import annotations

from datetime import datetime, timezone

from modicum.types import AppInfo, AppLifecycle, AppState

UTC = timezone.utc  # noqa: UP017 - `datetime.UTC` is of 3.11

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def app_info(facts: dict[str, Any]) -> AppInfo:
    """Return what the server tells of an app as users see it."""
    lifecycle = AppLifecycle(
        state=AppState(facts["state"]),
        version=facts["version"] or None,
        created_at=datetime.fromtimestamp(facts["created_at"], UTC),
        created_by=facts["created_by"],
        deployed_at=_moment(facts["deployed_at"]),
        deployed_by=facts["deployed_by"] or None,
        stopped_at=_moment(facts["ended_at"]),
    )
    return AppInfo(facts["app"], facts["name"], lifecycle, facts["functions"])


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
