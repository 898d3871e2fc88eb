"""Apps that outlive their clients, and tags."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add what is known of such apps."""
    op.add_column("apps", sa.Column("detached", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("apps", sa.Column("tags", sa.Text, nullable=False, server_default="{}"))
    op.add_column("apps", sa.Column("ended_at", sa.Float))


def downgrade() -> None:
    """Forget it."""
    for column in ("ended_at", "tags", "detached"):
        op.drop_column("apps", column)
