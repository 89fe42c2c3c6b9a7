"""The random numbers of sorth-onnx (src/random.ts): xoroshiro128+ in 32-bit words, the same bits as in TypeScript.

A stream is read in blocks: its state is a linear function of the state before, over bits, so that the states at equal distances
are computed for all blocks at once and each block is then advanced beside the others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .contract import Contract, Drawn

Words = NDArray[np.uint32]
"""[4, lanes]: the state words s01, s00, s11, s10 of each lane."""

_FACTORS = (0x239B961B, 0xAB0E9789, 0x38B34AE5, 0xA1E38B93)
_MASK = 0xFFFFFFFF
_BLOCK_BITS = 6
"""Every lane gives 2**6 numbers."""


def _avalanche(word: Any) -> Any:
    h = word & _MASK
    h = ((h ^ (h >> 16)) * 0x85EBCA6B) & _MASK
    h = ((h ^ (h >> 13)) * 0xC2B2AE35) & _MASK
    return h ^ (h >> 16)


def _absorb(state: list[Any], word: Any) -> None:
    for lane, factor in enumerate(_FACTORS):
        state[lane] = _avalanche(state[lane] ^ (((word + lane + 1) * factor) & _MASK))
    total = sum(state)
    for lane in range(4):
        state[lane] = _avalanche(state[lane] + total)


def _seeded(purpose: str, keys: tuple[Any, ...]) -> list[Any]:
    """The state for a purpose and keys: one, or one for each number of an array among the keys."""
    state: list[Any] = [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344]
    for character in purpose:
        _absorb(state, ord(character))
    for key in keys:
        _absorb(state, key & _MASK)
        _absorb(state, (key >> 32) & _MASK)
    _absorb(state, len(purpose))
    _absorb(state, len(keys))
    return state


def _next(words: Words) -> Words:
    """Advances all lanes by one number, in place, and returns that number of each."""
    s01, s00, s11, s10 = words
    out: NDArray[np.uint32] = s00 + s10
    a0, a1 = s10 ^ s00, s11 ^ s01
    new00 = (s00 << np.uint32(24)) ^ (s01 >> np.uint32(8)) ^ a0 ^ (a0 << np.uint32(16))
    new01 = (s01 << np.uint32(24)) ^ (s00 >> np.uint32(8)) ^ a1 ^ ((a1 << np.uint32(16)) | (a0 >> np.uint32(16)))
    new10 = (a1 << np.uint32(5)) ^ (a0 >> np.uint32(27))
    new11 = (a0 << np.uint32(5)) ^ (a1 >> np.uint32(27))
    words[0], words[1], words[2], words[3] = new01, new00, new11, new10
    return out


def _apply(columns: Words, words: Words) -> Words:
    """The states that a linear map, given by the images of the 128 unit states, makes of states."""
    result = np.zeros_like(words)
    for bit in range(128):
        is_set = (words[bit // 32] >> np.uint32(bit % 32)) & np.uint32(1)
        result ^= columns[:, bit : bit + 1] * is_set[np.newaxis, :]
    return result


@lru_cache(maxsize=64)
def _jump(power: int) -> Words:
    """The map that advances a state by 2**power numbers."""
    if power > 0:
        half = _jump(power - 1)
        return _apply(half, half)
    units: Words = np.zeros((4, 128), np.uint32)
    for bit in range(128):
        units[bit // 32, bit] = np.uint32(1) << np.uint32(bit % 32)
    _next(units)
    return units


def _share(words: NDArray[np.uint32]) -> NDArray[np.float64]:
    """From 0 to 1, multiples of 2**-24."""
    return (words & np.uint32(0xFFFFFF)).astype(np.float64) * 2.0**-24


def _fine_share(high: NDArray[np.uint32], low: NDArray[np.uint32]) -> NDArray[np.float64]:
    """From 0 to 1, multiples of 2**-53."""
    return ((high & np.uint32(0x3FFFFFF)).astype(np.float64) * 2.0**27 + (low & np.uint32(0x7FFFFFF))) * 2.0**-53


class Stream:
    """Random numbers for one purpose and keys, as `randomStream` of sorth-onnx gives them."""

    def __init__(self, purpose: str, *keys: int) -> None:
        self._words: Words = np.array(_seeded(purpose, keys), np.uint32).reshape(4, 1)
        self._rest: NDArray[np.uint32] = np.zeros(0, np.uint32)

    def words(self, count: int) -> NDArray[np.uint32]:
        """The next `count` numbers of 32 bits."""
        if count > len(self._rest):
            self._rest = np.concatenate([self._rest, self._read(count - len(self._rest))])
        taken, self._rest = self._rest[:count], self._rest[count:]
        return taken

    def _read(self, count: int) -> NDArray[np.uint32]:
        lanes = self._words
        power = _BLOCK_BITS
        needed = -(-count // (1 << _BLOCK_BITS))
        while lanes.shape[1] < needed:
            lanes = np.concatenate([lanes, _apply(_jump(power), lanes)], axis=1)
            power += 1
        numbers = np.empty((1 << _BLOCK_BITS, lanes.shape[1]), np.uint32)
        for row in range(1 << _BLOCK_BITS):
            numbers[row] = _next(lanes)
        # The last lane has arrived where the stream goes on.
        self._words = lanes[:, -1:].copy()
        return numbers.T.reshape(-1)

    def float32(self, count: int) -> NDArray[np.float64]:
        """Uniform from 0 to 1, multiples of 2**-24."""
        return _share(self.words(count))

    def float64(self, count: int) -> NDArray[np.float64]:
        """Uniform from 0 to 1, multiples of 2**-53."""
        return _fine_share(*self.words(2 * count).reshape(count, 2).T)

    def normal(self, count: int) -> NDArray[np.float64]:
        """Standard normal numbers (Box-Muller)."""
        pairs = self.float64(2 * count).reshape(count, 2)
        radius = [math.sqrt(-2 * math.log(1 - u)) for u in pairs[:, 0]]
        angle = [math.cos(2 * math.pi * u) for u in pairs[:, 1]]
        return np.array([r * a for r, a in zip(radius, angle)], np.float64)

    def order(self, count: int) -> NDArray[np.int64]:
        """0 to count - 1 in a random order (Fisher-Yates, as `permutation` of src/random.ts)."""
        order = list(range(count))
        numbers = iter(self.words(count + 64).tolist())
        for i in range(count - 1, 0, -1):
            size = i + 1
            allowed = (2**32 // size) * size if size > 2 else 2**32
            value = self._shifted(numbers)
            while value >= allowed:
                value = self._shifted(numbers)
            j = value % size
            order[i], order[j] = order[j], order[i]
        return np.array(order, np.int64)

    def _shifted(self, numbers: object) -> int:
        value = next(numbers, None)  # type: ignore[call-overload]
        if value is None:
            value = int(self.words(1)[0])
        # The generator's numbers are signed; 2**31 is added to each.
        return (int(value) + 0x80000000) & _MASK


class SampleStreams:
    """A stream for each of some samples, read beside each other: what a sample gets does not depend on the others."""

    def __init__(self, purpose: str, *keys: int, samples: NDArray[np.int64]) -> None:
        state = _seeded(purpose, (*keys, samples.astype(np.uint64)))
        self._words: Words = np.array(state, np.uint64).astype(np.uint32)

    def float32(self) -> NDArray[np.float64]:
        """For each sample a number from 0 to 1, a multiple of 2**-24."""
        return _share(_next(self._words))

    def float64(self) -> NDArray[np.float64]:
        """For each sample a number from 0 to 1, a multiple of 2**-53."""
        return _fine_share(_next(self._words), _next(self._words))

    def below(self, size: int) -> NDArray[np.int64]:
        """For each sample a whole number from 0 to size - 1."""
        allowed = (2**32 // size) * size if size > 2 else 2**32
        waiting = np.arange(self._words.shape[1])
        found = np.zeros(len(waiting), np.int64)
        while len(waiting) > 0:
            words = self._words[:, waiting]
            # The generator's numbers are signed; 2**31 is added to each.
            found[waiting] = (_next(words).astype(np.int64) + 2**31) % 2**32
            self._words[:, waiting] = words
            waiting = waiting[found[waiting] >= allowed]
        return found % size


def shuffled_indices(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    """The order of the samples in an epoch, counted from 0."""
    return Stream("order", seed, epoch).order(count)


def split_rows(size: int, fraction: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The samples to train on, and those that are held out; both ascending."""
    held = min(max(math.floor(size * fraction + 0.5), 1), size - 1)
    order = Stream("validation", seed).order(size)
    return np.sort(order[held:]), np.sort(order[:held])


