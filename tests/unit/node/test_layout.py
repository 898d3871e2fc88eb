"""Is a home closed to everybody else, whatever it was before?"""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from modicum.node.ids import Extent, IdMaps
from modicum.node.layout import Layout, WrongOwner, prepare


def maps(uid: int) -> IdMaps:
    extents = (Extent(0, uid, 1),)
    return IdMaps(extents, extents, privileged=False)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_it_is_closed(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "a/home")
    for folder in (layout.home, layout.node, layout.containers):
        folder.mkdir(parents=True)
        folder.chmod(0o777)
    old = os.umask(0o077)
    try:
        prepare(layout, maps(os.geteuid()).root)
    finally:
        os.umask(old)
    modes = {path: mode(path) for path in (layout.home, layout.containers, layout.temporary)}
    assert modes == dict.fromkeys(modes, 0o700)
    assert {mode(path) for path in (layout.node, layout.run, layout.links, layout.node / "agent")} == {0o755}


def test_somebody_elses_home_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o755)
    monkeypatch.setattr("os.geteuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(WrongOwner, match="choose another MODICUM_HOME"):
        prepare(Layout(tmp_path), maps(os.getuid()).root)
    assert mode(tmp_path) == 0o755


def test_somebody_elses_node_is_refused(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.node.mkdir()
    with pytest.raises(WrongOwner, match="see /etc/subuid"):
        prepare(layout, maps(os.geteuid() + 1).root)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    layout, victim = Layout(tmp_path / "home"), tmp_path / "victim"
    layout.node.mkdir(parents=True)
    victim.mkdir(mode=0o755)
    layout.containers.symlink_to(victim)
    with pytest.raises(OSError, match="containers"):
        prepare(layout, maps(os.geteuid()).root)
    assert mode(victim) == 0o755
