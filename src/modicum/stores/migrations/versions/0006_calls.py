"""Calls, how often their inputs have failed and where they ran, and indexes that hold for a million inputs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_WAITING = sa.text("status IS NULL")
_FINISHED = sa.text("finished_at IS NOT NULL")
_WITH_BLOBS = sa.text("blob IS NOT NULL OR output_blob IS NOT NULL")
_WITH_PARENT = sa.text("parent IS NOT NULL")


def upgrade() -> None:
    """Add them; calls from before began at an unknown time. Inputs hang on their call now, not on its function."""
    op.create_table(
        "calls",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("function", sa.String, sa.ForeignKey("functions.id", ondelete="CASCADE"), nullable=False),
        sa.Column("method", sa.String),
        sa.Column("parent", sa.String),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("inputs", sa.Integer, nullable=False),
    )
    op.create_index("calls_by_function", "calls", ["function", "created_at"])
    op.create_index("calls_by_parent", "calls", ["parent"], sqlite_where=_WITH_PARENT, postgresql_where=_WITH_PARENT)
    op.execute(
        "INSERT INTO calls (id, function, created_at, inputs) "
        "SELECT call, min(function), 0.0, max(position) + 1 FROM inputs GROUP BY call"
    )
    op.rename_table("inputs", "earlier_inputs")
    op.drop_index("inputs_by_call", "earlier_inputs")
    _create_inputs()
    kept = "number, call, position, function, payload, blob, status, output, output_blob, finished_at"
    op.execute(f"INSERT INTO inputs ({kept}) SELECT {kept} FROM earlier_inputs")
    op.drop_table("earlier_inputs")


def _create_inputs() -> None:
    op.create_table(
        "inputs",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("call", sa.String, sa.ForeignKey("calls.id", ondelete="CASCADE"), nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("function", sa.String, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.Column("blob", sa.String),
        sa.Column("failures", sa.Integer, nullable=False, server_default="0"),
        sa.Column("status", sa.String),
        sa.Column("output", sa.LargeBinary),
        sa.Column("output_blob", sa.String),
        sa.Column("finished_at", sa.Float),
        sa.Column("container", sa.String),
        sa.Column("run_s", sa.Float),
    )
    op.create_index("inputs_by_call", "inputs", ["call", "position"], unique=True)
    for name, columns, where in (
        ("inputs_waiting", ["function", "number"], _WAITING),
        ("inputs_finished", ["finished_at"], _FINISHED),
        ("inputs_with_blobs", ["blob", "output_blob"], _WITH_BLOBS),
    ):
        op.create_index(name, "inputs", columns, sqlite_where=where, postgresql_where=where)


def downgrade() -> None:
    """Forget them."""
    with op.batch_alter_table("inputs") as inputs:
        for index in ("inputs_waiting", "inputs_finished", "inputs_with_blobs"):
            inputs.drop_index(index)
        for column in ("failures", "container", "run_s"):
            inputs.drop_column(column)
    op.drop_table("calls")
