"""What a build step sees of the machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from modicum.node.images import apt, host
from modicum.node.images.mounts import BUILD, lay_out


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apt, "download_settings", lambda: 'Acquire::http::Proxy "http://proxy:3128";\n')
    monkeypatch.setattr(host, "uv_binary", lambda: None)


def view(tmp_path: Path, settings: host.HostSettings) -> tuple[Path, dict[str, str], dict[str, str]]:
    (tmp_path / "view").mkdir()
    made = lay_out(tmp_path / "view", tmp_path / "cache", settings, {"a": "text", "b": b"\0"})
    return tmp_path / "view", made.environ, {mount.target: str(mount.source) for mount in made.mounts}


def test_installers_share_their_caches(tmp_path: Path) -> None:
    folder, environ, mounts = view(tmp_path, host.HostSettings())
    assert mounts == {
        BUILD: str(folder),
        **{f"{BUILD}/cache/{name}": str(tmp_path / "cache" / name) for name in ("apt", "pip", "uv")},
    }
    assert ((folder / "files/a").read_text(), (folder / "files/b").read_bytes()) == ("text", b"\0")
    assert environ["UV_CACHE_DIR"] == f"{BUILD}/cache/uv"


def test_apt_downloads_as_the_machine_does(tmp_path: Path) -> None:
    (tmp_path / "bundle").write_text("certificates")
    folder, environ, _ = view(tmp_path, host.HostSettings(ca_bundle=tmp_path / "bundle"))
    assert environ["APT_CONFIG"] == f"{BUILD}/apt.conf"
    assert (folder / "apt.conf").read_text() == (
        'Acquire::http::Proxy "http://proxy:3128";\n'
        f'Acquire::https::CaInfo "{BUILD}/ca.crt";\n'
        'APT::Sandbox::User "root";\n'
    )
    assert (folder / "ca.crt").read_text() == "certificates"
