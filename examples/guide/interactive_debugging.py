"""The guide's block on interactive debugging, to the letter below the line: `modicum run -i interactive_debugging.py`."""

import modal

app = modal.App("interactive-debugging")

# ----------------------------------------------------------------------------------------------------
# Add breakpoint for debugging
@app.function()
def debug_function():
    import pdb; pdb.set_trace()
    ...
