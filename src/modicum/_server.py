"""How a client finds its server, starting one in the background where there is none."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from contextlib import contextmanager

from modicum import _context, config
from modicum.exception import ConnectionError, Error, PermissionDeniedError, VersionError, from_code
from modicum.wire.frames import Decoder, encode
from modicum.wire.messages import CANNOT_START
from modicum.wire.sockets import connect_in
from modicum.wire.version import PROTOCOL, build_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from subprocess import Popen

    from modicum.wire.frames import Header

START_WITHIN_S = 30.0
ATTEMPTS = 20
_POLL_S = 0.01
DISK_BYTES_MIN = 1 << 20
"""With less than this a server cannot even say what is wrong."""

_served: dict[str, float] = {}
"""The directories whose server has served this process, and since when (seconds since the epoch)."""

_plain: dict[str, bool] = {}
"""Whether that server runs plain processes. One of the other kind is none that this process agreed to."""


def directory() -> str:
    """Return the directory whose socket `s` is the server's, for this process."""
    return _context.socket_directory or os.path.join(config.home(), "sock")


def connect() -> socket.socket:
    """Return a connection on which hello has been said. Starts a server, or replaces one of another build, if local.

    Raises `ConnectionError` when there is none and none can be started, `VersionError` when it speaks otherwise.
    """
    _context.check_access("a request to the server")
    for _ in range(ATTEMPTS - 1):
        try:
            return _connect_once()
        except OSError:  # it ended just now: the next attempt starts another
            time.sleep(_POLL_S)
    try:
        return _connect_once()
    except OSError as error:
        raise ConnectionError(f"the server at {directory()} ends connections at once: {error}\n{log_tail()}") from None


def _connect_once() -> socket.socket:
    folder = directory()
    link = _try_connect(folder)
    if _context.socket_directory is not None:
        return _within_container(link)
    if link is None:
        _refuse_after_stop(folder)
        link = start()
    # Who has lost his server takes whatever came after it: two clients must not go on replacing each other's.
    try:
        if folder in _served:
            say_hello(link, folder)
        elif not _is_own_build(link):
            link.close()
            link = replace()
    except OSError:
        link.close()
        raise
    _served.setdefault(folder, time.time())
    return link


def _refuse_after_stop(folder: str) -> None:
    """A server that was stopped on purpose is not started again by those whom it served; new programs start it."""
    try:
        stopped_at = os.stat(os.path.join(config.home(), "stopped")).st_mtime
    except OSError:
        return
    if stopped_at > _served.get(folder, stopped_at):
        raise ConnectionError(
            f"the server was stopped (`{config.command()} server stop`) while this program was using it"
        )


def _is_own_build(link: socket.socket) -> bool:
    """Introduce this client; return whether the server is of its build, and of the runtime that it asks for, if any.

    Another build may be of another protocol, too. Raises `ConnectionError` if a server of another runtime is in use.
    """
    try:
        answer = _introduce(link, directory())
    except VersionError:
        return False
    return answer.get("build") == build_id() and _is_wanted_runtime(link, answer.get("runtime"))


def _is_wanted_runtime(link: socket.socket, runtime: str | None) -> bool:
    wanted = os.environ.get("MODICUM_RUNTIME", runtime)
    if wanted == runtime:
        return True
    if ask(link, {"t": "server.status"})["apps"]:
        link.close()
        raise ConnectionError(
            f"a server runs apps with MODICUM_RUNTIME={runtime}, and this program asks for {wanted}: wait until they "
            f"have ended, end them with `{config.command()} server stop`, or use another MODICUM_HOME"
        )
    return False


def _introduce(link: socket.socket, folder: str | None = None) -> Header:
    """Say hello; `folder` is where this process has found its server, None for a server that is not to serve it."""
    answer = ask(link, {"t": "hello", "protocol": PROTOCOL, "build": build_id()})
    if folder is not None:
        _check_isolation(link, folder, answer.get("runtime"))
    return answer


def _check_isolation(link: socket.socket, folder: str, runtime: str | None) -> None:
    """Closes and raises `ConnectionError` if the server there isolates otherwise than the one that has served us."""
    is_plain = runtime == "process"
    if folder not in _served:
        _plain[folder] = is_plain
    elif _plain.get(folder, is_plain) != is_plain:
        link.close()
        raise ConnectionError(
            f"another server has come, which runs functions {'without' if is_plain else 'with'} isolation "
            f"(MODICUM_RUNTIME={runtime}), unlike the one that this program was using: run the program again"
        )


def say_hello(link: socket.socket, folder: str | None = None) -> Header:
    """Introduce this client and return the server's answer. Closes and raises `VersionError` if it speaks otherwise.

    `folder` is where this process finds its server: raises `ConnectionError` if the one there now keeps other promises
    of isolation than the one before.
    """
    answer = _introduce(link, folder)
    if answer["protocol"] != PROTOCOL:
        link.close()
        raise VersionError(
            f"the server speaks protocol {answer['protocol']}, this client {PROTOCOL}; upgrade the older one"
        )
    return answer


def ask(link: socket.socket, header: Header, payload: bytes = b"") -> Header:
    """Send one request on a fresh blocking connection and return its answer's header."""
    decoder = Decoder()
    link.sendall(encode({**header, "r": 1}, payload))
    while True:
        data = link.recv(65536)
        if not data:
            raise ConnectionResetError("it ended the connection")
        for answer, _ in decoder.feed(data):
            if answer.get("r") != 1:
                continue
            if answer["t"] == "error":
                raise from_code(answer["code"], answer["message"])
            return answer


