"""Images built by a real node, as root and as an ordinary user."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from modicum.image import Image
from tests.real.images.site import NodeSite, wait_for_scratch
from tests.real.installation import wait_until

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

_names = (f"te-{os.getpid()}-{number}" for number in itertools.count())

CHECK = """
import bz2, ctypes, decimal, hashlib, lzma, sqlite3, ssl, sys, uuid, venv, zlib, zoneinfo
import attrs, six
zoneinfo.ZoneInfo("Europe/Berlin")
assert all(module.__cached__ and __import__("os").path.exists(module.__cached__) for module in (attrs, six, uuid))
print("python", *sys.version_info[:2])
"""

EXTENSION = r"""
cd /tmp && mkdir e && cd e
printf '#include <Python.h>\nstatic struct PyModuleDef d = {PyModuleDef_HEAD_INIT, "spam"};
PyMODINIT_FUNC PyInit_spam(void) { return PyModule_Create(&d); }' > spam.c
gcc -shared -fPIC $(python -c 'import sysconfig; print("-I" + sysconfig.get_path("include"))') spam.c -o spam.so
python -c 'import spam; print(spam)'
printf 'end\n' | gfortran -x f95 - -o f && ./f && g++ --version >/dev/null && make --version >/dev/null && echo built
"""


def check(site: NodeSite, version: str) -> None:
    image = Image.debian_slim(version).pip_install("six").uv_pip_install("attrs")
    layers, result = site.build(next(_names), image)
    assert result["t"] == "build.done", result["message"]
    config = result["config"]
    code, said = site.run_in(next(_names), layers, config, "python", "-c", CHECK)
    assert (code, said) == (0, f"python 3 {version.split('.')[1]}\n"), said
    code, said = site.run_in(next(_names), layers, config, "sh", "-ec", EXTENSION)
    assert code == 0, said
    assert said.endswith("built\n")
    _assert_clean(site, layers)


def _assert_clean(site: NodeSite, layers: list[str]) -> None:
    """No layer keeps anything of the build's mounts, nor documentation, nor caches."""
    base, *steps = layers
    for layer in steps:
        top = site.layer(layer)
        assert not (top / "run").exists() or not list((top / "run").iterdir())
        assert not list(top.glob("root/.cache"))
        assert not list(top.glob("etc/*"))
    assert not (site.layer(base) / "usr/share/man").exists()
    assert not list((site.layer(base) / "var/cache/apt").glob("*.bin"))
    assert not list((site.layer(base) / "run/modicum-build").iterdir())
    wait_for_scratch(site)


def test_the_suites_own_python(site: NodeSite) -> None:
    check(site, "3.11")


@pytest.mark.parametrize("version", ["3.12", "3.13"])
def test_other_versions(site: NodeSite, version: str) -> None:
    if site.person.name != "root":
        pytest.skip("one base is enough to see that it works without privilege")
    check(site, version)


def test_what_is_built_is_not_built_again(site: NodeSite) -> None:
    image = Image.debian_slim("3.11").pip_install("six")
    site.build(next(_names), image)
    again = next(_names)
    _, result = site.build(again, image)
    assert result["t"] == "build.done"
    assert site.output(again) == ""


def test_pip_and_uv_see_one_set_of_packages(site: NodeSite) -> None:
    layers, result = site.build(next(_names), Image.debian_slim("3.11").pip_install("six").uv_pip_install("attrs"))
    script = "pip list --format freeze; pip uninstall -yq six; python -c 'import attrs; import six'"
    code, said = site.run_in(next(_names), layers, result["config"], "sh", "-c", script)
    assert code == 1
    assert "six==" in said
    assert "attrs==" in said
    assert "No module named 'six'" in said


def test_a_failing_step_says_why(site: NodeSite) -> None:
    build = next(_names)
    layers, result = site.build(build, Image.debian_slim("3.11").pip_install("six==0.0.0.1"))
    assert (result["t"], result["layer"], result["code"]) == ("build.failed", layers[1], 1)
    assert "`pip install six==0.0.0.1` exited with status 1" in result["message"]
    assert "No matching distribution found for six==0.0.0.1" in result["message"]
    assert "No matching distribution found" in site.output(build)
    assert not site.layer(layers[1]).exists()
    wait_for_scratch(site)


NO_FILE = "ls: cannot access 'nothing': No such file or directory"
NOWHERE = "https://nowhere.invalid"
FAILURES: list[tuple[Callable[[Image], Image], int, str]] = [
    (
        lambda image: image.run_commands("echo a", "echo b; ls nothing", "echo c"),
        2,
        f"`echo a; echo b; ls nothing; echo c` exited with status 2:\n$ echo a\na\n$ echo b; ls nothing\nb\n{NO_FILE}",
    ),
    (
        lambda image: image.apt_install("no-such-package-anywhere"),
        100,
        "Unable to locate package no-such-package-anywhere\nThe image's Debian has no package of that name.",
    ),
    (
        lambda image: image.run_commands("head -c 1 /dev/zero > /dev/full"),
        1,
        "head: write error: No space left on device\nA disk is full.",
    ),
    (
        lambda image: image.uv_pip_install("six", index_url=NOWHERE, env={"UV_HTTP_RETRIES": "0"}),
        2,
        "Name or service not known\nThe build could not reach the network.",
    ),
]


