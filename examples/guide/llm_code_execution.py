"""The guide's block on code of language models: to the letter below the line."""

import modal

app = modal.App("llm-code-execution")

# ----------------------------------------------------------------------------------------------------
@app.function(
    restrict_modal_access=True,  # Security: restrict Modal API access
    single_use_containers=True,   # Fresh container per request
    timeout=30,
    block_network=True,           # No network access
)
def run_untrusted_code(code: str):
    try:
        exec_globals = {}
        exec(code, exec_globals)
        return exec_globals.get("result")
    except Exception as e:
        return f"Error: {e}"

# ----------------------------------------------------------------------------------------------------
OUTWARDS = """
import socket
socket.create_connection(("192.0.2.1", 80), timeout=5)
"""
LEAVING = """
import os
with open("/tmp/left", "a") as file:
    file.write("x")
result = os.path.getsize("/tmp/left")
"""

@app.local_entrypoint()
def main():
    print("2 + 2 =", run_untrusted_code.remote("result = 2 + 2"))
    print(run_untrusted_code.remote(OUTWARDS))
    print("left behind:", run_untrusted_code.remote(LEAVING), run_untrusted_code.remote(LEAVING))
