"""What `App.info()` tells; users know these as `modal.types.AppInfo`, `AppLifecycle` and `AppState`."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import UTC, datetime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class AppState(str, enum.Enum):  # noqa: UP042 - StrEnum is of 3.11
    """How an app is."""

    EPHEMERAL = "ephemeral"
    DETACHED = "detached"
    DEPLOYED = "deployed"
    STOPPING = "stopping"
    STOPPED = "stopped"


@dataclass
class AppLifecycle:
    """When an app came to be what it is, and by whom; None for what has not happened to it."""

    state: AppState
    version: int | None
    created_at: datetime
    created_by: str
    deployed_at: datetime | None
    deployed_by: str | None
    stopped_at: datetime | None


@dataclass(frozen=True)
class AppInfo:
    """An app, and the ids of its functions by their names."""

    app_id: str
    description: str
    lifecycle: AppLifecycle
    functions: dict[str, str]


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
