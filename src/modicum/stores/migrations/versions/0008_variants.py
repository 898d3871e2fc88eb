"""Functions with settings of their own, and how functions did."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add them."""
    op.add_column("functions", sa.Column("parent", sa.String))
    op.add_column("functions", sa.Column("settings", sa.Text, nullable=False, server_default="{}"))
    op.add_column("functions", sa.Column("parameters", sa.Text))
    op.add_column("functions", sa.Column("overrides", sa.Text, nullable=False, server_default="{}"))
    op.create_table(
        "function_minutes",
        sa.Column("function", sa.String, primary_key=True),
        sa.Column("minute", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("counts", sa.Text, nullable=False),
    )
    op.create_index("function_minutes_by_minute", "function_minutes", ["minute"])


def downgrade() -> None:
    """Forget them, and the functions that they alone describe."""
    op.drop_table("function_minutes")
    op.execute("DELETE FROM functions WHERE parent IS NOT NULL")
    for column in ("parent", "settings", "parameters", "overrides"):
        op.drop_column("functions", column)
