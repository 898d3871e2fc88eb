"""A generator runs in a container while its items are used here, no faster than they are taken.

modicum run examples/generator.py --limit 50
"""

from collections.abc import Iterator

import modicum

app = modicum.App("generator")


@app.function()
def primes(limit: int) -> Iterator[int]:
    """Yield the primes below `limit`."""
    found: list[int] = []
    for number in range(2, limit):
        if all(number % prime for prime in found):
            found.append(number)
            yield number


@app.local_entrypoint()
def main(limit: int = 30) -> None:
    """Print each prime as it arrives."""
    for prime in primes.remote_gen(limit):
        print(prime)
