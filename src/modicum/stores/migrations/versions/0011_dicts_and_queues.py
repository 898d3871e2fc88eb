"""Dicts and queues."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

_NAMED = sa.text("name IS NOT NULL")
_WITH_BLOBS = sa.text("blob IS NOT NULL")


def upgrade() -> None:
    """Add them."""
    op.create_table(
        "objects",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("name", sa.String),
        sa.Column("contents", sa.Integer, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("created_by", sa.String, nullable=False),
    )
    op.create_index(
        "objects_by_name", "objects", ["kind", "name"], unique=True, sqlite_where=_NAMED, postgresql_where=_NAMED
    )
    op.create_table("discarded", sa.Column("contents", sa.Integer, primary_key=True, autoincrement=False))
    _create_dict_entries()
    _create_queue_items()
    op.create_table(
        "answers",
        sa.Column("request", sa.String, primary_key=True),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("answer", sa.Text, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.Column("blob", sa.String),
    )
    op.create_index("answers_by_time", "answers", ["at"])


def _create_dict_entries() -> None:
    op.create_table(
        "dict_entries",
        sa.Column("contents", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("digest", sa.LargeBinary, primary_key=True),
        sa.Column("key", sa.LargeBinary, nullable=False),
        sa.Column("value", sa.LargeBinary, nullable=False),
        sa.Column("blob", sa.String),
        sa.Column("used_at", sa.Float, nullable=False),
    )
    op.create_index("dict_entries_by_use", "dict_entries", ["used_at"])
    op.create_index(
        "dict_entries_with_blobs", "dict_entries", ["blob"], sqlite_where=_WITH_BLOBS, postgresql_where=_WITH_BLOBS
    )


def _create_queue_items() -> None:
    op.create_table(
        "queue_items",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=False),
        sa.Column("contents", sa.Integer, nullable=False),
        sa.Column("partition", sa.LargeBinary, nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.Column("expires_at", sa.Float, nullable=False),
    )
    op.create_index("queue_items_in_order", "queue_items", ["contents", "partition", "number", "size"])
    op.create_index("queue_items_by_expiry", "queue_items", ["expires_at"])


def downgrade() -> None:
    """Forget them."""
    for table in ("answers", "queue_items", "dict_entries", "discarded", "objects"):
        op.drop_table(table)
