"""Two stages: many inputs in parallel, failures kept as values, then one call that gathers, awaited later.

modicum run examples/pipeline.py
"""

import modicum

app = modicum.App("pipeline")


@app.function(max_containers=2)
def count_words(text: str) -> dict[str, int]:
    """Count the words of one text; an empty text is an error."""
    if not text:
        raise ValueError("nothing to count")
    counts: dict[str, int] = {}
    for word in text.lower().split():
        counts[word] = counts.get(word, 0) + 1
    return counts


@app.function()
def merge(parts: list[dict[str, int]]) -> list[tuple[str, int]]:
    """Add the counts up, the most frequent word first."""
    total: dict[str, int] = {}
    for part in parts:
        for word, count in part.items():
            total[word] = total.get(word, 0) + count
    return sorted(total.items(), key=lambda entry: (-entry[1], entry[0]))


@app.local_entrypoint()
def main() -> None:
    """Map, sort out what failed, reduce."""
    texts = ["the cat sat", "the dog sat", "", "the end"]
    results = list(count_words.map(texts, return_exceptions=True))
    failures = [result for result in results if isinstance(result, Exception)]
    print(f"{len(failures)} of {len(texts)} failed: {failures[0]!r}")

    call = merge.spawn([result for result in results if not isinstance(result, Exception)])
    word, count = call.get(timeout=60)[0]
    print(f"The most frequent word is {word!r}: {count} times")
