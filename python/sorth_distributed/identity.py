"""A fingerprint of a dataset, by which a resumed run knows its data (src/data/checksum.ts)."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

from .contract import size_of
from .data import Column, Dataset

_CHUNK = 2**18


def _type_of(column: Column | None) -> str:
    if column is None:
        return "none"
    return "float" if column.is_float else "integer"


def identity_of(dataset: Dataset) -> dict[str, Any]:
    """Name, number of samples, and a CRC-32 of all numbers as float64, in the order in which sorth-onnx reads them."""
    main = next((one for one in dataset.inputs if one.name.lower() == "x"), dataset.inputs[0])
    labels = dataset.labels
    shape_of_labels = labels.shape if labels else ()
    sizes = size_of(main.shape), size_of(shape_of_labels) if labels else 1
    crc = 0

    def add(numbers: Any) -> None:
        nonlocal crc
        crc = zlib.crc32(np.ascontiguousarray(numbers, "<f8").tobytes(), crc)

    types = len(_type_of(main)), len(_type_of(labels))
    add([dataset.size, *main.shape, -1, *shape_of_labels, -1, *types])
    rows = max(1, min(dataset.size, _CHUNK // max(1, sum(sizes))))
    for start in range(0, dataset.size, rows):
        own = np.arange(start, min(start + rows, dataset.size))
        add(main.read(own))
        if labels:
            add(labels.read(own))
    for column in dataset.inputs:
        if column is main:
            continue
        add([*column.shape, -1, len(_type_of(column))])
        for start in range(0, dataset.size, 4096):
            add(column.read(np.arange(start, min(start + 4096, dataset.size))))
    return {"name": dataset.name, "samples": dataset.size, "checksum": f"crc32:{crc:08x}"}
