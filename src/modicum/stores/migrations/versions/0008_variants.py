"""Functions with settings of their own."""

from __future__ import annotations

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add them."""


def downgrade() -> None:
    """Forget them."""
