"""Which tables there are."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
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
    or_,
    true,
)

metadata = MetaData()


def _only(condition: Any) -> dict[str, Any]:
    """Return the arguments of an index that has only the rows of which something holds."""
    return {"sqlite_where": condition, "postgresql_where": condition}


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
    Column("deployed", Boolean, nullable=False, server_default=false()),
    Column("version", Integer, nullable=False, server_default="0"),
)
"""Apps that run, and for a while those that have ended (`ended_at`), with the outputs of detached and deployed ones.
One that is `isolated` was made by a server that isolates its containers, and no other may run it. `version` counts what
was published in its place."""

app_versions = Table(
    "app_versions",
    metadata,
    Column("app", String, ForeignKey("apps.id", ondelete="CASCADE"), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("key", String, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("created_by", String, nullable=False),
    Column("client", String, nullable=False),
    Column("strategy", String, nullable=False),
    Column("origin", String, nullable=False),
    Column("tag", String, nullable=False),
    Column("tags", Text, nullable=False),
    Column("functions", Text, nullable=False),
)
"""What deployed apps were and are. `functions` says which definition each function had; `key` is the request's that
made the version, `origin` says what kind of request it was."""

app_definitions = Table(
    "app_definitions",
    metadata,
    Column("app", String, ForeignKey("apps.id", ondelete="CASCADE"), primary_key=True),
    Column("digest", String, primary_key=True),
    Column("definition", Text, nullable=False),
    Column("serialized", LargeBinary, nullable=False),
)
"""The definitions of functions in the versions of an app that are kept, each once."""

functions = Table(
    "functions",
    metadata,
    Column("id", String, primary_key=True),
    Column("app", String, ForeignKey("apps.id", ondelete="CASCADE"), nullable=False),
    Column("name", String, nullable=False),
    Column("definition", Text, nullable=False),
    Column("serialized", LargeBinary, nullable=False),
    Column("generation", Integer, nullable=False, server_default="0"),
    Column("pinned", Integer),
    Column("removed", Boolean, nullable=False, server_default=false()),
    Column("parent", String),
    Column("settings", Text, nullable=False, server_default="{}"),
    Column("parameters", Text),
    Column("overrides", Text, nullable=False, server_default="{}"),
)
"""Functions that can be called and, for the outputs of their inputs, those that a later version of their app lacks
(`removed`). `generation` is the version in which the definition changed last; `pinned` the one that it stays at. A
variant has a `parent`, whose definition is its own but for `settings` and `parameters`. `overrides` are what a user has
told the autoscaler since the function was defined."""

function_minutes = Table(
    "function_minutes",
    metadata,
    Column("function", String, primary_key=True),
    Column("minute", Integer, primary_key=True, autoincrement=False),
    Column("counts", Text, nullable=False),
    Index("function_minutes_by_minute", "minute"),
)
"""How functions did, in each minute since the epoch in which they did anything."""

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

_LARGE = BigInteger().with_variant(Integer, "sqlite")
"""A number that outgrows 32 bits; to SQLite the row's own."""

