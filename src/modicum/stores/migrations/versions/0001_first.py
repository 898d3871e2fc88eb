"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "apps",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("key", sa.String, nullable=False, unique=True),
        sa.Column("created_at", sa.Float, nullable=False),
    )
    op.create_table(
        "functions",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("app", sa.String, sa.ForeignKey("apps.id", ondelete="CASCADE"), nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("definition", sa.Text, nullable=False),
        sa.Column("serialized", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "images",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("layers", sa.Text, nullable=False),
        sa.Column("config", sa.Text, nullable=False),
    )
    op.create_table(
        "inputs",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("call", sa.String, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("function", sa.String, sa.ForeignKey("functions.id", ondelete="CASCADE"), nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.Column("blob", sa.String),
        sa.Column("status", sa.String),
        sa.Column("output", sa.LargeBinary),
        sa.Column("output_blob", sa.String),
        sa.Column("finished_at", sa.Float),
    )
    op.create_index("inputs_by_call", "inputs", ["call", "position"], unique=True)


def downgrade() -> None:
    """Remove the tables."""
    for table in ("inputs", "images", "functions", "apps"):
        op.drop_table(table)
