"""How large a core may a crash leave? None: it would hold what was in memory, secrets too."""

from __future__ import annotations

import resource


def core_bytes() -> int:
    """Return the limit that says so to the kernel.

    It writes no file of one byte, and takes 1 for "none" where a program of the host's is to be run with the core,
    which it would run with 0.
    """
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    return 1 if hard == resource.RLIM_INFINITY else min(1, hard)
