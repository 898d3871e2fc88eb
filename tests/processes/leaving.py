"""A program that leaves its app behind: `python -m tests.processes.leaving FLAG…`; says its ids, then waits.

The function ends when the file that it is given is there.
"""

from __future__ import annotations

import os
import sys
import time

import modicum

app = modicum.App("leaving", tags={"team": "blue"})


@app.function(scaledown_window=2)
def wait_for(path: str) -> str:
    while not os.path.exists(path):
        time.sleep(0.02)
    return "done"


def main(path: str, detach: bool) -> None:
    """Spawn, say what, and stay until somebody ends this process."""
    with app.run(detach=detach):
        call = wait_for.spawn(path)
        print(app.app_id, call.object_id, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2] == "detached")
