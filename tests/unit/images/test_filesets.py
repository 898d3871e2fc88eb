"""How a file set is laid out over an image: what it links, what it refuses, and what it leaves as it is."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

import pytest

from modicum.node.images.filesets import BadFileSet, fetch_entries, lay_out, shared_folders
from modicum.node.images.kept import Kept
from modicum.node.images.merged import InTheWay, Merged
from tests.unit.images.fileserver import FileServer


class Site:
    """A server, an image of two layers, and a place for layers of sets."""

    def __init__(self, home: Path) -> None:
        self.server = FileServer()
        self.home = home
        self.layers = home / "layers"
        self.base, self.top = self.layers / "base", self.layers / "top"
        for folder in (self.base, self.top):
            folder.mkdir(parents=True)

    async def make(self, name: str, files: dict[str, bytes], kept: Kept | None = None) -> Path:
        """Lay a set out over the image, as the layer `name`."""
        entries = await fetch_entries(self.server, self.server.add(files))
        target = self.layers / name
        target.mkdir()
        shared = shared_folders(entries, Merged([self.top, self.base]))
        placed = await lay_out(self.server, entries, target, shared, kept)
        if kept is not None:
            kept.add(name, placed)
        return target


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def test_all_files_with_their_modes(site: Site) -> None:
    large = os.urandom((2 << 20) + 5)
    files = {"root/a.py": b"a", "root/deep/b.sh": b"b", "empty": b"", "large": large, "root/again": b"a"}
    made = await site.make("one", files)
    assert content(made) == files
    modes = {path: (made / path).stat().st_mode & 0o777 for path in files}
    assert {path for path, mode in modes.items() if mode == 0o755} == {"root/deep/b.sh"}
    assert {path for path, mode in modes.items() if mode == 0o644} == set(files) - {"root/deep/b.sh"}
    assert (made / "root").stat().st_mode & 0o777 == 0o755


async def test_no_two_files_of_a_set_are_one(site: Site) -> None:
    kept = Kept(site.home, site.layers)
    files = {"a": b"same", "b": b"same", "c.sh": b"same", "d": b"", "e": b""}
    for name in ("one", "two"):
        made = await site.make(name, files, kept)
        assert content(made) == files
        assert len({(made / path).stat().st_ino for path in files}) == len(files)


async def test_what_earlier_layers_have_is_linked(site: Site) -> None:
    kept = Kept(site.home, site.layers)
    one = await site.make("one", {"a/f": b"a", "b.sh": b"b", "c": b"c"}, kept)
    site.server.asked.clear()
    two = await site.make("two", {"x/f": b"a", "b.sh": b"b", "c.sh": b"c"}, Kept(site.home, site.layers))
    assert site.server.asked[1:] == [hashlib.sha256(b"c").hexdigest()]  # it is a program now
    assert (two / "x/f").samefile(one / "a/f")
    assert (two / "b.sh").samefile(one / "b.sh")
    assert (two / "c.sh").stat().st_mode & 0o777 == 0o755


async def test_what_was_removed_is_fetched_again(site: Site) -> None:
    kept = Kept(site.home, site.layers)
    one = await site.make("one", {"a": b"a"}, kept)
    (one / "a").unlink()
    assert content(await site.make("two", {"b": b"a"}, kept)) == {"b": b"a"}
    (one / "a").parent.rmdir()
    assert Kept(site.home, site.layers).find(hashlib.sha256(b"a").hexdigest(), False) == f"{site.layers}/two/b"
    assert not (site.home / "placed" / "one.json").exists()


async def test_contents_that_are_others_are_refused(site: Site) -> None:
    for data in (b"small", os.urandom((1 << 20) + 1)):
        entries = await fetch_entries(site.server, site.server.add({"a": data}))
        for wrong in (data[:-1] + b"!", data + b"!", data[:-1]):
            site.server.kept[f"sha-{hashlib.sha256(data).hexdigest()}"] = wrong
            target = site.layers / os.urandom(4).hex()
            target.mkdir()
            with pytest.raises(BadFileSet):
                await lay_out(site.server, entries, target)


async def test_shared_directories_stay_as_they_are(site: Site) -> None:
    (site.base / "tmp").mkdir()
    (site.base / "tmp").chmod(0o1777)
    (site.base / "usr/bin").mkdir(parents=True)
    (site.base / "bin").symlink_to("usr/bin")
    (site.base / "app").symlink_to("/srv/app")
    (site.top / "root").mkdir(mode=0o700)
    made = await site.make(
        "one", {"tmp/a": b"a", "bin/tool.sh": b"b", "app/x/y": b"c", "root/m.py": b"d", "new/f": b"e"}
    )
    assert set(content(made)) == {"tmp/a", "usr/bin/tool.sh", "srv/app/x/y", "root/m.py", "new/f"}
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in made.iterdir()}
    assert modes == {"tmp": 0o1777, "usr": 0o755, "srv": 0o755, "root": 0o700, "new": 0o755}


async def test_directories_on_the_way_to_a_links_target_stay_as_they_are(site: Site) -> None:
    (site.base / "tmp").mkdir()
    (site.base / "tmp").chmod(0o1777)
    (site.base / "srv/data/deep").mkdir(parents=True)
    (site.base / "srv/data").chmod(0o2750)
    (site.base / "dangling").symlink_to("/tmp/x/y")
    (site.base / "there").symlink_to("srv/data/deep")
    made = await site.make("one", {"dangling/a": b"a", "there/b": b"b", "there/new/c": b"c"})
    assert set(content(made)) == {"tmp/x/y/a", "srv/data/deep/b", "srv/data/deep/new/c"}
    modes = {str(path.relative_to(made)): stat.S_IMODE(path.stat().st_mode) for path in made.rglob("*")}
    assert {path for path, mode in modes.items() if mode != 0o755} == {
        "tmp", "srv/data", "tmp/x/y/a", "srv/data/deep/b", "srv/data/deep/new/c",
    }  # fmt: skip
    assert (modes["tmp"], modes["srv/data"]) == (0o1777, 0o2750)


async def test_links_of_an_image_lead_nowhere_else(site: Site) -> None:
    outside = site.home / "outside"
    outside.mkdir()
    (site.base / "up").symlink_to("../../../../.." + str(outside))
    (site.base / "absolute").symlink_to(outside)
    made = await site.make("one", {"up/a": b"a", "absolute/b": b"b"})
    assert list(outside.iterdir()) == []
    inside = str(outside).lstrip("/")
    assert set(content(made)) == {f"{inside}/a", f"{inside}/b"}


async def test_what_a_whiteout_hides_is_not_there(site: Site) -> None:
    (site.base / "gone").symlink_to("/elsewhere")
    (site.base / "opaque/sub").mkdir(parents=True)
    (site.base / "opaque/sub").chmod(0o700)
    (site.top / "opaque").mkdir()
    os.setxattr(site.top / "opaque", "user.overlay.opaque", b"y")
    if os.geteuid() == 0:
        os.mknod(site.top / "gone", stat.S_IFCHR | 0o600, os.makedev(0, 0))
    made = await site.make("one", {"gone/a": b"a", "opaque/sub/b": b"b"})
    assert ("gone/a" in content(made)) == (os.geteuid() == 0)
    assert (made / "opaque/sub").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize(
    ("files", "text"),
    [
        ({"etc": b"x"}, "the image has a directory at /etc, where a file is to be"),
        ({"etc/conf": b"x"}, "the image has a directory at /etc/conf, where a file is to be"),
        ({"etc/name/x": b"x"}, "the image has a file at /etc/name, where a directory is to be"),
        ({"loop/x": b"x"}, "the image's links at /loop lead nowhere"),
        ({"alias/x": b"1", "etc/x": b"2"}, "go to the same place"),
        ({"alias/x": b"1", "etc/x": b"1"}, "go to the same place"),
        ({"alias/x": b"", "etc/x": b"1"}, "go to the same place"),
    ],
)
async def test_what_does_not_fit_the_image(site: Site, files: dict[str, bytes], text: str) -> None:
    (site.base / "etc/conf").mkdir(parents=True)
    (site.top / "etc").mkdir()
    (site.top / "etc/name").touch()
    (site.base / "alias").symlink_to("etc")
    (site.base / "loop").symlink_to("loop")
    with pytest.raises(InTheWay, match=text):
        await site.make("one", files)
