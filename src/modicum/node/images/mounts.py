"""What a build step sees of the machine's settings, all of it below one directory that no layer keeps.

Nothing is mounted over a file of the image: `apt-get install ca-certificates` fails when the bundle that it wants to
replace is a mount. So everything lies below `/run/modicum-build`, and variables name it.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from modicum.runtimes.base import BindMount

from . import apt, host

BUILD = "/run/modicum-build"

CACHES = ("apt", "pip", "uv")

_CA_VARIABLES = (
    "SSL_CERT_FILE",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "PIP_CERT",
    "GIT_SSL_CAINFO",
    "NODE_EXTRA_CA_CERTS",
    "CARGO_HTTP_CAINFO",
    "AWS_CA_BUNDLE",
)

_ALWAYS = {
    "PIP_CACHE_DIR": f"{BUILD}/cache/pip",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_NO_INPUT": "1",
    "PIP_PROGRESS_BAR": "off",
    "PIP_ROOT_USER_ACTION": "ignore",
    "UV_CACHE_DIR": f"{BUILD}/cache/uv",
    "UV_LINK_MODE": "copy",  # a link from the cache into the layer is refused always, and uv would try and warn
    "UV_NO_PROGRESS": "1",
    "DEBIAN_FRONTEND": "noninteractive",
}


@dataclass(frozen=True, slots=True)
class BuildView:
    """What to launch a step with."""

    mounts: tuple[BindMount, ...]
    environ: dict[str, str]


def lay_out(folder: Path, cache: Path, settings: host.HostSettings, files: Mapping[str, str | bytes]) -> BuildView:
    """Fill the empty directory `folder`, which becomes `/run/modicum-build`; return the mounts and variables.

    `cache` keeps the installers' downloads between steps. `files` (name → content) appear below `files/`.
    """
    environ = dict(_ALWAYS)
    mounts = [BindMount(folder, BUILD, read_only=False)]
    for name in CACHES:
        (cache / name).mkdir(parents=True, exist_ok=True)
        (folder / "cache" / name).mkdir(parents=True)
        mounts.append(BindMount(cache / name, f"{BUILD}/cache/{name}", read_only=False))
    for path in settings.paths:
        _mount_point(folder / "host" / path.relative_to("/"), path)
        mounts.append(BindMount(path, f"{BUILD}/host{path}"))
    uv = host.uv_binary()
    if uv is not None:
        _mount_point(folder / "uv", uv)
        mounts.append(BindMount(uv, f"{BUILD}/uv"))
    if settings.ca_bundle is not None:
        shutil.copyfile(settings.ca_bundle, folder / "ca.crt")
        environ |= dict.fromkeys(_CA_VARIABLES, f"{BUILD}/ca.crt")
    environ |= _configuration(folder, settings)
    for name, content in files.items():
        (folder / "files").mkdir(exist_ok=True)
        (folder / "files" / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return BuildView(tuple(mounts), environ)


def _configuration(folder: Path, settings: host.HostSettings) -> dict[str, str]:
    def moved(text: str) -> str:
        return host.rewrite(text, settings.paths, f"{BUILD}/host")

    environ = {name: moved(value) for name, value in settings.environ.items()}
    for name, variable, text in (
        ("pip.conf", "PIP_CONFIG_FILE", settings.pip_conf),
        ("uv.toml", "UV_CONFIG_FILE", settings.uv_toml),
        ("apt.conf", "APT_CONFIG", _apt_conf(settings)),
    ):
        if text:
            (folder / name).write_text(moved(text), encoding="utf-8", errors="surrogateescape")
            environ[variable] = f"{BUILD}/{name}"
    return environ


def _apt_conf(settings: host.HostSettings) -> str:
    """Return how apt downloads. It stays root: the user that it would become can read nothing of ours."""
    bundle = f'Acquire::https::CaInfo "{BUILD}/ca.crt";\n' if settings.ca_bundle is not None else ""
    return f'{apt.download_settings()}{bundle}APT::Sandbox::User "root";\n'


def _mount_point(place: Path, source: Path) -> None:
    if source.is_dir():
        place.mkdir(parents=True, exist_ok=True)
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
