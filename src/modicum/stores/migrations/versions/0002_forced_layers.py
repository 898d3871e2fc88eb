"""Layers that were forced stay so."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "forced_layers",
        sa.Column("definition", sa.String, primary_key=True),
        sa.Column("nonce", sa.String, nullable=False),
    )


def downgrade() -> None:
    """Remove the table."""
    op.drop_table("forced_layers")
