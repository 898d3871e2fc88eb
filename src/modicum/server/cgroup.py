"""How a server leaves the cgroups of the client that started it: an end of that session must not end it.

Nor should its memory count against the client. Servers and keepers of all homes go to `modicum/daemons` in each
hierarchy; an empty directory of that name stays, since nobody can remove the one that he is in (docs/decisions/0040).
"""

from __future__ import annotations

from pathlib import Path

_DAEMONS = "modicum/daemons"


def leave_clients_cgroups(root: Path = Path("/sys/fs/cgroup"), own: str | None = None) -> None:
    """Move this process out of every cgroup but the topmost, where that is permitted; children follow their parent.

    `own` is the text of /proc/self/cgroup; a test gives another.
    """
    text = own if own is not None else Path("/proc/self/cgroup").read_text(encoding="ascii")
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        hierarchy = _hierarchy(root, controllers)
        if path == "/" or not (hierarchy / "cgroup.procs").exists():
            continue
        try:
            _join(hierarchy / _DAEMONS)
        except OSError:
            continue  # not ours to do, or a hierarchy whose new groups cannot be used as they are, such as cpuset


def _hierarchy(root: Path, controllers: str) -> Path:
    """Return where a line of /proc/self/cgroup is mounted, by convention."""
    if controllers:
        return root / controllers.removeprefix("name=")
    return root if (root / "cgroup.controllers").exists() else root / "unified"


def _join(group: Path) -> None:
    group.mkdir(parents=True, exist_ok=True)
    with open(
        group / "cgroup.procs", "r+", encoding="ascii"
    ) as processes:  # never creates: in a plain directory it fails
        processes.write("0")
