"""The trained model: the file that `sorth-onnx distribute` wrote, with the trained numbers in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .checkpoints import write_safely
from .contract import Array, Contract
from .errors import RunError

_METADATA_FIELD = 14
_CONVERSION_KEY = "sorth.data"


def check_export(contract: Contract, run: Path | None, path: Path) -> None:
    """Refuses -o for a run whose trained model is more than other numbers in the same file."""
    if contract.raw["export"]["weights"] is None:
        raise RunError(
            "-o: the trained model of this run is computed from its weights (adapters, tied or packed weights): leave -o out, "
            f"and behind the run: sorth-onnx export {run or 'RUN'} -o {path}"
        )


def write_model(contract: Contract, path: Path, weights: Mapping[str, Array], record: Mapping[str, Any]) -> None:
    """Writes the trained model: weights by input, in the model's form."""
    check_export(contract, None, path)
    content = bytearray((contract.folder / contract.raw["export"]["file"]).read_bytes())
    for place in contract.raw["export"]["weights"]:
        data = weights[place["input"]].tobytes()
        start, length = place["offset"], place["length"]
        if len(data) != length:
            raise RunError(f'"{place["input"]}" has {len(data)} bytes, but {length} in the model')
        content[start : start + length] = data
    write_safely(path, [bytes(content), _metadata(_CONVERSION_KEY, json.dumps(record, ensure_ascii=False))])


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _field(number: int, payload: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _metadata(key: str, value: str) -> bytes:
    """An entry of a model's metadata_props: fields of a message may stand in any order, so it goes to the end of the file."""
    return _field(_METADATA_FIELD, _field(1, key.encode()) + _field(2, value.encode()))
