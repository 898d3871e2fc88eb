"""Apps that are deployed, and their versions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add them."""
    op.add_column("apps", sa.Column("deployed", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("apps", sa.Column("version", sa.Integer, nullable=False, server_default="0"))
    op.add_column("functions", sa.Column("generation", sa.Integer, nullable=False, server_default="0"))
    op.add_column("functions", sa.Column("pinned", sa.Integer))
    op.add_column("functions", sa.Column("removed", sa.Boolean, nullable=False, server_default=sa.false()))
    op.create_table(
        "app_versions",
        sa.Column("app", sa.String, sa.ForeignKey("apps.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("key", sa.String, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("created_by", sa.String, nullable=False),
        sa.Column("client", sa.String, nullable=False),
        sa.Column("strategy", sa.String, nullable=False),
        sa.Column("origin", sa.String, nullable=False),
        sa.Column("tag", sa.String, nullable=False),
        sa.Column("tags", sa.Text, nullable=False),
        sa.Column("functions", sa.Text, nullable=False),
    )
    op.create_table(
        "app_definitions",
        sa.Column("app", sa.String, sa.ForeignKey("apps.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("digest", sa.String, primary_key=True),
        sa.Column("definition", sa.Text, nullable=False),
        sa.Column("serialized", sa.LargeBinary, nullable=False),
    )


def downgrade() -> None:
    """Forget them."""
    op.drop_table("app_definitions")
    op.drop_table("app_versions")
    for table, column in (
        ("functions", "removed"),
        ("functions", "pinned"),
        ("functions", "generation"),
        ("apps", "version"),
        ("apps", "deployed"),
    ):
        op.drop_column(table, column)
