"""Whether apps were given isolation."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add it; apps from before count as isolated, so that none loses it."""
    op.add_column("apps", sa.Column("isolated", sa.Boolean, nullable=False, server_default=sa.true()))


def downgrade() -> None:
    """Forget it."""
    op.drop_column("apps", "isolated")
