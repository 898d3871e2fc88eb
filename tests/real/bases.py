"""How homes share the bases of images, which take a minute each: whoever needs one links what another has built."""

from __future__ import annotations

import os
import pwd
import subprocess
from pathlib import Path

from modicum.image import PYTHON_VERSIONS, Image
from modicum.node.ids import plan_id_maps
from modicum.server.images.plan import plan

_homes: dict[str, list[Path]] = {}


def share(person: str, home: Path) -> None:
    """Give a new home of this person's the bases that his others have, and let later ones have what it builds.

    `MODICUM_TEST_STORE` names a directory that has them from earlier runs.
    """
    kept = os.environ.get("MODICUM_TEST_STORE")
    others = [*_homes.setdefault(person, []), *([Path(kept, person)] if kept else [])]
    for base in (plan(Image.debian_slim(version).steps).layers[0].id for version in PYTHON_VERSIONS):
        having = [other for other in others if (other / f"node/records/{base}.json").exists()]
        if having:
            _link(person, base, having[0] / "node", home / "node")
    _homes[person].append(home)


def _link(person: str, base: str, source: Path, target: Path) -> None:
    layers, records = target / "layers", target / "records"
    if not layers.exists():
        for folder in (target, layers, records):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o755)
            if os.geteuid() == 0:
                os.chown(folder, *_root_of(person))
    inside = [] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--map-auto"]
    for name, to in ((f"layers/{base}", layers), (f"records/{base}.json", records)):
        subprocess.run([*inside, "cp", "-al", str(source / name), str(to)], check=True)


def _root_of(person: str) -> tuple[int, int]:
    """Return the ids that the root of this person's node has out here."""
    account = pwd.getpwnam(person)
    texts = [Path(path).read_text() if Path(path).exists() else "" for path in ("/etc/subuid", "/etc/subgid")]
    return plan_id_maps(account.pw_uid, account.pw_gid, person, texts[0], texts[1]).root