def of_step(contract: Contract, step: int, epoch: int) -> list[tuple[Drawn, NDArray[np.float32]]]:
    """What a step of the joint batch draws: Dropout masks, 0 or 1, and numbers of penalties and of the model's nodes."""
    stream = Stream("dropout", contract.seed, step)
    masks = [stream.float32(math.prod(mask.shape)) >= mask.raw["ratio"] for mask in contract.masks]
    draws = [drawn(one.raw, contract.seed, epoch if one.raw["anew"] == "epoch" else step) for one in contract.draws]
    found = zip((*contract.masks, *contract.draws), (*masks, *draws))
    return [(one, numbers.astype(np.float32).reshape(one.shape)) for one, numbers in found]


def drawn(draw: Mapping[str, Any], run: int, turn: int) -> NDArray[np.float64]:
    """The numbers of a draw in one step or epoch of a run (src/penalties/draws.ts)."""
    rows, columns = draw["shape"]
    stream = Stream(f"penalty, {draw['distribution']}", draw["seed"], rows, columns, run, turn)
    if draw["distribution"] == "uniform":
        return stream.float64(rows * columns)
    numbers = stream.normal(rows * columns).reshape(rows, columns)
    if draw["distribution"] == "normal":
        return numbers
    norms = np.array([math.hypot(*row) for row in numbers])
    return np.asarray(numbers / norms[:, np.newaxis], np.float64)
