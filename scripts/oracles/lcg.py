"""Random numbers that Python and TypeScript generate identically. The twin is test/helpers/lcg.ts; change both or neither.

A block of numbers is named. Its name is hashed to 32 bits (FNV-1a), which seeds a linear congruential generator
(Numerical Recipes: s <- 1664525 s + 1013904223 mod 2^32); the upper 24 bits of each state are a number in [0, 1)
that float32 holds exactly.
"""

from collections.abc import Iterator, Sequence
from math import prod

import numpy as np


def stream(name: str) -> Iterator[float]:
    """Endless numbers in [0, 1), multiples of 2^-24."""
    state = 0x811C9DC5
    for byte in name.encode():
        state = ((state ^ byte) * 0x01000193) & 0xFFFFFFFF
    while True:
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
        yield (state >> 8) / 2**24


def uniform(name: str, shape: Sequence[int], scale: float = 1.0) -> np.ndarray:
    """The block `name`: numbers uniform in [-scale, scale), rounded to float32."""
    numbers = stream(name)
    values = [(2 * next(numbers) - 1) * scale for _ in range(prod(shape))]
    return np.array(values, np.float64).astype(np.float32).reshape(shape)


def labels(name: str, count: int, classes: int) -> np.ndarray:
    """The block `name` as class indices 0 ... classes-1 (int64)."""
    numbers = stream(name)
    return np.array([int(next(numbers) * classes) for _ in range(count)], np.int64)


def signs(name: str, count: int) -> np.ndarray:
    """The block `name` as signs, +1 and -1: a direction along which two gradients are compared."""
    numbers = stream(name)
    return np.array([-1.0 if next(numbers) < 0.5 else 1.0 for _ in range(count)], np.float64)
