"""The guide's blocks, to the letter, and our own examples, each run as a user runs them."""

from __future__ import annotations

import pytest

from tests.real.installation import ROOT, Installation

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
    "guide/classes_with_lifecycle.py": ["gpt2 is loaded", "Hello, world! I am a stand-in for gpt2."],
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

# the same → older names that it uses, each of which it must be told once
OLDER = {
    "guide/container_configuration.py": {
        "concurrency_limit": "max_containers",
        "allow_concurrent_inputs": "@modal.concurrent(max_inputs=…)",
        "container_idle_timeout": "scaledown_window",
    },
}


@pytest.mark.timeout(600)  # the first one builds its image
@pytest.mark.parametrize("case", CASES)
def test_prints_what_it_should(installation: Installation, case: str) -> None:
    program, *arguments = case.split()
    # Whoever runs it may be unable to read this checkout: he gets the program itself.
    path, _, function = program.partition("::")
    copy = installation.copy(EXAMPLES / path)
    done = installation.run("run", f"{copy}::{function}" if function else str(copy), *arguments)
    # What runs here and what runs there print independently of each other.
    assert sorted(CASES[case]) == sorted(line for line in done.stdout.splitlines() if line in CASES[case]), done.stdout
    for old, new in OLDER.get(case, {}).items():
        assert done.stderr.count(f"`{old}` is now `{new}`; accepted for compatibility") == 1, done.stderr


DEPLOYED = {"guide/job_queue.py"}
"""It is not run but deployed, which `test_deployed.py` does."""


def test_every_example_is_run() -> None:
    there = {str(path.relative_to(EXAMPLES)) for path in EXAMPLES.glob("**/*.py")}
    assert there - DEPLOYED == {case.split()[0].split("::")[0] for case in CASES}
