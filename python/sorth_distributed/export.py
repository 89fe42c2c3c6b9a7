"""The trained model: the file that `sorth-onnx distribute` wrote, with the trained numbers in it."""

from __future__ import annotations

import filecmp
import os
import re
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
import onnxruntime as ort

from .checkpoints import copy_safely, write_safely
from .contract import DTYPES, Array, Contract
from .errors import RunError
from .position import json_text
from .wire import metadata, with_data_file

_CONVERSION_KEY = "sorth.data"


def check_export(contract: Contract, run: Path | None, path: Path) -> None:
    """Refuses -o for a run whose trained model is more than other numbers in the same file."""
    if contract.raw["export"]["weights"] is None:
        raise RunError(
            "-o: more of the trained model of this run than its numbers depends on the training: leave -o out, "
            f"and behind the run: sorth-onnx export {run or 'RUN'} -o {path}"
        )


def check_output(contract: Contract, path: Path, may_replace: bool) -> None:
    """Refuses, before the run begins, a file that could not be written at its end."""
    if path.is_dir():
        raise RunError(f'cannot write "{path}": it is a folder; give a file name')
    if not path.parent.is_dir():
        raise RunError(f'cannot write "{path}": the folder "{path.parent}" does not exist; create it first')
    own = json_text({**contract.raw, "settings": None})
    if path.resolve().parent == contract.folder.resolve() and json_text(path.name) in own:
        raise RunError(f'"{path}" belongs to the graphs of sorth-onnx distribute; give another name with -o')
    if path.exists() and not may_replace:
        raise RunError(f'"{path}" already exists; give another name with -o, or --force to replace it')
    try:
        TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise RunError(f'cannot write "{path}": {error.strerror}') from error


def write_model(contract: Contract, path: Path, weights: Mapping[str, Array], record: Mapping[str, Any]) -> None:
    """Writes the trained model: weights by input, in the model's form."""
    check_export(contract, None, path)
    TrainedModel(contract, weights).write(path, record)