objects = Table(
    "objects",
    metadata,
    Column("id", String, primary_key=True),
    Column("kind", String, nullable=False),
    Column("name", String),
    Column("contents", Integer, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("created_by", String, nullable=False),
)
"""What programs share: dicts and queues, by name; those without a name are ephemeral. `contents` is what their rows are
found by: whoever clears one gives it another number."""

Index("objects_by_name", objects.c.kind, objects.c.name, unique=True, **_only(objects.c.name.is_not(None)))

discarded = Table("discarded", metadata, Column("contents", Integer, primary_key=True, autoincrement=False))
"""Contents that are nobody's any longer; their rows go little by little."""

dict_entries = Table(
    "dict_entries",
    metadata,
    Column("contents", Integer, primary_key=True, autoincrement=False),
    Column("digest", LargeBinary, primary_key=True),
    Column("key", LargeBinary, nullable=False),
    Column("value", LargeBinary, nullable=False),
    Column("blob", String),
    Column("used_at", Float, nullable=False),
    Index("dict_entries_by_use", "used_at"),
)
"""Entries of dicts, by the SHA-256 of their key. A large value is the blob `blob`, and `value` is empty."""

Index("dict_entries_with_blobs", dict_entries.c.blob, **_only(dict_entries.c.blob.is_not(None)))

queue_items = Table(
    "queue_items",
    metadata,
    Column("number", _LARGE, primary_key=True, autoincrement=False),
    Column("contents", Integer, nullable=False),
    Column("partition", LargeBinary, nullable=False),
    Column("size", Integer, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("expires_at", Float, nullable=False),
    Index("queue_items_in_order", "contents", "partition", "number", "size"),
    Index("queue_items_by_expiry", "expires_at"),
)
"""Items of queues. `number`, which the server gives, orders all of them. `expires_at` of a partition's last item is
that of the partition."""

answers = Table(
    "answers",
    metadata,
    Column("request", String, primary_key=True),
    Column("at", Float, nullable=False),
    Column("answer", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("blob", String),
    Index("answers_by_time", "at"),
)
"""What requests that must not be done twice were answered with: whoever has lost his server asks the next one again."""

calls = Table(
    "calls",
    metadata,
    Column("id", String, primary_key=True),
    Column("function", String, ForeignKey("functions.id", ondelete="CASCADE"), nullable=False),
    Column("method", String),
    Column("parent", String),
    Column("created_at", Float, nullable=False),
    Column("inputs", Integer, nullable=False),
    Index("calls_by_function", "function", "created_at"),
)
"""Spawned calls. `inputs` says how many there are; `parent` is the key of the input that made the call, if one did. A
call outlives the outputs of its inputs: so it can be said that they were there."""

Index("calls_by_parent", calls.c.parent, **_only(calls.c.parent.is_not(None)))

inputs = Table(
    "inputs",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("call", String, ForeignKey("calls.id", ondelete="CASCADE"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("function", String, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("blob", String),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("status", String),
    Column("output", LargeBinary),
    Column("output_blob", String),
    Column("finished_at", Float),
    Column("container", String),
    Column("run_s", Float),
    Column("plain", Boolean, nullable=False, server_default=false()),
    Index("inputs_by_call", "call", "position", unique=True),
)
"""Spawned inputs; `status` is null until they have an output, which is `plain` if hostile code may have made it.
`number`, which the server gives, orders all of them."""

Index("inputs_waiting", inputs.c.function, inputs.c.number, **_only(inputs.c.status.is_(None)))
Index("inputs_finished", inputs.c.finished_at, **_only(inputs.c.finished_at.is_not(None)))
Index(
    "inputs_with_blobs",
    inputs.c.blob,
    inputs.c.output_blob,
    **_only(or_(inputs.c.blob.is_not(None), inputs.c.output_blob.is_not(None))),
)

schedules = Table(
    "schedules",
    metadata,
    Column("function", String, ForeignKey("functions.id", ondelete="CASCADE"), primary_key=True),
    Column("schedule", Text, nullable=False),
    Column("since", Float, nullable=False),
    Column("marked", Float, nullable=False),
    Column("call", String),
    Column("skipped", Integer, nullable=False, server_default="0"),
)
"""Schedules of functions. A Period is counted from `since`; all that was due up to `marked` is dealt with. `call` is
the last run, `skipped` how many due times since then had none."""

ended_containers = Table(
    "ended_containers",
    metadata,
    Column("id", String, primary_key=True),
    Column("app", String, nullable=False),
    Column("app_name", String, nullable=False),
    Column("function", String, nullable=False),
    Column("function_name", String, nullable=False),
    Column("node", String, nullable=False),
    Column("started_at", Float),
    Column("ended_at", Float, nullable=False),
    Column("reason", String, nullable=False),
    Column("detail", Text, nullable=False),
    Column("exit_code", Integer),
    Column("signal", Integer),
    Index("ended_containers_by_time", "ended_at"),
)
"""Containers that have ended, and why; they outlive their apps, so names stand beside ids."""

secrets = Table(
    "secrets",
    metadata,
    Column("id", String, primary_key=True),
    Column("name", String, unique=True),
    Column("content", LargeBinary, nullable=False),
    Column("asked_at", Float, nullable=False),
)
"""Environment variables, encrypted. One without a `name` belongs to the functions that name its id; `asked_at` is when
somebody last wanted it kept."""

usage_hours = Table(
    "usage_hours",
    metadata,
    Column("app", String, primary_key=True),
    Column("function", String, primary_key=True),
    Column("hour", Integer, primary_key=True, autoincrement=False),
    Column("resource", String, primary_key=True),
    Column("used", Float, nullable=False),
    Column("billed", Float, nullable=False),
    Column("app_name", String, nullable=False),
    Column("function_name", String, nullable=False),
    Column("tags", Text, nullable=False),
    Index("usage_hours_by_hour", "hour"),
)
"""What functions' containers used in each hour since the epoch, in seconds of a core, a MiB or a GPU of a type. They
outlive their apps, so names and tags stand beside ids. `billed` is what they used, or what was kept for them if that
was more."""

usage_readings = Table(
    "usage_readings",
    metadata,
    Column("container", String, primary_key=True),
    Column("reading", Text, nullable=False),
    Column("read_at", Float, nullable=False),
)
"""Up to where containers' meters are counted in `usage_hours`."""
