"""A class whose methods share what its containers load once; each set of parameters has containers of its own.

modicum run examples/model.py
modicum run examples/model.py::Greeter.greet --language french --name Ada
"""

import modicum

app = modicum.App("model")

WORDS = {"english": "Hello", "french": "Bonjour"}


@app.cls(scaledown_window=10)
@modicum.concurrent(max_inputs=10)
class Greeter:
    language: str = modicum.parameter(default="english")

    @modicum.enter()
    def load(self):
        print(f"Loading {self.language}")
        self.word = WORDS[self.language]

    @modicum.method()
    def greet(self, name: str) -> str:
        return f"{self.word}, {name}!"

    @modicum.exit()
    def leave(self):
        print(f"Leaving {self.language}")


@app.local_entrypoint()
def main():
    for greeting in Greeter(language="french").greet.map(["Ada", "Grace"]):
        print(greeting)
    print(Greeter().greet.remote("Alan"))
