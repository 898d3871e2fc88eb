"""How hostile archives are met."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from modicum.node.images.sources import BadArchive, extract


def member(name: str, kind: bytes = tarfile.REGTYPE, mode: int = 0o644, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.linkname, info.mtime = kind, mode, link, 1_700_000_000
    return info


def archive(tmp_path: Path, *members: tarfile.TarInfo, content: bytes = b"x = 1\n") -> Path:
    path = tmp_path / "source.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for info in members:
            info.size = len(content) if info.isreg() else 0
            tar.addfile(info, io.BytesIO(content))
    return path


def test_files_and_directories_arrive(tmp_path: Path) -> None:
    names = ["root/main.py", "./root/package/é ünï.py", "root//deep/a/b/c.txt"]
    extract(archive(tmp_path, *map(member, names), member("root/empty", tarfile.DIRTYPE)), tmp_path / "out")
    assert (tmp_path / "out/root/main.py").read_bytes() == b"x = 1\n"
    assert (tmp_path / "out/root/main.py").stat().st_mtime == 1_700_000_000
    assert (tmp_path / "out/root/package/é ünï.py").exists()
    assert (tmp_path / "out/root/deep/a/b/c.txt").exists()
    assert (tmp_path / "out/root/empty").is_dir()


def test_modes_say_only_whether_a_file_can_be_run(tmp_path: Path) -> None:
    extract(archive(tmp_path, member("run", mode=0o6755), member("read", mode=0o600)), tmp_path / "out")
    assert (tmp_path / "out/run").stat().st_mode & 0o7777 == 0o755
    assert (tmp_path / "out/read").stat().st_mode & 0o7777 == 0o644


@pytest.mark.parametrize(
    "bad",
    [
        member("/etc/passwd"),
        member("../outside"),
        member("root/../../outside"),
        member("link", tarfile.SYMTYPE, link="/etc"),
        member("hard", tarfile.LNKTYPE, link="root/main.py"),
        member("null", tarfile.CHRTYPE),
        member("disk", tarfile.BLKTYPE),
        member("pipe", tarfile.FIFOTYPE),
    ],
    ids=lambda info: str(info.name),
)
def test_what_no_source_holds_is_refused(tmp_path: Path, bad: tarfile.TarInfo) -> None:
    with pytest.raises(BadArchive, match=bad.name.replace(".", r"\.")):
        extract(archive(tmp_path, member("root/main.py"), bad), tmp_path / "out")
    assert not (tmp_path / "outside").exists()


def test_a_file_in_place_of_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadArchive, match="as a file and as a directory"):
        extract(archive(tmp_path, member("a"), member("a/b")), tmp_path / "out")


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "source.tar").write_bytes(b"no tar" * 200)
    with pytest.raises(BadArchive, match="cannot be read"):
        extract(tmp_path / "source.tar", tmp_path / "out")
