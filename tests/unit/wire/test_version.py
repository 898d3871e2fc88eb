"""When two packages are one build."""

from __future__ import annotations

from pathlib import Path

from modicum.wire.version import _hash_package


def test_a_build_is_its_code(tmp_path: Path) -> None:
    seen = set()
    for name in ("a.py", "b.sh", "deep/c.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        for text in ("one", "two"):
            (tmp_path / name).write_text(text)
            seen.add(_hash_package(str(tmp_path)))
    assert len(seen) == 6
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "a.py").touch()
    (tmp_path / "notes.txt").touch()
    assert _hash_package(str(tmp_path)) in seen
