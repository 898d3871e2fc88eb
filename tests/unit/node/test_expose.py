"""What does the node see of directories that are closed to it?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from modicum.node.expose import Plan, is_open_to, plan


def all_open_but(*closed: str) -> Callable[[str], bool]:
    return lambda path: path not in closed


def test_open_paths_need_nothing() -> None:
    assert plan(["/usr/lib/python3", "/opt/x"], all_open_but()) == Plan((), (), ())


def test_the_topmost_closed_directory_is_covered() -> None:
    found = plan(["/root/a/b/venv", "/root/house/node"], all_open_but("/root", "/root/a"))
    assert found == Plan(("/root",), ("/root/a/b/venv", "/root/house/node"), ())


def test_what_lies_inside_another_is_bound_once() -> None:
    found = plan(["/root/x", "/root/x/lib", "/root/xy"], all_open_but("/root"))
    assert found.bound == ("/root/x", "/root/xy")


def test_the_path_itself_may_be_closed() -> None:
    assert plan(["/srv/closed"], all_open_but("/srv/closed")) == Plan((), (), ())


def test_a_link_in_a_closed_directory_is_made_again(tmp_path: Path) -> None:
    closed, target = tmp_path / "closed", tmp_path / "target"
    closed.mkdir()
    target.mkdir()
    (closed / "link").symlink_to(target)
    found = plan([f"{closed}/link"], all_open_but(str(closed)))
    assert found == Plan((), (), ((f"{closed}/link", str(target)),))


def test_who_may_pass(tmp_path: Path) -> None:
    owner, group = tmp_path.stat().st_uid, tmp_path.stat().st_gid
    tmp_path.chmod(0o701)
    assert is_open_to(owner, group)(str(tmp_path))
    assert not is_open_to(owner + 1, group)(str(tmp_path))
    assert is_open_to(owner + 1, group + 1)(str(tmp_path))
    assert is_open_to(owner, group)(str(tmp_path / "missing"))