class TrainedModel:
    """The tensors of the trained model, each computed when it is written."""

    def __init__(self, contract: Contract, weights: Mapping[str, Array]) -> None:
        self._contract, self._weights = contract, weights
        self._export = contract.raw["export"]
        self._content = bytearray((contract.folder / self._export["file"]).read_bytes())
        self._sessions: dict[str, ort.InferenceSession] = {}

    def write(self, path: Path, record: Mapping[str, Any]) -> None:
        """Writes the model, and its data file if it has one: the data first, so that what is at `path` is whole at any time."""
        data = self._export["data"]
        content = self._content
        for weight in self._export["weights"]:
            if not weight.get("external"):
                content[weight["offset"] : weight["offset"] + weight["length"]] = self._bytes_of(weight)
        former = path.read_bytes() if data and path.exists() else b""
        own = _free_name(path) if data else None
        if own:
            content = with_data_file(content, data, own.name)
            write_safely(own, self._data())
        self._carry(path)
        write_safely(path, [memoryview(content), metadata(_CONVERSION_KEY, json_text(record))])
        for old in _data_files(path):
            if old != own and old.name.encode() in former:
                old.unlink()

    def _data(self) -> Iterator[bytes]:
        """The data file, in pieces."""
        end = 0
        for weight in sorted((one for one in self._export["weights"] if one.get("external")), key=lambda one: one["offset"]):
            yield bytes(weight["offset"] - end)
            end = weight["offset"] + weight["length"]
            if weight.get("state") or weight.get("graph"):
                yield self._bytes_of(weight)
            else:
                yield from self._pieces(weight["base"])

    def _carry(self, path: Path) -> None:
        """Puts the data files that the model shares beside it."""
        for name in self._export["beside"]:
            source, target = self._contract.folder / name, path.parent / name
            if target.exists() and os.path.samefile(source, target):
                continue
            if target.exists() and not filecmp.cmp(source, target, shallow=False):
                raise RunError(
                    f'"{path}" needs its data file "{target}", which exists with other content: give -o another folder'
                )
            if not target.exists():
                copy_safely(source, target)

    def _bytes_of(self, weight: Mapping[str, Any]) -> bytes:
        """A tensor's numbers in the type of the file."""
        graph = weight.get("graph")
        numbers = self._computed(graph, weight) if graph else self._weights[weight["state"]]
        data = _stored(numbers, weight["type"], weight["name"])
        if len(data) != weight["length"]:
            raise RunError(f'"{weight["name"]}" has {len(data)} bytes, but {weight["length"]} in the model')
        return data

    def _computed(self, graph: str, weight: Mapping[str, Any]) -> Array:
        session = self._sessions.get(graph)
        if session is None:
            options = ort.SessionOptions()
            # The operations as they are written: another order of sums is another number.
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
            options.log_severity_level = 4
            session = ort.InferenceSession(self._contract.file(graph), options, ["CPUExecutionProvider"])
            self._sessions[graph] = session
        feeds: dict[str, Array] = {}
        for port in session.get_inputs():
            read = weight["reads"][port.name]
            feeds[port.name] = self._weights[read["state"]] if "state" in read else self._before(weight).reshape(port.shape)
        made: Array = session.run(None, feeds)[0]
        return made

    def _before(self, weight: Mapping[str, Any]) -> Array:
        """A tensor's numbers before the training."""
        base = weight.get("base")
        if base is None:
            data = bytes(self._content[weight["offset"] : weight["offset"] + weight["length"]])
        else:
            data = b"".join(self._pieces(base))
        if weight["type"] == "bfloat16":
            return (np.frombuffer(data, np.uint16).astype(np.uint32) << 16).view(np.float32)
        numbers = np.frombuffer(data, DTYPES[weight["type"]])
        return numbers if numbers.dtype == np.float64 else numbers.astype(np.float32)

    def _pieces(self, base: Mapping[str, Any]) -> Iterator[bytes]:
        """A range of a data file."""
        left = base["length"]
        with (self._contract.folder / base["file"]).open("rb") as file:
            file.seek(base["offset"])
            while left > 0:
                piece = file.read(min(left, 2**24))
                if not piece:
                    raise RunError(f'"{self._contract.folder / base["file"]}" is cut off: write the folder again')
                left -= len(piece)
                yield piece


def _stored(numbers: Array, kind: str, name: str) -> bytes:
    """Numbers in the type of a file."""
    with np.errstate(over="ignore"):
        if kind == "bfloat16":
            words = _bfloat16(numbers)
            is_finite = bool(((words & 0x7F80) != 0x7F80).all())
        else:
            words = np.ascontiguousarray(numbers, DTYPES[kind])
            is_finite = bool(np.isfinite(words).all())
    if not is_finite:
        raise RunError(
            f'the weight "{name}" has grown to more than its type in the model holds ({kind}), or is NaN: train with a lower '
            "learning rate, or convert the model to float32"
        )
    return words.tobytes()


def _bfloat16(numbers: Array) -> Array:
    """The upper halves of float32, rounded to the nearest, ties to even."""
    bits = np.ascontiguousarray(numbers, np.float32).view(np.uint32)
    return ((bits + np.uint32(0x7FFF) + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def _data_files(path: Path) -> list[Path]:
    """Data files with the names that `sorth-onnx` gives to those of a model."""
    names = re.compile(rf"{re.escape(path.name)}\.([0-9]+\.)?data")
    return [one for one in path.parent.iterdir() if names.fullmatch(one.name)]


def _free_name(path: Path) -> Path:
    """The first of them that is free: the data of a model that is replaced stay whole until the new one is in place."""
    names = (path.with_name(f"{path.name}.data" if number == 1 else f"{path.name}.{number}.data") for number in count(1))
    return next(name for name in names if not name.exists())
