"""Containers that have ended, and why."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "ended_containers",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("app", sa.String, nullable=False),
        sa.Column("app_name", sa.String, nullable=False),
        sa.Column("function", sa.String, nullable=False),
        sa.Column("function_name", sa.String, nullable=False),
        sa.Column("node", sa.String, nullable=False),
        sa.Column("started_at", sa.Float),
        sa.Column("ended_at", sa.Float, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("exit_code", sa.Integer),
        sa.Column("signal", sa.Integer),
    )
    op.create_index("ended_containers_by_time", "ended_containers", ["ended_at"])


def downgrade() -> None:
    """Remove the table."""
    op.drop_table("ended_containers")
