"""In which order are the node's mounts arranged? A recording kernel says so without root."""

from __future__ import annotations

from pathlib import Path

import pytest

from modicum.node import namespaces
from modicum.node.ids import plan_id_maps
from modicum.node.kernel import CLONE_NEWNS, Kernel
from modicum.node.overlay import Overlays, TooManyLayers


class Recorder(Kernel):
    """Does nothing and remembers it."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def mount(self, source: str, target: str, fstype: str | None = None, flags: int = 0, data: str = "") -> None:
        self.calls.append(f"mount {fstype or source} on {target} {data}".strip())

    def set_read_only(self, target: str, read_only: bool, recursive: bool = False) -> None:
        self.calls.append(f"{target} {'ro' if read_only else 'rw'}{' and all below' if recursive else ''}")

    def take_privilege(self, target: str) -> None:
        self.calls.append(f"{target} nosuid nodev")

    def unshare(self, flags: int) -> None:
        self.calls.append("unshare mounts" if flags == CLONE_NEWNS else "unshare everything")


def blueprint(uid: int) -> namespaces.Blueprint:
    maps = plan_id_maps(uid, uid, "ann", "ann:100000:65536", "ann:100000:65536")
    return namespaces.Blueprint(maps, ("/usr",), ("/srv/node", "/srv/links"), ("/bin/true",), {})


def test_root_locks_the_mounts_before_it_gives_up_its_ids() -> None:
    recorder = Recorder()
    namespaces._enter_namespaces(blueprint(0), recorder)
    assert recorder.calls == [
        "unshare mounts",
        "mount none on /",
        "mount none on /",
        "mount /srv/node on /srv/node",
        "mount /srv/links on /srv/links",
        "/ ro and all below",
        "/srv/node rw",
        "/srv/links rw",
        "/proc rw",
        "/sys rw",
        "/srv/node nosuid nodev",
        "/srv/links nosuid nodev",
        "unshare everything",
    ]


def test_a_user_can_mount_only_afterwards() -> None:
    recorder = Recorder()
    namespaces._enter_namespaces(blueprint(1000), recorder)
    assert recorder.calls == ["unshare everything"]


def test_an_overlay_names_its_layers_briefly(tmp_path: Path) -> None:
    recorder = Recorder()
    overlays = Overlays(tmp_path, recorder)
    layers = [Path("/a:b/top"), Path("/a:b/base")]
    overlays.mount(Path("/r"), layers, Path("/up,per"), Path("/work"))
    overlays.mount(Path("/r2"), layers[1:], Path("/u2"), Path("/w2"))
    assert recorder.calls == [
        "mount overlay on /r lowerdir=l/0:l/1,upperdir=/up\\,per,workdir=/work,userxattr,volatile",
        "mount overlay on /r2 lowerdir=l/1,upperdir=/u2,workdir=/w2,userxattr,volatile",
    ]
    assert (tmp_path / "l/1").readlink() == Path("/a:b/base")


def test_129_layers_fit_and_too_many_are_refused(tmp_path: Path) -> None:
    overlays = Overlays(tmp_path, Recorder())
    layers = [Path(f"/{number}") for number in range(1000)]
    overlays.mount(Path("/r"), layers[:129], Path("/u"), Path("/w"))
    with pytest.raises(TooManyLayers):
        overlays.mount(Path("/r"), layers, Path("/u"), Path("/w"))
