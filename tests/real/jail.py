"""A place where no namespace can be made, as inside an unprivileged container: `python jail.py COMMAND…`, as root.

The command keeps its ids, but has no capability beyond its own user namespace, and may make no further one.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

_CLONE_NEWUSER = 0x10000000
_DROPPED = "--bounding-set=-sys_admin,-net_admin"


def main() -> None:
    """Enter it, and become the command."""
    entered, go = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        if ctypes.CDLL(None).unshare(_CLONE_NEWUSER):
            os._exit(9)
        os.write(entered[1], b"e")
        os.read(go[0], 1)
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        Path("/proc/sys/user/max_user_namespaces").write_text("0")
        os.execvp("setpriv", ["setpriv", _DROPPED, "--inh-caps=-all", "--no-new-privs", *sys.argv[1:]])
    os.read(entered[0], 1)
    for name in ("uid_map", "gid_map"):
        Path(f"/proc/{pid}/{name}").write_text("0 0 4294967294")
    os.write(go[1], b"g")
    os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


if __name__ == "__main__":
    main()
