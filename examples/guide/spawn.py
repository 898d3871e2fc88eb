"""The guide's block on `.spawn()`: to the letter below the line, which gives it the app that it speaks of."""

import modal

app = modal.App("spawn")

# ----------------------------------------------------------------------------------------------------
@app.function()
def background_task(task_id: int):
    # Long-running task
    ...

@app.local_entrypoint()
def main():
    # Spawn without waiting for results
    for i in range(100):
        background_task.spawn(i)
    print("All tasks spawned")
