"""Is a home closed to everybody else, whatever it was before?"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from modicum.node.ids import Extent, IdMaps
from modicum.node.layout import Layout, WrongOwner, node_argv, prepare
from modicum.runtimes import PROCESS


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


def test_plain_processes_have_a_directory_of_their_own(tmp_path: Path) -> None:
    isolated, plain = Layout(tmp_path), Layout(tmp_path, PROCESS)
    prepare(isolated, maps(os.geteuid()).root)
    prepare(plain, (os.geteuid(), os.getegid()))
    assert isolated.node != plain.node
    assert isolated.links == plain.links
    assert node_argv(plain, 7)[-5:] == (str(tmp_path), "--runtime", "process", "--control", "7")


def test_the_mark_of_plain_processes_is_one_directorys_alone(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "home", PROCESS)
    layout.home.mkdir()
    mark = layout.mark
    assert mark == Layout(tmp_path / "home", PROCESS).mark
    layout.home.rename(tmp_path / "moved")
    layout.home.mkdir()  # as in another root directory, where a home has the same path
    assert layout.mark != mark
    assert Layout(tmp_path / "home" / ".." / "home", PROCESS).mark != layout.mark, "the path counts too"


def test_a_directory_that_cannot_be_given_away_is_not_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fchown", refuse)
    layout = Layout(tmp_path)
    with pytest.raises(OSError, match="node cannot be given to uid"):
        prepare(layout, maps(os.geteuid() + 1).root)
    assert not layout.node.exists()
