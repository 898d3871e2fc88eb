"""When functions are due."""

from __future__ import annotations

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add them."""


def downgrade() -> None:
    """Forget them."""
