"""What `sorth-onnx distribute` wrote: `contract.json`, read into typed records."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import RunError

Array = NDArray[Any]
Shape = tuple[int, ...]

DTYPES: Mapping[str, type[Any]] = {
    "float": np.float32,
    "double": np.float64,
    "float16": np.float16,
    "int8": np.int8,
    "uint8": np.uint8,
    "int16": np.int16,
    "uint16": np.uint16,
    "int32": np.int32,
    "uint32": np.uint32,
    "int64": np.int64,
    "uint64": np.uint64,
    "bool": np.bool_,
}
"""NumPy's types by the names in the contract."""


@dataclass(frozen=True)
class Layout:
    """How a tensor of the model lies in the graphs: cut into axes that stand in another order."""

    shape: Shape
    axes: Shape
    permutation: Shape


@dataclass(frozen=True)
class State:
    """A tensor that a step reads under one name and replaces by another."""

    name: str
    input: str
    output: str
    type: str
    shape: Shape
    layout: Layout | None

    @property
    def model_shape(self) -> Shape:
        """The shape in checkpoints and exports."""
        return self.layout.shape if self.layout else self.shape

    def in_model(self, array: Array) -> Array:
        """The graphs' form to the model's."""
        if self.layout is None:
            return array
        cut = [self.layout.axes[axis] for axis in self.layout.permutation]
        inverse = [self.layout.permutation.index(axis) for axis in range(len(cut))]
        return np.ascontiguousarray(array.reshape(cut).transpose(inverse)).reshape(self.layout.shape)

    def in_step(self, array: Array) -> Array:
        """The model's form to the graphs'."""
        if self.layout is None:
            return array.reshape(self.shape)
        moved = array.reshape(self.layout.axes).transpose(self.layout.permutation)
        return np.ascontiguousarray(moved).reshape(self.shape)


@dataclass(frozen=True)
class Parameter(State):
    """A trained tensor, its gradient and the optimizer's state."""

    gradient: str
    slots: Mapping[str, State]


@dataclass(frozen=True)
class Port:
    """An input that is fed with samples; the shape is that of a shard."""

    name: str
    type: str
    shape: Shape
    batch_axis: int
    own: str | Mapping[str, Any] | None = None
    """Where the data hold no labels, they are made of the tokens: `tokens` are they themselves, a mapping says how some are masked."""


@dataclass(frozen=True)
class Feeds:
    """The inputs of a graph that are fed with samples."""

    inputs: tuple[Port, ...]
    labels: Port | None
    targets: tuple[str, ...]


@dataclass(frozen=True)
class Drawn:
    """Random numbers of the joint batch, and the axis along which shards cut them."""

    name: str
    shape: Shape
    cut: int | None
    raw: Mapping[str, Any]

    def part(self, numbers: Array, shard: int, shards: int) -> Array:
        """The rows of a shard in the array of the joint batch."""
        if self.cut is None or shards == 1:
            return numbers
        size = numbers.shape[self.cut] // shards
        return np.take(numbers, range(shard * size, (shard + 1) * size), axis=self.cut)


@dataclass(frozen=True)
class Reduction:
    """A value that is summed over the shards."""

    name: str
    op: str
    result: str
    type: str | None
    """In one process, where that is not the type of the output."""


@dataclass(frozen=True)
class Stage:
    """One of the graphs of a step."""

    file: str
    reduce: tuple[Reduction, ...]


@dataclass(frozen=True)
class Contract:
    """A run that processes share."""

    folder: Path
    seed: int
    batch: int
    shards: int
    backend: str
    threads: int | None
    learning_rate: float
    penalty_weight: float
    feeds: Feeds
    parameters: tuple[Parameter, ...]
    shared: tuple[State, ...]
    statistics: tuple[State, ...]
    average: str | None
    masks: tuple[Drawn, ...]
    draws: tuple[Drawn, ...]
    stages: tuple[Stage, ...]
    evaluation_feeds: Feeds
    raw: Mapping[str, Any]

    @property
    def shard_size(self) -> int:
        """Samples of a shard."""
        return self.batch // self.shards

    @property
    def states(self) -> tuple[State, ...]:
        """Everything that a step replaces, in the order of a checkpoint."""
        own = [state for one in self.parameters for state in (one, *one.slots.values())]
        return (*own, *self.shared, *self.statistics)

    def file(self, name: str) -> str:
        """The path of a file of the folder."""
        return str(self.folder / name)


