"""Calls, and how often their inputs have failed."""

from __future__ import annotations

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add them."""


def downgrade() -> None:
    """Forget them."""
