"""The guide's block on container configuration: to the letter below the line, but that the function does something."""

import threading

import modal

app = modal.App("container-configuration")

together = threading.Barrier(5)

# ----------------------------------------------------------------------------------------------------
@app.function(
    concurrency_limit=10,         # Max containers
    allow_concurrent_inputs=5,    # Inputs per container
    container_idle_timeout=300,   # Keep warm for 5 min
)
def optimized_function():
    together.wait(60)  # until five of them are in this container at once
    return "five at once"

# ----------------------------------------------------------------------------------------------------
@app.local_entrypoint()
def main():
    calls = [optimized_function.spawn() for _ in range(5)]
    print(set(modal.FunctionCall.gather(*calls)))