def _state(entry: Mapping[str, Any], name: str | None = None) -> State:
    layout = entry.get("layout")
    return State(
        name=name if name is not None else entry["name"],
        input=entry["input"],
        output=entry["output"],
        type=entry["type"],
        shape=tuple(entry["shape"]),
        layout=layout and Layout(tuple(layout["shape"]), tuple(layout["axes"]), tuple(layout["permutation"])),
    )


def _parameter(entry: Mapping[str, Any]) -> Parameter:
    own = _state(entry)
    slots = {slot: _state(one, slot) for slot, one in entry["slots"].items()}
    return Parameter(**own.__dict__, gradient=entry["gradient"], slots=slots)


def _port(entry: Mapping[str, Any]) -> Port:
    return Port(entry["name"], entry["type"], tuple(entry["shape"]), entry.get("batchAxis", 0), entry.get("own"))


def feeds_of(entry: Mapping[str, Any]) -> Feeds:
    """The inputs that an entry of the contract names."""
    labels = entry["labels"]
    return Feeds(
        tuple(_port(one) for one in entry["inputs"]),
        _port(labels) if labels else None,
        tuple(entry["targets"]),
    )


def _drawn(entry: Mapping[str, Any]) -> Drawn:
    return Drawn(entry["name"], tuple(entry.get("of", entry["shape"])), entry["cut"], entry)


def _stage(entry: Mapping[str, Any]) -> Stage:
    reduce = tuple(Reduction(one["name"], one["op"], one.get("as", one["name"]), one.get("type")) for one in entry["reduce"])
    return Stage(entry["file"], reduce)


def load(folder: str | Path) -> Contract:
    """Reads the folder that `sorth-onnx distribute` wrote. Raises RunError for any other."""
    path = Path(folder) / "contract.json"
    try:
        raw = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f'"{path}" cannot be read ({error}): give a folder of sorth-onnx distribute') from error
    if not isinstance(raw, dict) or raw.get("format") != "sorth-onnx/distribute":
        raise RunError(f'"{path}" was not written by sorth-onnx distribute')
    if raw.get("version") != 1:
        raise RunError(f'"{path}" was written by a newer version of sorth-onnx: write the folder again')
    try:
        return _contract(Path(folder), raw)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(f'"{path}" is damaged ({error!r}): write the folder again') from error


def _contract(folder: Path, raw: Mapping[str, Any]) -> Contract:
    batch, shards, rate = raw["batch"], raw["shards"], raw["learningRate"]
    if not isinstance(batch, int) or not isinstance(shards, int) or not 1 <= shards <= batch:
        raise ValueError(f"a batch of {batch!r} in {shards!r} shards")
    if raw["threads"] is not None and not 1 <= raw["threads"] <= 256:
        raise ValueError(f"{raw['threads']!r} threads")
    if not isinstance(rate, (int, float)):
        raise TypeError(f"a learning rate of {rate!r}")
    return Contract(
        folder=folder,
        **{name: raw[name] for name in ("seed", "batch", "shards", "backend", "threads", "average")},
        learning_rate=rate,
        penalty_weight=raw["penaltyWeight"],
        feeds=feeds_of(raw["feeds"]),
        parameters=tuple(_parameter(one) for one in raw["parameters"]),
        shared=tuple(_state(one) for one in raw["shared"]),
        statistics=tuple(_state(one) for one in raw["statistics"]),
        masks=tuple(_drawn(one) for one in raw["masks"]),
        draws=tuple(_drawn(one) for one in raw["draws"]),
        stages=tuple(_stage(one) for one in raw["stages"]),
        evaluation_feeds=feeds_of(raw["evaluation"]["feeds"]),
        raw=raw,
    )


def size_of(shape: Sequence[int]) -> int:
    """Elements of a tensor."""
    return math.prod(shape)
