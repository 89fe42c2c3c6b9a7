"""Random changes of images while training (src/data/images): they depend on the run's seed, the epoch and the sample alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .contract import Array
from .data import Column, Dataset, Pass, Rows
from .errors import RunError
from .random_streams import SampleStreams


@dataclass(frozen=True)
class Form:
    """How a column holds images."""

    height: int
    width: int
    channels: int
    channels_first: bool
    black: float
    white: float | None
    """Full brightness: 255, of whole numbers, or 1; None where colours stay."""


def augmented(dataset: Dataset, changes: Mapping[str, Any] | None) -> Dataset:
    """A dataset whose images change while training. Raises RunError for one without images."""
    if not changes or any(column.changed for column in dataset.inputs):
        return dataset
    inputs = tuple(_augmented_column(dataset, column, changes) for column in dataset.inputs)
    if not any(column.changed for column in inputs):
        shapes = ", ".join(f"{one.name} {list(one.shape)}" for one in dataset.inputs)
        raise RunError(
            f"{dataset.name}: augmentation changes images, [height, width], [1 or 3, height, width] or [height, width, 1 or 3]; "
            f"samples have {shapes}"
        )
    return replace(dataset, inputs=inputs)


def _augmented_column(dataset: Dataset, column: Column, changes: Mapping[str, Any]) -> Column:
    form = _form_of(dataset, column, changes)
    if form is None:
        return column

    def changed(rows: Rows, turn: Pass) -> Array:
        array = (column.enlarged or column.read)(rows)
        pixels = array.astype(np.float64 if array.dtype == np.float64 else np.float32)
        images = pixels if form.channels_first else pixels.reshape(len(rows), *pixels.shape[1:3], -1).transpose(0, 3, 1, 2)
        made = _changed_images(images, rows, turn, changes, form, is_enlarged=column.enlarged is not None)
        return (made if form.channels_first else made.transpose(0, 2, 3, 1)).reshape(len(rows), *column.shape)

    return replace(column, changed=changed)


def _form_of(dataset: Dataset, column: Column, changes: Mapping[str, Any]) -> Form | None:
    shape, first = column.shape, False
    if len(shape) == 2:
        size = (*shape, 1)
    elif len(shape) == 3 and shape[0] in (1, 3):
        size, first = (shape[1], shape[2], shape[0]), True
    elif len(shape) == 3 and shape[2] in (1, 3):
        size = shape
    else:
        return None
    white = 255.0 if column.is_bytes else None
    if changes.get("color") is not None and not column.is_bytes:
        least, most = column.range(dataset.size)
        if least < 0 or most > 1:
            raise RunError(
                f"{dataset.name}: {column.name} holds {least:g} … {most:g}, and color changes pixels, uint8 or floats from 0 to 1: "
                "leave color out, or save pixels"
            )
        white = 1.0
    return Form(*size, first, column.black, white)


def _changed_images(images: Array, rows: Rows, turn: Pass, changes: Mapping[str, Any], form: Form, *, is_enlarged: bool) -> Array:
    """Images [rows, channels, height, width], each with changes of its own."""
    crop, color = changes.get("crop") or 0, changes.get("color")
    streams = SampleStreams("augment", turn.seed, turn.epoch, samples=rows)
    # Every number is drawn, whatever is used, so that one change does not depend on another.
    mirrored, down, across, *shares = [streams.float64() for _ in range(6)]
    padding = int(crop) if crop >= 1 else 0
    height, width = ((length + (0 if padding else math.floor(length * crop + 0.5))) for length in (form.height, form.width))
    if not is_enlarged and (height, width) != (form.height, form.width):
        images = _enlarged(images, height, width, form)
    top = _placed(down, height - form.height, padding)
    left = _placed(across, width - form.width, padding)
    flips = (mirrored < 0.5) & bool(changes.get("flip"))
    around = ((0, 0), (0, 0), (padding, padding), (padding, padding))
    padded = np.pad(images, around, constant_values=form.black)
    made = np.empty((len(rows), form.channels, form.height, form.width), images.dtype)
    for i in range(len(rows)):
        y, x = int(top[i]) + padding, int(left[i]) + padding
        window = padded[i, :, y : y + form.height, x : x + form.width]
        made[i] = window[:, :, ::-1] if flips[i] else window
    if color is not None:
        factors = [1 + color * (2 * share - 1) for share in shares]
        for i in range(len(rows)):
            brightness, contrast, saturation = (float(one[i]) for one in factors)
            made[i] = _coloured(made[i].astype(np.float64), (brightness, contrast, saturation), form)
    return made


def _placed(share: Array, room: int, padding: int) -> Array:
    """Positions of windows; below 0 where they begin outside the image."""
    places: Array = np.minimum(np.floor(share * (room + 2 * padding + 1)), room + 2 * padding).astype(np.int64) - padding
    return places


def _between(to: int, length: int) -> tuple[Array, Array, Array]:
    """Between which pixels the centres of pixels of another size lie, and how far from the first."""
    centre = np.clip(((np.arange(to) + 0.5) * length) / to - 0.5, 0, length - 1)
    first = np.floor(centre).astype(np.int64)
    return first, np.minimum(first + 1, length - 1), centre - first


def _enlarged(images: Array, height: int, width: int, form: Form) -> Array:
    """Images in another size, by bilinear interpolation between the centres of pixels."""
    (top, bottom, down), (left, right, across) = _between(height, form.height), _between(width, form.width)
    wide = images.astype(np.float64)

    def along(rows: Array) -> Array:
        a, b = wide[:, :, rows][:, :, :, left], wide[:, :, rows][:, :, :, right]
        mixed: Array = a + across * (b - a)
        return mixed

    upper, lower = along(top), along(bottom)
    values = upper + down[:, np.newaxis] * (lower - upper)
    made: Array = (np.floor(values + 0.5) if form.white == 255 else values).astype(images.dtype)
    return made


def _coloured(pixels: Array, factors: tuple[float, float, float], form: Form) -> Array:
    """Brightness, contrast around the mean grey, and saturation, in this order; values stay between black and white."""
    brightness, contrast, saturation = factors
    grey = 0.299 * pixels[0] + 0.587 * pixels[1] + 0.114 * pixels[2] if form.channels == 3 else pixels[0]
    mean = (brightness * float(np.cumsum(grey.reshape(-1))[-1])) / grey.size
    saturated = grey + saturation * (pixels - grey)
    values = mean + contrast * (brightness * saturated - mean)
    white = 255.0 if form.white is None else form.white
    made: Array = np.clip(np.floor(values + 0.5) if white == 255 else values, 0, white)
    return made
