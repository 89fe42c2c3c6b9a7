"""A fingerprint of a dataset, by which a resumed run knows its data (src/data/checksum.ts)."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from .contract import Array, size_of
from .data import Column, Dataset, pieces

_CHUNK = 2**18


def _type_of(column: Column | None) -> str:
    if column is None:
        return "none"
    return "float" if column.is_float else "integer"


def _numbers(dataset: Dataset) -> Iterator[Array]:
    """All numbers as float64, in the order in which sorth-onnx reads them for its checksum."""
    main, labels = dataset.main, dataset.labels
    shape_of_labels = labels.shape if labels else ()
    sizes = size_of(main.shape) + (size_of(shape_of_labels) if labels else 1)
    types = len(_type_of(main)), len(_type_of(labels))
    yield np.array([dataset.size, *main.shape, -1, *shape_of_labels, -1, *types], "<f8")
    for own in pieces(dataset.size, max(1, _CHUNK // max(1, sizes))):
        yield np.ascontiguousarray(main.read(own), "<f8")
        # Without labels, sorth-onnx reads one zero for each sample.
        yield np.ascontiguousarray(labels.read(own), "<f8") if labels else np.zeros(len(own), "<f8")
    for column in dataset.inputs:
        if column is main:
            continue
        yield np.array([*column.shape, -1, len(_type_of(column))], "<f8")
        for own in pieces(dataset.size):
            yield np.ascontiguousarray(column.read(own), "<f8")


def identity_of(dataset: Dataset) -> dict[str, Any]:
    """Name, number of samples, and a CRC-32 of all numbers."""
    known = next((one for one in dataset.checksums if one.startswith("crc32:")), None)
    if known is not None:
        return {"name": dataset.name, "samples": dataset.size, "checksum": known}
    crc = 0
    for numbers in _numbers(dataset):
        crc = zlib.crc32(numbers.tobytes(), crc)
    return {"name": dataset.name, "samples": dataset.size, "checksum": f"crc32:{crc:08x}"}


_MOST_NUMBERS = 1_000_000
"""The checksum of sorth-onnx is computed up to this many numbers, which takes Python about two seconds."""


def same_data(dataset: Dataset, before: Mapping[str, Any]) -> bool | None:
    """Whether a dataset is that of a checkpoint; None where only the number of samples could be compared."""
    if before["samples"] != dataset.size:
        return False
    if dataset.checksums:
        return before["checksum"] in dataset.checksums
    if before["checksum"].startswith("crc32:"):
        return bool(identity_of(dataset)["checksum"] == before["checksum"])
    columns = [*dataset.inputs, *([dataset.labels] if dataset.labels else [])]
    if dataset.size * sum(size_of(one.shape) for one in columns) > _MOST_NUMBERS:
        return None
    return bool(_murmur(dataset) == before["checksum"])


def _murmur(dataset: Dataset) -> str:
    """The checksum that `sorth-onnx train` writes: two MurmurHash3, of the low and the high words of the doubles."""
    low, high = 0x9747B28C, 0x85EBCA6B
    for numbers in _numbers(dataset):
        words = numbers.reshape(-1).view("<u4").tolist()
        low = _mixed(low, words[0::2])
        high = _mixed(high, words[1::2])
    return f"{_finished(low ^ high):08x}{_finished(high):08x}"


def _mixed(h: int, words: list[int]) -> int:
    for word in words:
        k = (word * 0xCC9E2D51) & 0xFFFFFFFF
        k = ((k << 15) | (k >> 17)) & 0xFFFFFFFF
        h ^= (k * 0x1B873593) & 0xFFFFFFFF
        h = ((h << 13) | (h >> 19)) & 0xFFFFFFFF
        h = (h * 5 + 0xE6546B64) & 0xFFFFFFFF
    return h


def _finished(h: int) -> int:
    h ^= h >> 16
    h = (h * 0x85EBCA6B) & 0xFFFFFFFF
    h ^= h >> 13
    h = (h * 0xC2B2AE35) & 0xFFFFFFFF
    return h ^ (h >> 16)
