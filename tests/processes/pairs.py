"""Two apps of one program, and a third that has the functions of both."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import modicum

one = modicum.App("one", tags={"team": "blue"})
two = modicum.App("two", tags={"team": "red", "stage": "test"})
both = modicum.App("both", tags={"stage": "own"})


@one.function()
def square(x: int) -> int:
    return x * x


@one.function(name="twin")
def twin_of_one() -> str:
    return "one's"


@one.function()
def calls_a_stranger(n: int) -> list[int]:
    return squares.remote(n)


@one.function()
def calls_the_other_twin() -> str:
    return twin_of_two.remote()


@two.function(name="twin")
def twin_of_two() -> str:
    return "two's"


@two.function()
def squares(n: int) -> list[int]:
    return list(square.map(range(n)))


@two.function()
def counts(n: int) -> Iterator[int]:
    yield from range(n)


@both.function()
def sums(n: int) -> int:
    return sum(squares.remote(n)) + square.remote(n) + sum(counts.remote_gen(n))


with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of two that are called "twin", the later one counts
    both.include(one).include(two)
