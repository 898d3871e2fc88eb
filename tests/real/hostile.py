"""A program whose functions run hostile code, as the guide's "LLM Code Execution" does, and what that code tries."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import json
import os
import pickle
import resource
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import modicum as modal

SEEN = "/seen"
image = modal.Image.debian_slim().run_commands(
    f'printf %s "$BUILD_SECRET" | sha256sum > {SEEN}', secrets=[modal.Secret.from_local_environ(["BUILD_SECRET"])]
)
app = modal.App("hostile", image=image)


@app.function(restrict_modal_access=True, single_use_containers=True, timeout=30, block_network=True)
def run_untrusted_code(code: str) -> Any:
    scope: dict[str, Any] = {}
    exec(code, scope)
    return scope.get("result")


@app.function(restrict_modal_access=True)
def restricted(code: str) -> Any:
    scope: dict[str, Any] = {}
    exec(code, scope)
    return scope.get("result")


@app.function(restrict_modal_access=True)
def restricted_items(code: str) -> Iterator[Any]:
    scope: dict[str, Any] = {}
    exec(code, scope)
    yield from scope["items"]


@app.function(secrets=[modal.Secret.from_local_environ(["RUN_SECRET"])], env={"LAST": "env", "MODAL_TASK_ID": "mine"})
def ordinary(code: str) -> Any:
    scope: dict[str, Any] = {}
    exec(code, scope)
    return scope.get("result")


# -- what is tried inside --------------------------------------------------------------------------------------

LIBC = ctypes.CDLL(None, use_errno=True)
CALLS = {
    "x86_64": {"socket": 41, "ptrace": 101, "mount": 165, "add_key": 248, "keyctl": 250, "unshare": 272, "setns": 308,
               "bpf": 321, "userfaultfd": 323, "clone": 56, "perf_event_open": 298, "io_uring_setup": 425,
               "open_tree": 428, "pidfd_getfd": 438, "init_module": 175, "kexec_load": 246, "open_by_handle_at": 304},
    "aarch64": {"socket": 198, "ptrace": 117, "mount": 40, "add_key": 217, "keyctl": 219, "unshare": 97, "setns": 268,
                "bpf": 280, "userfaultfd": 282, "clone": 220, "perf_event_open": 241, "io_uring_setup": 425,
                "open_tree": 428, "pidfd_getfd": 438, "init_module": 105, "kexec_load": 104, "open_by_handle_at": 265},
}  # fmt: skip
NEW_USER, NEW_NET = 0x10000000, 0x40000000
ADMINISTRATIVE = 0x8914, struct.pack("16sH14x", b"lo", 0)  # SIOCSIFFLAGS: take the loopback down


def call(name: str, *arguments: Any) -> int:
    """Make a system call; raise its error."""
    number = CALLS[os.uname().machine][name]
    result = LIBC.syscall(number, *(ctypes.c_ulong(a) if isinstance(a, int) else a for a in arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), name)
    return int(result)


def connect(family: int, address: Any, kind: int = socket.SOCK_STREAM) -> None:
    with socket.socket(family, kind) as link:
        link.settimeout(3)
        link.connect(address)
        link.send(b"x")


def write(path: str, text: str = "x") -> None:
    with open(path, "a") as file:
        file.write(text)


def configure() -> None:
    import fcntl

    with socket.socket() as link:
        fcntl.ioctl(link, *ADMINISTRATIVE)


def route() -> None:
    """Ask the kernel for a way out: a default route through the loopback."""
    body = struct.pack("=BBBBBBBBI", socket.AF_INET, 0, 0, 0, 254, 4, 0, 1, 0) + struct.pack("=HHi", 8, 4, 1)
    message = struct.pack("=IHHII", 16 + len(body), 24, 0x405, 1, 0) + body
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as link:
        link.send(message)
        (code,) = struct.unpack_from("=i", link.recv(4096), 16)
    if code:
        raise OSError(-code, "a route")


def as_somebody(program: str) -> None:
    """Run a program that is set-uid root as somebody else; return whom it runs as."""
    subprocess.run(["cp", "/usr/bin/id", "/tmp/as-root"], check=True)
    os.chmod("/tmp/as-root", 0o4755)
    told = subprocess.check_output([program], user=1000, group=1000, extra_groups=[], text=True)
    if "root" in told:
        return
    raise PermissionError(errno.EPERM, told)


def attempts(host: dict[str, Any]) -> dict[str, Callable[[], Any]]:
    """Return what is tried: what it is called → how. `host` says what there is outside to be reached."""
    stream, port = socket.AF_INET, host["port"]
    network: dict[str, Callable[[], Any]] = {
        "the internet": lambda: connect(stream, ("192.0.2.1", 80)),
        "a name": lambda: socket.getaddrinfo("example.com", 80),
        "the resolver": lambda: connect(stream, ("10.0.2.3", 53), socket.SOCK_DGRAM),
        "metadata": lambda: connect(stream, ("169.254.169.254", 80)),
        "the host's loopback": lambda: connect(stream, ("127.0.0.1", port)),
        "the host's loopback by IPv6": lambda: connect(socket.AF_INET6, ("::1", port)),
        "the internet by IPv6": lambda: connect(socket.AF_INET6, ("2001:db8::1", 80)),
        "an abstract socket of the host": lambda: connect(socket.AF_UNIX, "\0" + host["abstract"]),
        "a socket file of the host": lambda: connect(socket.AF_UNIX, host["socket"]),
        "an interface": configure,
        "a route": route,
        **{f"the host at {each}": partial(connect, stream, (each, port)) for each in host["addresses"]},
    }
    sockets = {
        "a raw socket": lambda: socket.socket(stream, socket.SOCK_RAW, 1),
        "a packet socket": lambda: call("socket", 17, 3, 0),
        "a VM socket": lambda: call("socket", 40, 1, 0),
        "a VM socket by another number": lambda: call("socket", 0x100000028, 1, 0),
        "a socket of the kernel's ciphers": lambda: call("socket", 38, 5, 0),
    }
    kernel = {
        "a mount": lambda: call("mount", b"none", b"/tmp", b"tmpfs", 0, None),
        "our socket's mount made writable": lambda: call("mount", None, b"/run/modicum", None, 0x1020, None),
        "a mount by a descriptor": lambda: call("open_tree", 0, b"/", 1),
        "a user namespace": lambda: call("unshare", NEW_USER),
        "a network namespace": lambda: call("unshare", NEW_NET),
        "a user namespace for a child": lambda: call("clone", NEW_USER | signal.SIGCHLD, 0, 0, 0, 0),
        "another's namespace": lambda: call("setns", os.open("/proc/1/ns/net", os.O_RDONLY), 0),
        "a key": lambda: call("add_key", b"user", b"mine", b"x", 1, 0xFFFFFFFD),
        "the keyring": lambda: call("keyctl", 0, 0xFFFFFFFD, 0),
        "a kernel program": lambda: call("bpf", 0, None, 0),
        "a kernel module": lambda: call("init_module", b"x", 1, b""),
        "another kernel": lambda: call("kexec_load", 0, 0, None, 0),
        "performance counters": lambda: call("perf_event_open", None, 0, 0, 0, 0),
        "page faults": lambda: call("userfaultfd", 0),
        "a ring": lambda: call("io_uring_setup", 1, None),
        "a file by its handle": lambda: call("open_by_handle_at", 0, None, 0),
        "another's descriptor": lambda: call("pidfd_getfd", 0, 0, 0),
        "a device": lambda: os.mknod("/tmp/device", 0o60600, os.makedev(254, 0)),
        "what handles cores": lambda: write("/proc/sys/kernel/core_pattern", "|/tmp/x"),
        "forwarding": lambda: write("/proc/sys/net/ipv4/ip_forward", "1"),
        "sysrq": lambda: write("/proc/sysrq-trigger", "h"),
        "physical memory": lambda: os.open("/dev/mem", os.O_RDONLY),
        "a core": lambda: resource.setrlimit(resource.RLIMIT_CORE, (1 << 20, 1 << 20)),
        "more files": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (1 << 20, 1 << 20)),
        "a better place before the killer": lambda: write("/proc/self/oom_score_adj", "-1000"),
        "a better priority": lambda: os.nice(-1),
        "a set-uid program": lambda: as_somebody("/tmp/as-root"),
    }
    others = {
        "a process of the host": lambda: os.kill(host["pid"], signal.SIGKILL),
        "tracing it": lambda: call("ptrace", 16, host["pid"], 0, 0),
        "its memory": lambda: open(f"/proc/{host['pid']}/mem"),
        "the home": lambda: os.listdir(host["home"]),
        "our socket removed": lambda: os.unlink("/run/modicum/s"),
        "our socket moved": lambda: os.rename("/run/modicum/s", "/run/modicum/t"),
        "a link beside our socket": lambda: os.symlink("/etc", "/run/modicum/link"),
        "our code": lambda: write("/run/modicum-agent/modicum/agent/loop.py"),
        "our compiled code": lambda: os.mkdir("/run/modicum-agent/modicum/__pycache__/x"),
        "our init": lambda: write("/run/modicum-init"),
        "the resolver's address": lambda: write("/etc/resolv.conf"),
        "cgroups": lambda: os.mkdir("/sys/fs/cgroup/mine"),
    }
    return {**network, **sockets, **kernel, **others}


def tried(host: dict[str, Any]) -> dict[str, str]:
    """Try everything; return how each attempt ended."""
    ends = {}
    for what, attempt in attempts(host).items():
        try:
            attempt()
            ends[what] = "done"
        except OSError as error:
            ends[what] = "unresolved" if isinstance(error, socket.gaierror) else errno.errorcode[error.errno or 0]
        except ValueError as error:
            ends[what] = str(error)
    return ends


def every_message() -> dict[str, list[str]]:
    """Say every message of the wire's table on a connection of our own; return the error's code and text of each."""
    from modicum.wire.frames import Decoder, encode
    from modicum.wire.messages import MAY_SEND

    kinds = [kind for kind in MAY_SEND if kind != "agent.hello"]  # a second agent would take the first one's place
    answers: dict[str, list[str]] = {}
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(10)
        link.connect("/run/modicum/s")
        for number, kind in enumerate(kinds):
            link.sendall(encode({"t": kind, "r": number}))
        decoder = Decoder()
        while len(answers) < len(kinds):
            for header, _ in decoder.feed(link.recv(1 << 16)):
                answers[kinds[header["r"]]] = [header.get("code", "ok"), header.get("message", "")]
    return answers


class Evil:
    """Whoever unpickles it makes a file."""

    def __init__(self, mark: str) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (self.mark,)


def _instead(made: bytes, value: object) -> bytes:
    return made


def forge(mark: str) -> None:
    """Have the agent send what its caller must not unpickle, in the place of every value and exception."""
    from modicum.agent import endings, loop

    evil = pickle.dumps(Evil(mark))
    record = {"type": "E", "text": "evil", "notes": [], "frames": [], "suppress": False, "pickled": evil}
    for module in (loop, endings):
        for name, made in (("dumps", evil), ("dump_exception", pickle.dumps([record, Evil(mark)]))):
            if hasattr(module, name):
                setattr(module, name, partial(_instead, made))


# -- what is seen outside --------------------------------------------------------------------------------------


def outcome(get: Callable[[], Any]) -> str:
    try:
        return repr(get())
    except Exception as error:
        return f"{type(error).__name__}: {error}"


@contextlib.contextmanager
def listening() -> Iterator[tuple[dict[str, Any], Callable[[], int]]]:
    """Give what there is on the host to be reached, and how many have reached it."""
    addresses = {str(info[4][0]) for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("198.51.100.1", 9))
        addresses.add(probe.getsockname()[0])
    name = f"modicum-test-{os.getpid()}"
    listener = socket.create_server(("", 0), backlog=64)
    with listener, socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind(f"\0{name}")
        abstract.listen()
        for each in (listener, abstract):
            each.setblocking(False)
        home = os.environ["MODICUM_HOME"]
        host = {"port": listener.getsockname()[1], "abstract": name, "socket": f"{home}/sock/s", "pid": os.getpid(),
                "home": home, "addresses": sorted(a for a in addresses if not a.startswith("127."))}  # fmt: skip
        yield host, lambda: sum(_came(each) for each in (listener, abstract))


def _came(listener: socket.socket) -> int:
    count = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            listener.accept()[0].close()
            count += 1
    return count


def forged(mark: str) -> dict[str, str]:
    """Return what comes of forged outputs, in each way of calling."""
    evil = f"import hostile; hostile.forge({mark!r}); result = 1"
    wrong = f"import hostile; hostile.forge({mark!r}); raise ValueError"
    call = restricted.spawn(evil)
    items = f"import hostile; hostile.forge({mark!r}); items = [1]"
    return {
        "remote": outcome(lambda: restricted.remote(evil)),
        "an exception": outcome(lambda: restricted.remote(wrong)),
        "map": outcome(lambda: list(restricted.map([evil, evil], return_exceptions=True))),
        "spawn": outcome(call.get),
        "by its id": outcome(lambda: modal.FunctionCall.from_id(call.object_id).get()),
        "gather": outcome(lambda: modal.FunctionCall.gather(call)),
        "a generator": outcome(lambda: list(restricted_items.remote_gen(items))),
    }


SECRETS = """
import os, hashlib
seen = {name: os.environ.get(name) for name in ("LAST", "MODAL_TASK_ID")}
result = [hashlib.sha256(os.environ["RUN_SECRET"].encode()).hexdigest(), open("/seen").read().split()[0], seen]
"""
PLATFORM = {
    "a call": "import hostile; hostile.ordinary.remote('')",
    "a spawned one": "import hostile; hostile.ordinary.spawn('')",
    "a map": "import hostile; list(hostile.ordinary.map(['']))",
    "a name": "import modal; modal.Function.from_name('a', 'b').remote()",
    "an app": "import modal; modal.App.lookup('hostile')",
    "a variant": "import hostile; hostile.ordinary.with_options(env={'A': 'b'}).remote('')",
}


@app.local_entrypoint()
def main(mark: str) -> None:
    with listening() as (host, reached):
        arguments = json.dumps(host)
        report: dict[str, Any] = {
            "tried": run_untrusted_code.remote(f"import hostile; result = hostile.tried({arguments})"),
            "reached": reached(),
            "addresses": host["addresses"],
        }
    table = "import hostile; result = hostile.every_message()"
    report["table"] = {"restricted": restricted.remote(table), "container": ordinary.remote(table)}
    report["platform"] = {what: outcome(partial(restricted.remote, code)) for what, code in PLATFORM.items()}
    report["plain"] = outcome(lambda: restricted.remote("result = [1, 'a', {2.5: (None, b'x')}, {3}, 1j]"))
    report["error"] = outcome(lambda: restricted.remote("1 / 0"))
    report["forged"] = forged(mark)
    report["secrets"] = ordinary.remote(SECRETS)
    expected = [hashlib.sha256(os.environ[name].encode()).hexdigest() for name in ("RUN_SECRET", "BUILD_SECRET")]
    report["expected"] = expected
    print("REPORT", json.dumps(report))
    sys.stdout.flush()
