"""What containers used."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "usage_hours",
        sa.Column("app", sa.String, primary_key=True),
        sa.Column("function", sa.String, primary_key=True),
        sa.Column("hour", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("resource", sa.String, primary_key=True),
        sa.Column("used", sa.Float, nullable=False),
        sa.Column("billed", sa.Float, nullable=False),
        sa.Column("app_name", sa.String, nullable=False),
        sa.Column("function_name", sa.String, nullable=False),
        sa.Column("tags", sa.Text, nullable=False),
    )
    op.create_index("usage_hours_by_hour", "usage_hours", ["hour"])
    op.create_table(
        "usage_readings",
        sa.Column("container", sa.String, primary_key=True),
        sa.Column("reading", sa.Text, nullable=False),
        sa.Column("read_at", sa.Float, nullable=False),
    )


def downgrade() -> None:
    """Forget them."""
    op.drop_table("usage_readings")
    op.drop_table("usage_hours")
