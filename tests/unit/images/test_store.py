"""Which layers count, and what a start sweeps."""

from __future__ import annotations

import ctypes
import json
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from modicum.node.images.store import LayerStore
from modicum.node.removal import remove_tree


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


def boot_of(home: Path, layer_id: str) -> str | None:
    boot: str | None = json.loads((home / f"records/{layer_id}.json").read_text()).get("boot")
    return boot


def test_what_the_disk_did_not_take_is_not_settled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LayerStore(tmp_path)
    make(store, "im-1")
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace(syncfs=lambda _: -1))
    store.settle()
    assert boot_of(tmp_path, "im-1")
    monkeypatch.undo()
    store.settle()
    assert boot_of(tmp_path, "im-1") is None
    assert store.config("im-1") == {"env": {"A": "im-1"}}


def test_what_is_made_again_meanwhile_is_not_settled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def sync(_: int) -> int:
        for layer_id in ("im-gone", "im-again"):
            remove_tree(store.take_out(layer_id))
        make(store, "im-again")
        return 0

    store = LayerStore(tmp_path)
    for layer_id in ("im-gone", "im-again", "im-stays"):
        make(store, layer_id)
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace(syncfs=sync))
    store.settle()
    assert sorted(path.name for path in (tmp_path / "records").iterdir()) == ["im-again.json", "im-stays.json"]
    assert boot_of(tmp_path, "im-again")
    assert boot_of(tmp_path, "im-stays") is None


def test_a_layer_that_goes_while_its_record_is_settled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LayerStore(tmp_path)
    make(store, "im-1")
    taking = threading.Thread(target=store.take_out, args=("im-1",))
    write = store._write_record

    def write_late(layer_id: str, record: dict[str, Any]) -> None:
        taking.start()
        taking.join(0.05)  # it has to wait for the record
        write(layer_id, record)

    monkeypatch.setattr(store, "_write_record", write_late)
    store.settle()
    taking.join()
    assert list((tmp_path / "records").iterdir()) == []


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden"])
def test_a_layer_id_is_a_plain_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="no layer id"):
        LayerStore(tmp_path).path(name)
