"""Is a tree removed whole, whatever hostile code has made of it?"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modicum.node import removal
from modicum.node.removal import MountInside, remove_children, remove_tree


def test_links_are_not_followed(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("x")
    tree = tmp_path / "tree"
    (tree / "inner").mkdir(parents=True)
    (tree / "link").symlink_to(kept)
    (tree / "inner/link").symlink_to("..")
    remove_tree(tree)
    assert not tree.exists()
    assert (kept / "file").exists()


def test_any_depth(tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=here)
        deeper = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = deeper
    os.close(here)
    remove_tree(tmp_path / "d")
    assert list(tmp_path.iterdir()) == []


def test_any_names_and_modes(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "closed").mkdir(parents=True)
    (tree / "closed/a\n\U0001d70b b").write_text("x")
    os.mkfifo(tree / "fifo")
    (tree / "closed").chmod(0o500 if os.geteuid() == 0 else 0o700)
    remove_tree(tree)
    assert not tree.exists()


def test_what_is_not_there_is_removed_already(tmp_path: Path) -> None:
    remove_tree(tmp_path / "missing" / "deeper")
    assert remove_children(tmp_path / "missing") == []


def test_a_mount_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tree/mounted").mkdir(parents=True)
    (tmp_path / "tree/mounted/host").write_text("precious")
    real = removal._mount_id

    def mount_id(descriptor: int) -> int:
        return -1 if os.readlink(f"/proc/self/fd/{descriptor}").endswith("mounted") else real(descriptor)

    monkeypatch.setattr(removal, "_mount_id", mount_id)
    with pytest.raises(MountInside):
        remove_tree(tmp_path / "tree")
    assert (tmp_path / "tree/mounted/host").read_text() == "precious"
    assert len(remove_children(tmp_path)) == 1


def test_children_go_and_the_directory_stays(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "c").write_text("x")
    assert remove_children(tmp_path) == []
    assert list(tmp_path.iterdir()) == []
