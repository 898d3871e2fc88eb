"""Secrets."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Add them, and say of outputs which come from containers that nobody trusts."""
    op.create_table(
        "secrets",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("name", sa.String, unique=True),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.Column("asked_at", sa.Float, nullable=False),
    )
    op.add_column("inputs", sa.Column("plain", sa.Boolean, nullable=False, server_default=sa.false()))


def downgrade() -> None:
    """Forget them."""
    op.drop_column("inputs", "plain")
    op.drop_table("secrets")