def test_a_failing_step_says_what_failed_how_and_why(site: NodeSite) -> None:
    for make, code, said in FAILURES:
        layers, result = site.build(next(_names), make(Image.debian_slim("3.11")))
        assert (result["t"], result["layer"], result["code"]) == ("build.failed", layers[1], code)
        assert said in result["message"]
        assert not site.layer(layers[1]).exists()
    wait_for_scratch(site)


def test_the_output_is_live_and_shared_and_cancelling_leaves_nothing(site: NodeSite) -> None:
    nobody = "http://192.0.2.1/simple"  # an address that is never answered: pip says where it looks, then waits
    image = Image.debian_slim("3.11").pip_install("six", index_url=nobody, env={"PIP_TIMEOUT": "100"})
    first, second = next(_names), next(_names)
    layers = site.begin(first, image)
    while "Looking in indexes" not in site.output(first):
        site.receive()
    site.begin(second, image)
    while "Looking in indexes" not in site.output(second):
        site.receive()
    _assert_no_privilege_by_mounts(nobody)
    for build in (first, second):
        site.request("image.cancel", build=build)
    wait_for_scratch(site)
    assert not site.layer(layers[1]).exists()


def _assert_no_privilege_by_mounts(word: str) -> None:
    """What a step may write keeps neither set-uid bits nor devices in force."""
    (pip, *_) = [path.parent for path in Path("/proc").glob("[0-9]*/cmdline") if _has(path, word, "modicum-init")]
    mounts = [line.split() for line in (pip / "mountinfo").read_text().splitlines()]
    ours = {fields[4]: set(fields[5].split(",")) for fields in mounts if fields[4].startswith("/run/modicum-build")}
    assert (
        len([options for options in ours.values() if "rw" in options]) == 4
    )  # its directory, the caches of apt, pip, uv
    assert all({"nosuid", "nodev"} <= options for options in ours.values()), ours


def _has(path: Path, *words: str) -> bool:
    try:
        return all(word.encode() in path.read_bytes() for word in words)
    except OSError:
        return False  # it has just ended


def test_cancelling_a_bootstrap_ends_all_of_it(site: NodeSite) -> None:
    build, layer = next(_names), next(_names)
    site.request(
        "image.build",
        build=build,
        layers=[{"id": layer, "step": {"op": "debian_slim", "python": "3.11"}}],
        configured=[],
    )
    wait_until(lambda: site.processes("dpkg"), lambda: f"no dpkg runs\n{site.output(build)}", within_s=60)
    site.request("image.cancel", build=build)
    wait_for_scratch(site)
    assert not site.processes("dpkg")
    assert not site.processes("mmdebstrap")
    assert not site.layer(layer).exists()


def test_two_builds_of_a_layer_run_once(site: NodeSite) -> None:
    image = Image.debian_slim("3.11").pip_install("six", env={"T": next(_names)})
    first, second = next(_names), next(_names)
    site.begin(first, image)
    site.begin(second, image)
    assert site.result(first)["t"] == site.result(second)["t"] == "build.done"
    assert site.output(first) == site.output(second)
    assert site.output(first).count("Successfully installed six") == 1


def test_a_killed_node_leaves_no_half_layer(site: NodeSite) -> None:
    image = Image.debian_slim("3.11").pip_install("six", env={"T": next(_names)})
    before = site.greeting
    layers = site.begin(next(_names), image)
    site.wait_for(lambda header: header["t"] == "build.output")
    os.kill(before["pid"], signal.SIGKILL)
    site.connect()
    assert site.greeting["node"] != before["node"]
    assert layers[0] in site.greeting["layers"]
    assert layers[1] not in site.greeting["layers"]
    wait_for_scratch(site)
    _, result = site.build(next(_names), image)
    assert result["t"] == "build.done"


def test_the_agent_is_compiled_beside_its_source(site: NodeSite) -> None:
    layers, result = site.build(next(_names), Image.debian_slim("3.11").pip_install("six"))
    build, container = next(_names), next(_names)
    agent = site.home / "node/agent" / build
    agent.mkdir(parents=True)
    (agent / "module.py").write_text("x = 1\n")
    (site.home / "links" / container).mkdir()
    if os.geteuid() == 0:
        for path in (agent, agent / "module.py", site.home / "links" / container):
            os.chown(path, site.layer(layers[0]).stat().st_uid, -1)
    config = {**result["config"], "env": {**result["config"]["env"], "MODICUM_BUILD": build}}
    script = "cd /run/modicum-agent; echo *; echo __pycache__/*; touch x 2>&-"
    code, said = site.run_in(container, layers, config, "sh", "-c", script, link=True)
    assert (code, said.splitlines()[:2]) == (1, ["__pycache__ module.py", "__pycache__/module.cpython-311.pyc"])
    (site.home / "links" / container).rmdir()
    wait_for_scratch(site)
