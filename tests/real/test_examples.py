"""The guide's blocks, to the letter, and our own examples, each run as a user runs them."""

from __future__ import annotations

import os

import pytest

from tests.real.installation import ROOT, Installation
from tests.typist import Typist

EXAMPLES = ROOT / "examples"

# arguments after `modicum run` → lines that it must print
CASES = {
    "guide/basic_app_structure.py": ["Result: 25"],
    "guide/apps_and_functions.py::hello --name World": ["'Hello, World!'"],
    "guide/apps_and_functions.py::goodbye --name World": ["'Goodbye, World!'"],
    "guide/map.py": ["Processed 1000 items"],
    "guide/starmap.py": [],
    "guide/spawn.py": ["All tasks spawned"],
    "guide/timeouts_and_retries.py": ["attempt 3 succeeded"],
    "guide/container_configuration.py": ["{'five at once'}"],
    "guide/cpu_and_memory.py": ["4 CPUs and 8 GB were asked for", "1 CPUs and 2 GB were asked for"],
    "guide/classes_with_lifecycle.py": ["gpt2 is loaded", "Hello, world! I am a stand-in for gpt2."],
    "guide/llm_code_execution.py": ["2 + 2 = 4", "Error: [Errno 101] Network is unreachable", "left behind: 1 1"],
    "guide/secrets_management.py": ["API_KEY DB_PASSWORD SERVICE_TOKEN"],
    "guide/requesting_gpus.py": ["It has 1 GPU", "They returned [None, None, None]"],
    "model.py": [
        "Loading french",
        "Bonjour, Ada!",
        "Bonjour, Grace!",
        "Loading english",
        "Hello, Alan!",
        "Leaving french",
        "Leaving english",
    ],
    "hello.py": ["Greeting world from inside a container", "Hello, world!"],
    "hello.py --name Ada": ["Hello, Ada!"],
    "images.py": [
        "files: . data inner prepared.txt greeting.txt",
        "greeting: hello from the image",
        "now: hello from the image!",
        "prepared: prepared with six 1",
        "started by: entrypoint",
    ],
    "generator.py --limit 12": ["2", "3", "5", "7", "11"],
    "crawler.py": ["4 visits of 4 pages"],
    "pipeline.py": ["1 of 4 failed: ValueError('nothing to count')", "The most frequent word is 'the': 3 times"],
}

# the same → files beside it
BESIDE = {"guide/secrets_management.py": {".env": "SERVICE_TOKEN=zzz\n"}}

# the same → older names that it uses, each of which it must be told once
OLDER = {
    "guide/container_configuration.py": {
        "concurrency_limit": "max_containers",
        "allow_concurrent_inputs": "@modal.concurrent(max_inputs=…)",
        "container_idle_timeout": "scaledown_window",
    },
}


# the same → what is too large for a machine of few CPUs, of which it must be told once
TOO_LARGE = {"guide/cpu_and_memory.py": (4, "warning: 'heavy_computation' asks for 4 CPUs, and no machine has more")}


@pytest.mark.timeout(600)  # the first one builds its image
@pytest.mark.parametrize("case", CASES)
def test_prints_what_it_should(installation: Installation, case: str) -> None:
    program, *arguments = case.split()
    # Whoever runs it may be unable to read this checkout: he gets the program itself.
    path, _, function = program.partition("::")
    copy = installation.copy(EXAMPLES / path)
    for name, text in BESIDE.get(case, {}).items():
        (copy.parent / name).write_text(text)
    reference = f"{copy}::{function}" if function else str(copy)
    done = installation.run("run", reference, *arguments, folder=copy.parent)
    # What runs here and what runs there print independently of each other.
    assert sorted(CASES[case]) == sorted(line for line in done.stdout.splitlines() if line in CASES[case]), done.stdout
    for old, new in OLDER.get(case, {}).items():
        assert done.stderr.count(f"`{old}` is now `{new}`; accepted for compatibility") == 1, done.stderr
    cpus, warning = TOO_LARGE.get(case, (0, ""))
    if cpus > len(os.sched_getaffinity(0)):
        assert done.stderr.count(warning) == 1, done.stderr


INTERACTIVE = {"guide/interactive_debugging.py"}
"""It is run on a terminal."""


@pytest.mark.timeout(600)  # the first one builds its image
@pytest.mark.parametrize("case", INTERACTIVE)
def test_is_debugged_on_a_terminal(installation: Installation, case: str) -> None:
    program = str(installation.copy(EXAMPLES / case))
    typist = Typist(installation.argv("run", "-i", program), rows=33, cols=101, cwd="/")
    try:
        typist.until("has the terminal until its input ends")
        typist.until("(Pdb) ")
        typist.type("import os;;os.get_terminal_size()\r")
        typist.until("os.terminal_size(columns=101, lines=33)")
        typist.type("c\r")
        assert typist.end() == 0, typist.seen
        assert typist.is_restored
    finally:
        typist.close()


DEPLOYED = {"guide/job_queue.py", "guide/scheduling.py"}
"""They are not run but deployed, which `test_deployed.py` does."""


def test_every_example_is_run() -> None:
    there = {str(path.relative_to(EXAMPLES)) for path in EXAMPLES.glob("**/*.py")}
    assert there - DEPLOYED - INTERACTIVE == {case.split()[0].split("::")[0] for case in CASES}
