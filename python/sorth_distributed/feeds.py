"""From samples to the inputs of a graph: matching, scaling and labels, as src/data/feeds.ts does it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .contract import DTYPES, Array, Contract, Feeds, Port, size_of
from .data import LABEL_NAMES, Column, Dataset, Pass, Rows
from .errors import RunError
from .mixup import Mixture
from .token_columns import is_usual, labels_of_tokens, masked_tokens, tokens_of, usual_column


def match(feeds: Feeds, dataset: Dataset) -> dict[str, Column]:
    """The column of each input."""
    targets = [port for port in feeds.inputs if port.name in feeds.targets]
    data = [port for port in feeds.inputs if port.name not in feeds.targets]
    labels = [*targets, *([feeds.labels] if feeds.labels else [])]
    columns = [*dataset.inputs, *([dataset.labels] if dataset.labels else [])]
    found = {port.name: column for port in [*data, *labels] for column in columns if column.name == port.name}
    taken = {column.name for column in found.values()}
    plain = [port for port in data if not is_usual(port.name)] if len(data) > 1 else data
    for port in data:
        own = usual_column(port.name, dataset) if port not in plain and port.name not in found else None
        if own:
            found[port.name] = own
    waiting = [port for port in plain if port.name not in found]
    if len(plain) == 1 and waiting:
        free = [column for column in dataset.inputs if column.name not in taken]
        own = next((one for one in free if one.name.lower() == "x"), free[0] if len(free) == 1 else None)
        if own:
            found[waiting[0].name] = own
    open_labels = [port for port in labels if port.name not in found]
    target = (
        open_labels[0]
        if len(open_labels) == 1
        else next((port for port in open_labels if port.name.lower() in LABEL_NAMES), None)
    )
    if target and dataset.labels and dataset.labels.name not in taken:
        found[target.name] = dataset.labels
    own_labels = feeds.labels if feeds.labels and feeds.labels.own and feeds.labels.name not in found else None
    if own_labels and own_labels.own == "tokens":
        found[own_labels.name] = labels_of_tokens(own_labels.name, dataset)
    elif own_labels and not isinstance(own_labels.own, str) and own_labels.own:
        tokens, found[own_labels.name] = masked_tokens(own_labels.name, dataset, own_labels.own)
        read = tokens_of(dataset)
        found.update({port.name: tokens for port in data if found.get(port.name) is read})
    missing = [port.name for port in [*data, *labels] if port.name not in found]
    if missing:
        held = ", ".join(f"{one.name} {list(one.shape)}" for one in columns)
        raise RunError(
            f"{dataset.name}: no array belongs to the inputs {', '.join(missing)} of the model; "
            f"samples hold {held}: save each array under the name of its input"
        )
    return found


def normalization_of(contract: Contract, dataset: Dataset) -> Any:
    """How pixels are scaled: as the contract says, else as the first data decide."""
    given = contract.raw["data"]["normalize"]
    if given is not None:
        return given
    for name, column in match(contract.feeds, dataset).items():
        port = next((one for one in contract.feeds.inputs if one.name == name), None)
        if port is None or port.type not in _FLOATS or not column.is_bytes:
            continue
        least_most = [column.read(np.array([row])) for row in range(0, dataset.size, max(1, dataset.size // 256))]
        if max(int(array.max()) for array in least_most) > 127:
            return contract.raw["data"]["bytes"]
    return None


_FLOATS = ("float", "double", "float16")


class Feeder:
    """Reads samples into the inputs of a graph."""

    def __init__(self, feeds: Feeds, dataset: Dataset, normalize: Any) -> None:
        self._columns = match(feeds, dataset)
        self._normalize = normalize
        self._data = [port for port in feeds.inputs if port.name not in feeds.targets]
        self._labels = [
            *[port for port in feeds.inputs if port.name in feeds.targets],
            *([feeds.labels] if feeds.labels else []),
        ]
        for port in self._data:
            self._check(dataset, port, self._columns[port.name])

    def read(self, rows: Rows, turn: Pass | None = None, mixture: Mixture | None = None) -> Mapping[str, Array]:
        """The arrays of some samples by input; for training where a pass is given, mixed with their partners."""
        made = {port.name: self._input(port, rows, turn, mixture) for port in self._data}
        return {**made, **{port.name: self._label(port, rows, turn, mixture) for port in self._labels}}

    def read_one(self, name: str, rows: Rows) -> Array:
        """The array of some samples for one input."""
        label = next((port for port in self._labels if port.name == name), None)
        if label:
            return self._label(label, rows, None)
        (port,) = [port for port in self._data if port.name == name]
        return self._input(port, rows, None, None)

    def column(self, name: str) -> Column:
        """What is fed to an input."""
        return self._columns[name]

    def numbers_of(self, name: str) -> tuple[int, int]:
        """How many numbers a sample has for an input of labels, and how many that takes."""
        (port,) = [one for one in self._labels if one.name == name]
        return size_of(self._columns[name].shape), size_of(port.shape) // port.shape[port.batch_axis]

    def _check(self, dataset: Dataset, port: Port, column: Column) -> None:
        own = size_of(port.shape) // port.shape[port.batch_axis]
        if size_of(column.shape) != own:
            raise RunError(
                f"{dataset.name}: samples of {column.name} have shape {list(column.shape)}, "
                f'but the input "{port.name}" takes {list(port.shape)}'
            )
        if self._normalize == "0..1" and port.type in _FLOATS and not column.is_bytes:
            least, most = column.range(dataset.size)
            if least < 0 or not 1 < most <= 255:
                raise RunError(
                    f"{dataset.name}: the run divides pixels by 255, but {column.name} holds numbers from {least:g} to {most:g}: "
                    "distribute it without --normalize 0..1"
                )

    def _input(self, port: Port, rows: Rows, turn: Pass | None, mixture: Mixture | None) -> Array:
        column = self._columns[port.name]
        if mixture and port.type not in _FLOATS:
            raise RunError(f'input "{port.name}" of the model takes {port.type}, which mixup cannot mix: leave it out')

        def read(rows: Rows) -> Array:
            array = column.rows(rows, turn)
            return self._scaled(array, column) if port.type in _FLOATS else array

        array = read(rows)
        return _placed(mixture.mixed(array, read(mixture.partners)) if mixture else array, column.shape, port)

    def _scaled(self, array: Array, column: Column) -> Array:
        how = self._normalize
        if how is None or how == "none":
            return array
        pixels = array.astype(np.float32)
        if how == "0..1":
            return pixels / np.float32(255)
        if column.is_bytes:
            pixels = pixels / np.float32(255)
        mean, std = (np.array(how[key], np.float64) for key in ("mean", "std"))
        if len(mean) > 1:
            axis = 0 if column.shape[0] == len(mean) else len(column.shape) - 1
            if column.shape[axis] != len(mean):
                raise RunError(f"the normalization has {len(mean)} channels, samples have {list(column.shape)}")
            shape = [-1 if one == axis else 1 for one in range(len(column.shape))]
            mean, std = mean.reshape(shape), std.reshape(shape)
        return ((pixels - mean) / std).astype(np.float32)

    def _label(self, port: Port, rows: Rows, turn: Pass | None, mixture: Mixture | None = None) -> Array:
        if mixture and not port.type.startswith("int"):
            return mixture.mixed(self._label(port, rows, turn), self._label(port, mixture.partners, turn))
        column = self._columns[port.name]
        array = column.rows(rows, turn)
        own = size_of(port.shape) // port.shape[port.batch_axis]
        given = size_of(column.shape)
        if given > own and given % own == 0 and port.type.startswith("int"):
            array = _classes(array.reshape(len(rows), *column.shape), own)
        elif given < own and own % given == 0 and not port.type.startswith("int"):
            array = _shares(array.reshape(len(rows), *column.shape).astype(np.int64), own // given, port)
        elif given != own:
            raise RunError(f'labels of shape {list(column.shape)} do not fit the input "{port.name}" {list(port.shape)}')
        if port.type.startswith("int") and array.dtype.kind == "f" and not (array == np.floor(array)).all():
            raise RunError(f'the input "{port.name}" takes classes, but {column.name} holds other numbers')
        return array.reshape(len(rows), *port.shape[1:]).astype(DTYPES[port.type])


def _shares(classes: Array, count: int, port: Port) -> Array:
    """Class indices as one number for each class; the classes are the last axis of the input, or its first."""
    if classes.min() < 0 or classes.max() >= count:
        wrong = classes.min() if classes.min() < 0 else classes.max()
        raise RunError(f"the label {wrong} is no class of the model, which has {count} (0 … {count - 1})")
    hot: Array = np.eye(count, dtype=np.float32)[classes]
    plain = [length for length in classes.shape[1:] if length != 1]
    is_last = port.shape[-1] == count and [one for one in port.shape[1:-1] if one != 1] == plain
    return hot if is_last else np.moveaxis(hot, -1, 1)


def _classes(array: Array, places: int) -> Array:
    """The class of each one-hot row; the classes are the last axis, or the first."""
    flat = array.reshape(len(array), -1)
    last = flat.reshape(len(array), places, -1)
    first = flat.reshape(len(array), -1, places).transpose(0, 2, 1)
    for one in (last, first):
        if ((one == 0) | (one == 1)).all() and (one.sum(axis=2) == 1).all():
            found: Array = one.argmax(axis=2)
            return found
    raise RunError(
        "labels with an axis of classes hold one 1 among zeros for each; for shares of classes, distribute the run with "
        "--labels probabilities"
    )


def _placed(array: Array, shape: tuple[int, ...], port: Port) -> Array:
    """Samples in the order of the input's axes."""
    sample = [length for axis, length in enumerate(port.shape) if axis != port.batch_axis]
    count = len(array)
    own = [length for length in shape if length != 1]
    aimed = [length for length in sample if length != 1]
    if own != aimed and sorted(own) == sorted(aimed) and len(shape) == 3 and len(sample) == 3:
        # Channels last to channels first, or the reverse.
        to_first = [shape[2], shape[0], shape[1]] == sample
        array = array.reshape(count, *shape)
        array = array.transpose(0, 3, 1, 2) if to_first else array.transpose(0, 2, 3, 1)
    array = array.reshape(count, *sample)
    if port.batch_axis:
        array = np.moveaxis(array, 0, port.batch_axis)
    return np.ascontiguousarray(array, DTYPES[port.type])
