"""Checkpoints as `sorth-onnx train` writes and reads them: safetensors files, replaced in one move."""

from __future__ import annotations

import json
import os
import re
import secrets
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .contract import Array
from .errors import RunError

_NAMES = {"float32": "F32", "float64": "F64", "float16": "F16", "int32": "I32", "int64": "I64"}
_TYPES = {name: dtype for dtype, name in _NAMES.items()}


def write_safely(path: Path, pieces: Iterable[bytes | memoryview]) -> None:
    """Writes a file that is whole at any time: a temporary file takes its place at the end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def copy_safely(source: Path, target: Path) -> None:
    """Copies a file; what is at `target` is whole at any time."""
    with source.open("rb") as file:
        write_safely(target, iter(lambda: file.read(2**22), b""))


_RESTING = 10.0
"""Seconds without a write after which a temporary file counts as left behind: a process of another computer may share the folder."""


def _remove_leftovers(path: Path) -> None:
    """Removes what processes that were killed have left of a file, as src/onnx/leftovers.ts does under the same names."""
    start = f".{path.name}."
    for file in path.parent.iterdir():
        found = file.name.startswith(start) and re.fullmatch(r"(\d{1,9})-[0-9a-f]{8}\.tmp", file.name[len(start) :])
        if not found or is_alive(int(found[1])):
            continue
        try:
            if time.time() - file.stat().st_mtime >= _RESTING:
                file.unlink()
        except OSError:
            continue


def is_alive(pid: int) -> bool:
    """Whether a process of this number runs."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        # It runs, as another user's.
        return True
    return True


def write_tensors(path: Path, tensors: Mapping[str, Array], metadata: Mapping[str, str]) -> None:
    """Writes a safetensors file."""
    entries: dict[str, Any] = {"__metadata__": dict(metadata)}
    offset = 0
    for name, array in tensors.items():
        end = offset + array.nbytes
        entries[name] = {
            "dtype": _NAMES[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    header = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    data = (np.ascontiguousarray(array).tobytes() for array in tensors.values() if array.size > 0)
    write_safely(path, [len(header).to_bytes(8, "little"), header, *data])


def read_tensors(path: Path, content: bytes | None = None) -> tuple[dict[str, Array], dict[str, str]]:
    """Reads a safetensors file, or its content: its tensors and its texts."""
    try:
        content = path.read_bytes() if content is None else content
    except OSError as error:
        raise RunError(f'"{path}" cannot be read ({error.strerror}): give the folder of a run') from error
    try:
        length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + length])
        metadata = header.pop("__metadata__", {})
        data = memoryview(content)[8 + length :]
        tensors: dict[str, Array] = {}
        at = 0
        for name, entry in sorted(header.items(), key=lambda one: one[1]["data_offsets"]):
            start, end = entry["data_offsets"]
            # Two tensors of the same bytes would hold the same numbers.
            if start != at or end > len(data):
                raise ValueError(f'tensor "{name}" is cut off, or not where the one before it ends')
            at = end
            array = np.frombuffer(data[start:end], np.dtype(_TYPES[entry["dtype"]]))
            tensors[name] = array.reshape(entry["shape"])
        return tensors, metadata
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RunError(f'"{path}" is not a checkpoint, or a damaged one ({error})') from error
