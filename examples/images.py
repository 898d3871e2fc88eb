"""An image of one's own: packages, commands, a function that runs while it is built, and how its containers start.

modicum run examples/images.py
"""

import os

import modicum


def prepare(path: str) -> None:
    """Run once, when the image is built: what it writes is there in every container."""
    import six

    with open(path, "w") as file:
        file.write(f"prepared with six {six.__version__.split('.')[0]}")


image = (
    modicum.Image.debian_slim()
    .apt_install("tree")
    .pip_install("six")
    .env({"GREETING": "hello from the image"})
    .workdir("/srv/app")
    .run_commands('echo "$GREETING" > greeting.txt', "mkdir -p data/inner")
    .run_function(prepare, args=("/srv/app/data/prepared.txt",))
    .dockerfile_commands(["ARG SUFFIX=!", "ENV GREETING=${GREETING}${SUFFIX}"])
    .entrypoint(["/bin/sh", "-c", 'export STARTED_BY=entrypoint; exec "$@"', "entry"])
)
app = modicum.App("images", image=image)

with image.imports():
    import six


@app.function()
def look() -> dict[str, str]:
    """Tell what a container of the image has."""
    import subprocess

    with open("greeting.txt") as greeting, open("data/prepared.txt") as prepared:
        return {
            "files": subprocess.run(["tree", "-i", "--noreport"], capture_output=True, text=True, check=True).stdout,
            "greeting": greeting.read().strip(),
            "now": os.environ["GREETING"],
            "prepared": prepared.read(),
            "six": six.__name__,
            "started by": os.environ["STARTED_BY"],
        }


@app.local_entrypoint()
def main() -> None:
    """Show it."""
    for name, text in look.remote().items():
        print(f"{name}: {' '.join(text.split())}")
