"""The smallest app: one function, called once from here and run in a container.

modicum run examples/hello.py
"""

import modicum

app = modicum.App("hello")


@app.function()
def hello(name: str) -> str:
    """Greet somebody, and say it in the container's own output too."""
    print(f"Greeting {name} from inside a container")
    return f"Hello, {name}!"


@app.local_entrypoint()
def main(name: str = "world") -> None:
    """Run here; `--name` on the command line sets the argument."""
    print(hello.remote(name))
