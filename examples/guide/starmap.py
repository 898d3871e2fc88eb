"""The guide's block on `.starmap()`: to the letter below the line, which gives it the app that it speaks of."""

import modal

app = modal.App("starmap")

# ----------------------------------------------------------------------------------------------------
@app.function()
def add(x: int, y: int) -> int:
    return x + y

@app.local_entrypoint()
def main():
    pairs = [(1, 2), (3, 4), (5, 6)]
    results = list(add.starmap(pairs))
