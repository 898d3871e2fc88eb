"""Which layers count, and what a start sweeps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modicum.node.images.store import LayerStore


def make(store: LayerStore, layer_id: str, content: str = "x", config: dict[str, Any] | None = None) -> None:
    scratch = store.scratch()
    (scratch / "layer").mkdir()
    (scratch / "layer/file").write_text(content)
    store.add(layer_id, scratch / "layer", config or {"env": {"A": layer_id}})


def test_a_layer_is_there_once_it_is_added(tmp_path: Path) -> None:
    store = LayerStore(tmp_path)
    assert not store.has("im-1")
    make(store, "im-1")
    assert store.ids() == ["im-1"]
    assert (store.path("im-1") / "file").read_text() == "x"
    assert store.config("im-1") == {"env": {"A": "im-1"}}


def test_what_was_added_first_stays(tmp_path: Path) -> None:
    store = LayerStore(tmp_path)
    make(store, "im-1", "first")
    make(store, "im-1", "second")
    assert (store.path("im-1") / "file").read_text() == "first"


def test_a_start_sweeps_what_is_half_done(tmp_path: Path) -> None:
    store = LayerStore(tmp_path)
    make(store, "im-1")
    (store.scratch() / "half").touch()
    (tmp_path / "layers/im-unrecorded").mkdir()
    (tmp_path / "records/im-lost.json").write_text("{}")
    (tmp_path / "records/im-torn.json").write_text("{")
    again = LayerStore(tmp_path)
    assert again.ids() == ["im-1"]
    mine = again.scratch()
    again.clear()
    assert [path.name for path in tmp_path.rglob("im-*") if path.name not in ("im-1", "im-1.json")] == []
    assert list((tmp_path / "tmp").iterdir()) == [mine]


def test_after_a_power_cut_only_settled_layers_count(tmp_path: Path) -> None:
    store = LayerStore(tmp_path)
    make(store, "im-settled")
    store.settle()
    make(store, "im-unsettled")
    assert LayerStore(tmp_path).ids() == ["im-settled", "im-unsettled"]
    record = tmp_path / "records/im-unsettled.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "boot": "an earlier one"}))
    assert LayerStore(tmp_path).ids() == ["im-settled"]
    assert not (tmp_path / "layers/im-unsettled").exists()


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden"])
def test_a_layer_id_is_a_plain_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="no layer id"):
        LayerStore(tmp_path).path(name)
