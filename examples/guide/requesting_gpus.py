"""The guide's block on GPUs: to the letter between the lines, with a stand-in for torch and its gigabytes.

It asks for nine GPUs at once. Where there are none, `MODICUM_GPUS=H100:8,A100-40GB:2` in the server's environment has it
taken for granted that there are, to see which function gets which.
"""

import modal

STAND_IN = """
import os
class cuda:
    @staticmethod
    def is_available():
        print("It has", len(os.environ.get("NVIDIA_VISIBLE_DEVICES", "").split(",")), "GPU")
        return "NVIDIA_VISIBLE_DEVICES" in os.environ
"""

image = modal.Image.debian_slim().run_commands(
    f"python - <<'END'\nimport site\nopen(site.getsitepackages()[0] + '/torch.py', 'w').write('''{STAND_IN}''')\nEND"
)

app = modal.App("requesting-gpus", image=image)

# ----------------------------------------------------------------------------------------------------
# Single GPU
@app.function(gpu="A100")
def train_model():
    import torch
    assert torch.cuda.is_available()
    ...

# Multiple GPUs (same machine)
@app.function(gpu="H100:8")
def train_large_model():
    ...

# GPU fallbacks (tries in order)
@app.function(gpu=["H100", "A100-80GB", "A100-40GB"])
def flexible_inference():
    ...
# ----------------------------------------------------------------------------------------------------


@app.local_entrypoint()
def main():
    calls = [each.spawn() for each in (train_model, train_large_model, flexible_inference)]
    print("They returned", modal.FunctionCall.gather(*calls))
