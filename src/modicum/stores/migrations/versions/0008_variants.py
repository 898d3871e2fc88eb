"""Functions with settings of their own."""

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


def downgrade() -> None:
    """Forget them, and the functions that they alone describe."""
    op.execute("DELETE FROM functions WHERE parent IS NOT NULL")
    for column in ("parent", "settings", "parameters", "overrides"):
        op.drop_column("functions", column)
