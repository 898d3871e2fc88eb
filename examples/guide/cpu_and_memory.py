"""The guide's block on CPU and memory: to the letter below the line, but that the functions do something."""

import os

import modal

app = modal.App("cpu-and-memory")


def report(cpus, memory_gib):
    threads = int(os.environ["OMP_NUM_THREADS"])
    assert threads == min(cpus, os.cpu_count()), threads  # a smaller machine gives all that it has
    return f"{cpus} CPUs and {memory_gib} GB were asked for"

# ----------------------------------------------------------------------------------------------------
@app.function(
    cpu=4.0,           # 4 CPU cores
    memory=8192,       # 8 GB RAM
)
def heavy_computation():
    return report(4, 8)

# With limits
@app.function(
    cpu=(1.0, 4.0),           # Request 1 core, limit 4
    memory=(2048, 8192),      # Request 2GB, limit 8GB
)
def flexible_function():
    return report(1, 2)

# ----------------------------------------------------------------------------------------------------
@app.local_entrypoint()
def main():
    print(heavy_computation.remote())
    print(flexible_function.remote())
