"""Which Linux system calls the keeper and the node use that Python's `os` lacks.

They go through one small object, so that a test can put a recording one in its place and check their order without
root. The system call numbers are the same on every architecture (they were added after numbering was unified).
"""

from __future__ import annotations

import ctypes
import os

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
MNT_DETACH = 2

_MOUNT_SETATTR = 442
_AT_FDCWD = -100
_AT_RECURSIVE = 0x8000
_MOUNT_ATTR_RDONLY = 1
"""This one, nosuid and nodev have the same values as the flags of mount(2)."""

_PR_SET_PDEATHSIG = 1


class _MountAttr(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


class Kernel:
    """The calls themselves. Each raises `OSError` with the call and its object named when the kernel refuses."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)

    def mount(self, source: str, target: str, fstype: str | None = None, flags: int = 0, data: str = "") -> None:
        """mount(2). `data` is cut by the kernel at one page, so keep it short."""
        kind = fstype.encode() if fstype else None
        result = self._libc.mount(source.encode(), target.encode(), kind, ctypes.c_ulong(flags), data.encode() or None)
        self._check(result, f"mount {fstype or source} on {target}")

    def unmount(self, target: str, flags: int = 0) -> None:
        """umount2(2)."""
        self._check(self._libc.umount2(target.encode(), flags), f"unmount {target}")

    def set_read_only(self, target: str, read_only: bool, recursive: bool = False) -> None:
        """mount_setattr(2): make a mount, or it and all below it, read-only or writable. Linux 5.12."""
        attr = _MountAttr(_MOUNT_ATTR_RDONLY, 0) if read_only else _MountAttr(0, _MOUNT_ATTR_RDONLY)
        flags = _AT_RECURSIVE if recursive else 0
        self._set_attributes(target, attr, flags, f"make {target} {'read-only' if read_only else 'writable'}")

    def take_privilege(self, target: str) -> None:
        """mount_setattr(2): on this mount no set-uid bit, file capability or device works."""
        self._set_attributes(target, _MountAttr(MS_NOSUID | MS_NODEV, 0), 0, f"take privilege from {target}")

    def _set_attributes(self, target: str, attr: _MountAttr, flags: int, what: str) -> None:
        result = self._libc.syscall(
            ctypes.c_long(_MOUNT_SETATTR),
            ctypes.c_int(_AT_FDCWD),
            ctypes.c_char_p(target.encode()),
            ctypes.c_uint(flags),
            ctypes.byref(attr),
            ctypes.c_size_t(ctypes.sizeof(attr)),
        )
        self._check(result, what)

    def unshare(self, flags: int) -> None:
        """unshare(2). Only the calling thread moves, so call it before any other exists."""
        self._check(self._libc.unshare(flags), f"unshare {flags:#x}")

    def setns(self, descriptor: int, kind: int) -> None:
        """setns(2) of the calling thread."""
        self._check(self._libc.setns(descriptor, kind), f"enter the namespace {kind:#x}")

    def die_with_parent(self, signal_number: int) -> None:
        """Have the kernel send this process a signal when the *thread* that created it ends.

        Changing user ids clears it, so set it after that; execve keeps it.
        """
        self._check(self._libc.prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0), "prctl PDEATHSIG")

    def set_hostname(self, name: str) -> None:
        """sethostname(2), in one's own UTS namespace."""
        self._check(self._libc.sethostname(name.encode(), len(name.encode())), "sethostname")

    @staticmethod
    def _check(result: int, what: str) -> None:
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, f"{what}: {os.strerror(number)}")


kernel = Kernel()
"""The one everybody uses."""
