"""Which system calls a container may make.

An allow-list: what ordinary programs use. Everything else answers "not implemented", so that the C library falls back
where a newer call has an older twin; what would make namespaces or mounts answers "not permitted". Calls of foreign
architectures kill the process: they are a second, seldom tested door to the kernel.
"""

from __future__ import annotations

import platform
from typing import Any

_EPERM, _ENOSYS = 1, 38
_NAMESPACE_FLAGS = 0x7E020000
"""CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET}, as a mask over clone's flags."""

_ARCHITECTURES = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}

FILES = """
access chdir chmod chown close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2 fadvise64
fallocate fchdir fchmod fchmodat fchmodat2 fchown fchownat fcntl fdatasync fgetxattr flistxattr flock fremovexattr
fsetxattr fstat fstatfs fsync ftruncate futimesat getcwd getdents getdents64 getxattr inotify_add_watch inotify_init
inotify_init1 inotify_rm_watch ioctl lchown lgetxattr link linkat listxattr llistxattr lremovexattr lseek lsetxattr
lstat mkdir mkdirat mknod mknodat newfstatat open openat openat2 pread64 preadv preadv2 pwrite64 pwritev pwritev2 read
readahead readlink readlinkat readv removexattr rename renameat renameat2 rmdir sendfile setxattr splice stat statfs
statx symlink symlinkat sync sync_file_range syncfs tee truncate umask unlink unlinkat ustat utime utimensat utimes
vmsplice write writev name_to_handle_at
"""
PROCESSES = """
arch_prctl capget capset execve execveat exit exit_group fork getcpu getegid geteuid getgid getgroups getitimer
getpgid getpgrp getpid getppid getpriority getresgid getresuid getrlimit getrusage getsid gettid getuid
get_robust_list get_thread_area ioprio_get ioprio_set kill pidfd_open pidfd_send_signal prctl prlimit64
process_mrelease restart_syscall rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn
rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo sched_getaffinity sched_getattr sched_getparam sched_getscheduler
sched_get_priority_max sched_get_priority_min sched_rr_get_interval sched_setaffinity sched_setattr sched_setparam
sched_setscheduler sched_yield set_robust_list set_thread_area set_tid_address setfsgid setfsuid setgid setgroups
setitimer setpgid setpriority setregid setresgid setresuid setreuid setrlimit setsid setuid sigaltstack tgkill time
times tkill umask uname vfork wait4 waitid waitpid pause ptrace process_vm_readv process_vm_writev kcmp chroot seccomp
"""
MEMORY = """
brk madvise membarrier memfd_create mincore mlock mlock2 mlockall mmap mprotect mremap msync munlock munlockall munmap
pkey_alloc pkey_free pkey_mprotect process_madvise map_shadow_stack remap_file_pages get_mempolicy mbind set_mempolicy
set_mempolicy_home_node
"""
WAITING = """
alarm clock_getres clock_gettime clock_nanosleep epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait
epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 futex futex_waitv futex_wait futex_wake futex_requeue
gettimeofday nanosleep pipe pipe2 poll ppoll pselect6 select signalfd signalfd4 timer_create timer_delete
timer_getoverrun timer_gettime timer_settime timerfd_create timerfd_gettime timerfd_settime
"""
TALKING = """
accept accept4 bind connect getpeername getsockname getsockopt listen recvfrom recvmmsg recvmsg sendmmsg sendmsg
sendto setsockopt shutdown mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedsend mq_unlink msgctl
msgget msgrcv msgsnd semctl semget semop semtimedop shmat shmctl shmdt shmget
"""
# Not io_setup and its kin: the machine has one budget of their requests for all, and programs do without.
MACHINE = """
getrandom sysinfo landlock_add_rule landlock_create_ruleset landlock_restrict_self
"""
REFUSED = """
mount umount umount2 mount_setattr move_mount open_tree fsopen fsconfig fsmount fspick pivot_root unshare setns keyctl
add_key request_key reboot bpf perf_event_open init_module finit_module delete_module kexec_load kexec_file_load
swapon swapoff settimeofday clock_settime acct quotactl open_by_handle_at userfaultfd iopl ioperm syslog sethostname
setdomainname vhangup lookup_dcookie nfsservctl io_uring_setup io_uring_enter io_uring_register
"""

_FAMILIES = (1, 2, 10, 16)
"""AF_UNIX, AF_INET, AF_INET6 and AF_NETLINK, which stay in the container's network namespace. Others do not, such as
the machine's VM sockets (AF_VSOCK), or have the kernel load a module that hardly anybody tests. They are named, not
excluded: the kernel looks at the lower half of the argument alone, so 40 is also what has more bits in the upper one.
"""

_LINUX_PERSONALITIES = (0x0, 0x0008, 0x20000, 0x20008, 0xFFFFFFFF)
"""What `personality` may be set to, or asked by: PER_LINUX, PER_LINUX32, UNAME26 with either, and "tell me"."""


def allowed_names() -> list[str]:
    """Return the system calls that are allowed whatever their arguments."""
    names = f"{FILES} {PROCESSES} {MEMORY} {WAITING} {TALKING} {MACHINE}".split()
    return sorted(set(names))


def profile(machine: str = "") -> dict[str, Any]:
    """Return the profile as OCI's `linux.seccomp`, for this machine's native architecture only."""
    architecture = _ARCHITECTURES.get(machine or platform.machine())
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": _ENOSYS,
        **({"architectures": [architecture]} if architecture else {}),
        "syscalls": [
            {"names": allowed_names(), "action": "SCMP_ACT_ALLOW"},
            {"names": REFUSED.split(), "action": "SCMP_ACT_ERRNO", "errnoRet": _EPERM},
            _allow("clone", 0, _NAMESPACE_FLAGS, "SCMP_CMP_MASKED_EQ", 0),
            *(_allow("socket", 0, family, "SCMP_CMP_EQ") for family in _FAMILIES),
            _allow("socketpair", 0, _FAMILIES[0], "SCMP_CMP_EQ"),
            *(_allow("personality", 0, value, "SCMP_CMP_EQ") for value in _LINUX_PERSONALITIES),
        ],
    }


def _allow(name: str, index: int, value: int, operator: str, second: int | None = None) -> dict[str, Any]:
    argument: dict[str, Any] = {"index": index, "value": value, "op": operator}
    if second is not None:
        argument["valueTwo"] = second
    return {"names": [name], "action": "SCMP_ACT_ALLOW", "args": [argument]}
