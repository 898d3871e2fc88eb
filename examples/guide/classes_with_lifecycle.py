"""The guide's block on classes: to the letter below the line, but for the GPU, and with a stand-in for the model hub."""

import modal

app = modal.App("classes-with-lifecycle")

STAND_IN = """
def pipeline(task, model, device):
    print(f"{model} is loaded")
    return lambda prompt, max_length: [{"generated_text": f"{prompt} I am a stand-in for {model}."}]
"""

# What the block imports as `transformers`, without the gigabytes and the account that the real one needs.
image = modal.Image.debian_slim(python_version="3.12").run_commands(
    f"python - <<'END'\nimport site\nopen(site.getsitepackages()[0] + '/transformers.py', 'w').write('''{STAND_IN}''')\nEND"
)

# ----------------------------------------------------------------------------------------------------
@app.cls(image=image)
class ModelService:
    @modal.enter()
    def load_model(self):
        # Runs once when container starts
        from transformers import pipeline
        self.model = pipeline("text-generation", model="gpt2", device="cuda")
    
    @modal.method()
    def generate(self, prompt: str) -> str:
        return self.model(prompt, max_length=100)[0]["generated_text"]
    
    @modal.exit()
    def cleanup(self):
        # Runs when container shuts down
        del self.model

# Usage
@app.local_entrypoint()
def main():
    service = ModelService()
    result = service.generate.remote("Hello, world!")
    print(result)
