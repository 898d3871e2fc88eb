"""The guide's block on timeouts and retries: to the letter below the line, but that the function does something."""

import modal

app = modal.App("timeouts-and-retries")

attempts = []

# ----------------------------------------------------------------------------------------------------
@app.function(
    timeout=600,              # 10 minute timeout
    retries=modal.Retries(
        max_retries=3,
        initial_delay=1.0,
        backoff_coefficient=2.0,
    ),
)
def reliable_function():
    attempts.append(len(attempts) + 1)
    if len(attempts) < 3:
        raise ConnectionError("not yet")
    return f"attempt {len(attempts)} succeeded"

# ----------------------------------------------------------------------------------------------------
@app.local_entrypoint()
def main():
    print(reliable_function.remote())
