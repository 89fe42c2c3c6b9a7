"""Losses counted on predictions outside the graph (src/losses)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .contract import Array, size_of
from .errors import RunError

UNCOUNTED = -100
"""The label of a token that does not count."""


@dataclass(frozen=True)
class Figures:
    """Sums over some samples: the loss, right answers (None where a loss does not classify), and what both are divided by."""

    loss: float
    correct: float | None
    counted: float
    weight: float


@dataclass(frozen=True)
class ClassRows:
    """Places of samples that have classes: scores [places, classes], labels, and which of them count."""

    scores: Array
    labels: Array
    counts: Array
    shares: Array | None
    """Labels that are shares of classes, as `scores`."""


def options_of(objective: Mapping[str, Any]) -> Mapping[str, Any]:
    """The options of the cross-entropy that a loss of classes is."""
    name, options = objective["name"], objective["options"]
    if name in ("causal-lm", "masked-lm"):
        kept = {key: one for key, one in options.items() if key in ("labelSmoothing", "classWeights")}
        return {**kept, "classAxis": -1, "ignoreIndex": UNCOUNTED}
    if name == "kl":
        return {**options, "labels": "probabilities"}
    own: Mapping[str, Any] = options
    return own


def class_axis(options: Mapping[str, Any], shape: tuple[int, ...]) -> int:
    """The axis of the classes in a prediction [rows, …]."""
    last = options.get("classAxis", 1) == -1
    places = options.get("labelPlaces", 0)
    if not last and places and len(shape) > 2 and size_of(shape[2:]) != places and size_of(shape[1:-1]) == places:
        last = True
    return len(shape) - 1 if last or len(shape) == 1 else 1


def class_rows(objective: Mapping[str, Any], prediction: Array, labels: Array, rows: int, mask: Array | None) -> ClassRows:
    """The places of the first rows of a prediction [rows, …] that have a class."""
    options = options_of(objective)
    shape = prediction.shape
    axis = class_axis(options, shape)
    scores = np.moveaxis(prediction[:rows].astype(np.float64), axis, -1)
    classes = scores.shape[-1]
    scores = scores.reshape(-1, classes)
    if options.get("labels") == "probabilities":
        shares = np.moveaxis(labels.reshape(shape)[:rows].astype(np.float64), axis, -1).reshape(-1, classes)
        counts = np.ones(len(scores), bool) if mask is None else mask.reshape(shape[0], -1)[:rows].reshape(-1) > 0
        return ClassRows(scores, shares.argmax(axis=1), counts, shares)
    own = labels.reshape(shape[0], -1)
    if objective["name"] == "causal-lm":
        if mask is not None:
            own, mask = np.where(mask.reshape(own.shape) > 0, own, UNCOUNTED), None
        own = np.concatenate([own[:, 1:], np.full((len(own), 1), UNCOUNTED, own.dtype)], axis=1)
    label = own[:rows].astype(np.int64).reshape(-1)
    ignored = options.get("ignoreIndex", "none")
    counts = np.ones(len(label), bool) if ignored == "none" else label != ignored
    if mask is not None:
        counts &= mask[:rows].reshape(-1) > 0
    label = np.where(counts, label, 0)
    if ((label < 0) | (label >= classes)).any():
        raise RunError(f"a label is no class of the model, which has {classes} (0 to {classes - 1})")
    return ClassRows(scores, label, counts, None)


def answers_of(scores: Array) -> Array:
    """The class with the highest score of each row, the first of equal ones; −1 where a score is NaN."""
    best: Array = np.where(np.isnan(scores).any(axis=1), -1, scores.argmax(axis=1))
    return best


def _cross_entropy(objective: Mapping[str, Any], prediction: Array, labels: Array, rows: int, mask: Array | None) -> Figures:
    options = options_of(objective)
    found = class_rows(objective, prediction, labels, rows, mask)
    scores, label, counts = found.scores, found.labels, found.counts
    classes = scores.shape[1]
    positions = size_of(prediction.shape[1:]) / classes
    smoothing, focus = options.get("labelSmoothing", 0), options.get("focus", 0)
    text = options.get("classWeights", "none")
    weights = None if text == "none" else np.array([float(one) for one in str(text).split(",")])
    target = np.eye(classes)[label] if found.shares is None else found.shares
    of_class = np.ones(classes) if weights is None else weights
    aim = of_class * ((1 - smoothing) * target + smoothing / classes)
    shifted = scores - scores.max(axis=1, keepdims=True)
    partition = np.exp(shifted).sum(axis=1)
    plain = aim.sum(axis=1) * np.log(partition) - (aim * shifted).sum(axis=1)
    at_label = shifted[np.arange(len(label)), label]
    missed = 1.0 if focus == 0 else (1 - np.exp(at_label) / partition) ** focus
    right = answers_of(scores) == label
    each = of_class[label] if found.shares is None else np.ones(len(label))
    counted = float(counts.sum() / positions)
    loss = float((missed * plain)[counts].sum() / positions)
    if objective["name"] == "kl":
        # 0·log 0 counts as 0.
        loss += float((target * np.log(np.where(target == 0, 1, target)))[counts].sum() / positions)
    weight = counted if weights is None else float((each * counts).sum() / positions)
    return Figures(loss, float((right & counts).sum() / positions), counted, weight)


def _clipped(x: Array, y: Array, bound: float, factor: float) -> Array:
    c = np.clip(x - y, -bound, bound)
    squares: Array = factor * c * (x - y - c / 2)
    return squares


def _logistic(x: Array, y: Array, weight: float) -> Array:
    tail = np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))
    losses: Array = (1 + (weight - 1) * y) * tail - weight * y * x
    return losses


def _focal(x: Array, y: Array, options: Mapping[str, Any]) -> Array:
    alpha, gamma = options.get("alpha", 0.25), options.get("gamma", 2)
    one, zero = (1, 1) if alpha == "none" else (alpha, 1 - alpha)
    with np.errstate(over="ignore"):
        p = 1 / (1 + np.exp(-x))
    losses: Array = (y * (one - zero) + zero) * (p + y - 2 * p * y) ** gamma * _logistic(x, y, 1)
    return losses


_ELEMENTS: Mapping[str, Callable[[Array, Array, Mapping[str, Any]], Array]] = {
    "mse": lambda x, y, _: (x - y) ** 2,
    "l1": lambda x, y, _: np.abs(x - y),
    "huber": lambda x, y, o: _clipped(x, y, o.get("delta", 1), 1),
    "smooth-l1": lambda x, y, o: _clipped(x, y, o.get("beta", 1), 1 / o.get("beta", 1)),
    "bce": lambda x, y, o: _logistic(x, y, o.get("positiveWeight", 1)),
    "binary-focal": _focal,
}
YES_OR_NO = ("bce", "binary-focal")
CLASSES = ("cross-entropy", "causal-lm", "masked-lm", "kl")


def _elementwise(objective: Mapping[str, Any], prediction: Array, labels: Array, rows: int, mask: Array | None) -> Figures:
    name = objective["name"]
    x = prediction[:rows].astype(np.float64).reshape(rows, -1)
    y = labels.reshape(prediction.shape[0], -1)[:rows].astype(np.float64)
    losses = _ELEMENTS[name](x, y, objective["options"])
    counts = np.ones(x.shape, bool)
    if mask is not None:
        # Over sequences of vectors, a mask has one number for each vector.
        places = mask.reshape(prediction.shape[0], -1)[:rows] > 0
        counts = np.repeat(places, x.shape[1] // places.shape[1], axis=1)
    per_row = x.shape[1]
    counted = float(counts.sum() / per_row) if mask is not None else float(rows)
    right = float((((x > 0) == (y > 0.5)) & counts).sum() / per_row) if name in YES_OR_NO else None
    return Figures(float(losses[counts].sum() / per_row), right, counted, counted)


def _cosine(objective: Mapping[str, Any], prediction: Array, labels: Array, rows: int, mask: Array | None) -> Figures:
    axis = prediction.ndim - 1 if objective["options"].get("axis", 1) == -1 else 1
    x = np.moveaxis(prediction[:rows].astype(np.float64), axis, -1)
    y = np.moveaxis(labels.reshape(prediction.shape)[:rows].astype(np.float64), axis, -1)
    norms = [np.maximum(np.sqrt((one * one).sum(axis=-1)), 1e-8) for one in (x, y)]
    losses = (1 - (x * y).sum(axis=-1) / norms[0] / norms[1]).reshape(rows, -1)
    counts = np.ones(losses.shape, bool) if mask is None else mask.reshape(len(prediction), -1)[:rows] > 0
    counted = float(counts.sum() / losses.shape[1])
    return Figures(float(losses[counts].sum() / losses.shape[1]), None, counted, counted)


def is_known(name: str) -> bool:
    """Whether a loss can be counted here."""
    return name in CLASSES or name in _ELEMENTS or name == "cosine"


def figures_of(objective: Mapping[str, Any], prediction: Array, labels: Array, rows: int, mask: Array | None) -> Figures:
    """The figures of a loss over the first rows of a prediction [rows, …]."""
    name = objective["name"]
    if name in CLASSES:
        return _cross_entropy(objective, prediction, labels, rows, mask)
    if name in _ELEMENTS:
        return _elementwise(objective, prediction, labels, rows, mask)
    return _cosine(objective, prediction, labels, rows, mask)
