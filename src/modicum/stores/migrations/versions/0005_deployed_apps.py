"""Apps that are deployed, and their versions."""

from __future__ import annotations

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add them."""


def downgrade() -> None:
    """Forget them."""
