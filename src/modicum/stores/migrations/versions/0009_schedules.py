"""When functions are due."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "schedules",
        sa.Column("function", sa.String, sa.ForeignKey("functions.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("schedule", sa.Text, nullable=False),
        sa.Column("since", sa.Float, nullable=False),
        sa.Column("marked", sa.Float, nullable=False),
        sa.Column("call", sa.String),
        sa.Column("skipped", sa.Integer, nullable=False, server_default="0"),
    )


def downgrade() -> None:
    """Remove the table."""
    op.drop_table("schedules")