def start() -> socket.socket:
    """Return a connection to a server that is started in the background, unless another client just did that."""
    with _starting():
        return _try_connect(directory()) or _launch()


def replace() -> socket.socket:
    """End a local server of another build; what it runs goes on and is adopted by the next, on which hello is said."""
    with _starting():
        link = _try_connect(directory())
        if link is not None:
            if _is_own_build(link):
                return link  # another client was faster
            pid = ask(link, {"t": "server.status"})["pid"]
            ask(link, {"t": "server.stop", "all": False})
            link.close()
            wait_gone(pid)
        link = _launch()
        say_hello(link, directory())
        return link


@contextmanager
def _starting() -> Iterator[None]:
    """One client at a time starts a server; the others wait for it rather than start one of their own build."""
    folder = config.home()
    deadline = time.monotonic() + START_WITHIN_S
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        lock = os.open(os.path.join(folder, "start.lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unusable(folder, error) from None
    try:
        while not _try_lock(lock) and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        yield
    finally:
        os.close(lock)


def _unusable(folder: str, error: OSError) -> Error:
    """Return what to raise for a home in which nothing can be written."""
    kind = PermissionDeniedError if isinstance(error, PermissionError) else ConnectionError
    return kind(f"{folder} cannot be used: {error.strerror}; set MODICUM_HOME to a directory of your own")


def _try_lock(lock: int) -> bool:
    import fcntl

    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _launch() -> socket.socket:
    said_before = _log_size()
    try:
        process = _spawn()
    except OSError as error:
        raise _unusable(config.home(), error) from None
    # It may end before us; without this it would then stay a zombie, and look alive to whoever waits for its end.
    threading.Thread(target=process.wait, name="modicum-server-end", daemon=True).start()
    deadline = time.monotonic() + START_WITHIN_S
    while time.monotonic() < deadline:
        link = _try_connect(directory())
        if link is not None:
            return link
        code = process.poll()
        if code not in (None, 0):  # 0: another one is starting already
            raise ConnectionError(f"the server did not start: {_why_not_started(said_before, code)}")
        time.sleep(_POLL_S)
    raise ConnectionError(f"no server answered at {directory()} within {START_WITHIN_S:.0f} s:\n{log_tail()}")


def running() -> socket.socket | None:
    """Return a connection to the local server, of whichever build, without starting one; None if none runs.

    Raises `PermissionDeniedError` if the home is somebody else's: whether one runs there cannot be seen.
    """
    try:
        os.listdir(config.home())
    except PermissionError as error:
        raise _unusable(config.home(), error) from None
    except OSError:
        return None
    return _try_connect(os.path.join(config.home(), "sock"))


def wait_gone(pid: int, within_s: float = 15.0) -> bool:
    """Wait until a process has ended; return whether it has."""
    deadline = time.monotonic() + within_s
    while os.path.exists(f"/proc/{pid}"):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def _log_size() -> int:
    try:
        return os.stat(os.path.join(config.home(), "server.log")).st_size
    except OSError:
        return 0


def _why_not_started(said_before: int, code: int | None) -> str:
    """Return the reason that a server gave in its log when it ended; all that it said if that is no reason."""
    try:
        with open(os.path.join(config.home(), "server.log"), "rb") as file:
            file.seek(said_before)
            said = file.read().decode(errors="replace").strip()
    except OSError:
        said = ""
    last = said.rpartition("\n")[2]
    if last.startswith(CANNOT_START):
        return last[len(CANNOT_START) :]
    if not said and _is_disk_full():
        return f"no space is left on the disk of {config.home()}"
    return f"exit code {code}\n{said or '(it left no log)'}"


def _is_disk_full() -> bool:
    facts = os.statvfs(config.home())
    return facts.f_bavail * facts.f_frsize < DISK_BYTES_MIN


def log_tail(lines: int = 15) -> str:
    """Return the end of the server's log."""
    try:
        with open(os.path.join(config.home(), "server.log"), errors="replace") as file:
            return "".join(file.readlines()[-lines:])
    except OSError:
        return "(it left no log)"


def _try_connect(folder: str) -> socket.socket | None:
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connect_in(link, folder)
        return link
    except OSError:
        link.close()
        return None


def _within_container(link: socket.socket | None) -> socket.socket:
    deadline = time.monotonic() + START_WITHIN_S
    while link is None:
        if time.monotonic() > deadline:
            raise ConnectionError("the server does not answer this container")
        time.sleep(_POLL_S)
        link = _try_connect(directory())
    say_hello(link)
    return link


def _spawn() -> Popen[bytes]:
    """Start the server with nothing of ours: no descriptors, terminal, working directory or stray variables."""
    import subprocess

    folder = config.home()
    with open(os.path.join(folder, "server.log"), "ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "modicum.server.main", "--home", folder, "--detached"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env=server_environment(),
            start_new_session=True,
        )


def server_environment() -> dict[str, str]:
    """Return what the server needs of our environment: paths, language, proxies, package and certificate settings."""
    wanted = {"PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ", "PYENV_ROOT", "PYTHONPATH"}
    prefixes = ("LC_", "MODICUM_", "MODAL_", "PIP_", "UV_", "SSL_CERT_", "XDG_")
    endings = ("_proxy", "_PROXY", "_CA_BUNDLE", "_CAINFO", "_CA_CERTS")
    return {
        name: value
        for name, value in os.environ.items()
        if name in wanted or name.startswith(prefixes) or name.endswith(endings)
    }
