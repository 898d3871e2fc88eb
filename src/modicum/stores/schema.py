"""Which tables there are."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    false,
    true,
)

metadata = MetaData()

apps = Table(
    "apps",
    metadata,
    Column("id", String, primary_key=True),
    Column("name", String, nullable=False),
    Column("key", String, nullable=False, unique=True),
    Column("created_at", Float, nullable=False),
    Column("detached", Boolean, nullable=False, server_default=false()),
    Column("tags", Text, nullable=False, server_default="{}"),
    Column("ended_at", Float),
    Column("isolated", Boolean, nullable=False, server_default=true()),
)
"""Apps that run; `ended_at` is set for detached ones that have ended, whose outputs are kept for a while. One that
is `isolated` was made by a server that isolates its containers, and no other may run it."""

functions = Table(
    "functions",
    metadata,
    Column("id", String, primary_key=True),
    Column("app", String, ForeignKey("apps.id", ondelete="CASCADE"), nullable=False),
    Column("name", String, nullable=False),
    Column("definition", Text, nullable=False),
    Column("serialized", LargeBinary, nullable=False),
    Column("parent", String),
    Column("settings", Text, nullable=False, server_default="{}"),
    Column("parameters", Text),
    Column("overrides", Text, nullable=False, server_default="{}"),
)
"""Functions, and variants of them: a variant has a `parent`, whose definition is its own but for `settings` and
`parameters`. `overrides` are what a user has told the autoscaler since the function was defined."""

images = Table(
    "images",
    metadata,
    Column("id", String, primary_key=True),
    Column("layers", Text, nullable=False),
    Column("config", Text, nullable=False),
)

forced_layers = Table(
    "forced_layers",
    metadata,
    Column("definition", String, primary_key=True),
    Column("nonce", String, nullable=False),
)
"""Layers that somebody had built anew: what is hashed into their ids since."""

inputs = Table(
    "inputs",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("call", String, nullable=False),
    Column("position", Integer, nullable=False),
    Column("function", String, ForeignKey("functions.id", ondelete="CASCADE"), nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("blob", String),
    Column("status", String),
    Column("output", LargeBinary),
    Column("output_blob", String),
    Column("finished_at", Float),
    Index("inputs_by_call", "call", "position", unique=True),
)
"""Spawned inputs; `status` is null until they have an output."""
