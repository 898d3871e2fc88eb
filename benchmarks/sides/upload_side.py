"""A program with a large tree of local files, as a contestant: from its start to the first result of a function."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import modicum

TREE = os.environ.get("BENCHMARK_TREE", "/nowhere")  # in a container it is the image that has it

app = modicum.App("upload", image=modicum.Image.debian_slim().add_local_dir(TREE, "/tree"))


@app.function()
def count() -> int:
    return sum(len(files) for _, _, files in os.walk("/tree"))


def main() -> None:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from harness import serve

    def run() -> dict[str, float]:
        """Return how long it took until the app ran, and until a function had counted the files in its container."""
        began_at = time.perf_counter()
        with app.run():
            running_at = time.perf_counter()
            files = count.remote()
            counted_at = time.perf_counter()
        return {"uploaded": running_at - began_at, "counted": counted_at - began_at, "files": files}

    serve({"run": run})


if __name__ == "__main__":
    main()
