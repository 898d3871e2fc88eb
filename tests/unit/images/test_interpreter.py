"""What of an interpreter goes into an image."""

from __future__ import annotations

from pathlib import Path

from modicum.node.images.interpreter import Interpreter, stage


def put(path: Path, text: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_the_language_is_copied_and_the_rest_is_not(tmp_path: Path) -> None:
    prefix, target = tmp_path / "from", tmp_path / "to"
    kept = [
        "bin/python3.12",
        "bin/python3.12-config",
        "include/python3.12/Python.h",
        "lib/libpython3.12.so.1.0",
        "lib/pkgconfig/python-3.12.pc",
        "lib/python3.12/ensurepip/__init__.py",
        "lib/python3.12/lib-dynload/_ssl.so",
        "lib/python3.12/os.py",
    ]
    dropped = [
        "bin/pip",
        "lib/python3.12/EXTERNALLY-MANAGED",
        "lib/python3.12/__pycache__/os.cpython-312.pyc",
        "lib/python3.12/config-3.12/libpython3.12.a",
        "lib/python3.12/lib-dynload/_testcapi.so",
        "lib/python3.12/lib-dynload/_tkinter.so",
        "lib/python3.12/site-packages/six.py",
        "lib/python3.12/test/test_os.py",
        "lib/python3.12/tkinter/__init__.py",
        "lib/tcl8.6/init.tcl",
    ]
    for name in kept + dropped:
        put(prefix / name)
    stage(Interpreter(prefix, "3.12.1", "a test", (2, 36)), "3.12", target)
    assert sorted(str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()) == sorted(kept)
    assert (target / "lib/python3.12/site-packages").is_dir()


def test_text_files_name_the_new_place_and_binaries_stay_as_they_are(tmp_path: Path) -> None:
    prefix, target = tmp_path / "from", tmp_path / "to"
    put(prefix / "bin/python3.12", f"ELF {prefix}")
    put(prefix / "lib/python3.12/_sysconfigdata__linux_.py", f"'{prefix}/lib'")
    put(prefix / "lib/python3.12/config-3.12/Makefile", f"prefix={prefix}")
    stage(Interpreter(prefix, "3.12.1", "a test", (2, 36)), "3.12", target)
    assert (target / "bin/python3.12").read_text() == f"ELF {prefix}"
    assert (target / "lib/python3.12/_sysconfigdata__linux_.py").read_text() == "'/usr/local/lib'"
    assert (target / "lib/python3.12/config-3.12/Makefile").read_text() == "prefix=/usr/local"
