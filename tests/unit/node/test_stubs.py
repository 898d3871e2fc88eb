"""Are a runtime's mount targets taken out of a layer, and only those?"""

from __future__ import annotations

from pathlib import Path

from modicum.node.stubs import missing_targets, remove_stubs


def test_what_must_be_made(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/hosts").write_text("")
    (tmp_path / "link").symlink_to("/elsewhere")
    found = missing_targets(tmp_path, ["/etc/hosts", "/etc/resolv.conf", "/run/a/b", "/link/x"])
    assert found == ("run/a/b", "etc/resolv.conf", "run/a", "run")


def test_empty_ones_go_and_used_ones_stay(tmp_path: Path) -> None:
    (tmp_path / "run/a/b").mkdir(parents=True)
    (tmp_path / "run/other").write_text("the step's")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/resolv.conf").touch()
    (tmp_path / "etc/hosts").write_text("the step's")
    remove_stubs(tmp_path, ("run/a/b", "etc/resolv.conf", "etc/hosts", "run/a", "run", "never"))
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))
    assert left == ["etc", "etc/hosts", "run", "run/other"]


def test_no_link_leads_out_of_the_layer(tmp_path: Path) -> None:
    upper, outside = tmp_path / "upper", tmp_path / "outside"
    (outside / "etc/run").mkdir(parents=True)
    (outside / "etc/resolv.conf").touch()
    upper.mkdir()
    (upper / "etc").symlink_to(outside / "etc")
    (upper / "a").mkdir()
    (upper / "a/b").symlink_to("../../outside/etc")
    remove_stubs(upper, ("a/b/resolv.conf", "a/b/run", "etc/resolv.conf", "etc/run", "etc"))
    assert sorted(path.name for path in outside.rglob("*")) == ["etc", "resolv.conf", "run"]
    assert (upper / "etc").is_symlink()
