"""Figures on held-out samples besides loss and accuracy (src/metrics), over the samples of all processes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from .contract import Array, size_of
from .losses import answers_of, class_rows
from .reducer import Reducer, of_each, summed

Measured = dict[str, Any]
_EACH = ("precision", "recall", "f1")
_MOST_CONFUSED = 1000
"""More classes than these get no figures of their own."""


def _share(part: Array, whole: Array) -> Array:
    """part / whole, 0 for nothing of nothing."""
    found: Array = np.divide(part, whole, out=np.zeros(len(whole)), where=whole != 0)
    return found


def _by_class(hits: Array, said: Array, wanted: Array) -> dict[str, Array]:
    """Precision, recall and F1 of each class, from counts."""
    precision, recall = _share(hits, said), _share(hits, wanted)
    return {"precision": precision, "recall": recall, "f1": _share(2 * precision * recall, precision + recall)}


def _gathered(reducer: Reducer, rows: Sequence[Array], width: int) -> Array:
    """The rows of all processes, [rows, width]."""
    own = np.concatenate([np.zeros((0, width)), *rows])
    counts = of_each(reducer, len(own))
    start = int(counts[: reducer.rank].sum())
    all_rows = np.zeros((int(counts.sum()), width))
    all_rows[start : start + len(own)] = own
    return summed(reducer, all_rows)


def area_under_curve(scores: Array, labels: Array) -> float | None:
    """The probability that a sample with the label has a higher score than one without it; None where all are alike."""
    positives = int(labels.sum())
    negatives = len(labels) - positives
    if positives == 0 or negatives == 0:
        return None
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks = (ends - counts + 1 + ends) / 2
    sum_of_ranks = float(ranks[inverse.reshape(-1)][labels].sum())
    return (sum_of_ranks - positives * (positives + 1) / 2) / (positives * negatives)


class Pass(Protocol):
    """One pass over a dataset; each process adds its batches."""

    def add(self, prediction: Array, labels: Array, rows: int, mask: Array | None) -> None:
        """Counts the first rows of a batch."""

    def report(self, reducer: Reducer) -> Measured:
        """`metrics`, `perClass` and `confusion` over all processes."""


class _Classes:
    def __init__(self, objective: Mapping[str, Any], names: Sequence[str]) -> None:
        self._objective, self._names = objective, names
        self._tops = [int(name[3:]) for name in names if name.startswith("top")]
        self._among = np.zeros(len(self._tops) + 1)
        self._counts: Array | None = None
        self._table: Array | None = None
        self._probabilities: list[Array] = []
        self._classes = 0

    def add(self, prediction: Array, labels: Array, rows: int, mask: Array | None) -> None:
        found = class_rows(self._objective, prediction, labels, rows, mask)
        scores, label = found.scores[found.counts], found.labels[found.counts]
        n = self._classes = scores.shape[1]
        answers = answers_of(scores)
        answered = answers >= 0
        if self._counts is None:
            self._counts = np.zeros((3, n))
        self._counts[0] += np.bincount(label, minlength=n)
        self._counts[1] += np.bincount(answers[answered], minlength=n)
        self._counts[2] += np.bincount(label[answers == label], minlength=n)
        if "confusion" in self._names:
            pairs = np.bincount(label[answered] * n + answers[answered], minlength=n * n)
            self._table = (0 if self._table is None else self._table) + pairs.reshape(n, n)
        if self._tops:
            own = scores[np.arange(len(label)), label][:, np.newaxis]
            before = np.arange(n)[np.newaxis] < label[:, np.newaxis]
            # Of equal scores the first counts as higher, and so does one that is NaN.
            rank = np.where(scores == own, before, ~(scores < own)).sum(axis=1)
            self._among += [*((rank < k).sum() for k in self._tops), len(label)]
        if "auc" in self._names:
            powers = np.exp(scores - scores.max(axis=1, keepdims=True))
            shares = powers / powers.sum(axis=1, keepdims=True)
            self._probabilities.append(np.column_stack([shares, label]))

    def report(self, reducer: Reducer) -> Measured:
        # A process may have had no batch.
        n = int(of_each(reducer, self._classes).max())
        labels, answers, right = summed(reducer, np.zeros((3, n)) if self._counts is None else self._counts)
        among = summed(reducer, self._among)
        metrics: dict[str, Any] = {}
        per_class: dict[str, Any] = {}
        each = _by_class(right, answers, labels)
        present = (labels > 0) | (answers > 0)
        for name in (one for one in _EACH if one in self._names):
            metrics[name] = float(each[name][present].sum() / present.sum()) if present.any() else 0.0
            per_class[name] = [float(one) for one in each[name]]
        for k, count in zip(self._tops, among):
            metrics[f"top{k}"] = float(count / among[-1]) if among[-1] else 0.0
        if "auc" in self._names:
            rows = _gathered(reducer, self._probabilities, n + 1)
            areas = [area_under_curve(rows[:, c], rows[:, n] == c) for c in range(n)]
            metrics["auc"] = _mean([one for one in areas if one is not None])
            per_class["auc"] = areas
        found: Measured = {"metrics": metrics}
        if per_class and n <= _MOST_CONFUSED:
            found["perClass"] = per_class
        if "confusion" in self._names:
            table = summed(reducer, np.zeros((n, n)) if self._table is None else self._table)
            found["confusion"] = [[int(one) for one in row] for row in table]
        return found


def _mean(numbers: Sequence[float]) -> float:
    return sum(numbers) / len(numbers) if numbers else math.nan


class _YesOrNo:
    """Each number of a sample is a label of its own; scores above 0 mean yes."""

    def __init__(self, names: Sequence[str], width: int) -> None:
        self._names, self._width = [one for one in (*_EACH, "auc") if one in names], width
        self._rows: list[Array] = []

    def add(self, prediction: Array, labels: Array, rows: int, mask: Array | None) -> None:
        x = prediction[:rows].astype(np.float64).reshape(-1, self._width)
        y = labels.reshape(len(prediction), -1)[:rows].astype(np.float64).reshape(-1, self._width)
        self._rows.append(np.concatenate([x, y], axis=1))

    def report(self, reducer: Reducer) -> Measured:
        if not self._names:
            return {"metrics": {}}
        rows = _gathered(reducer, self._rows, 2 * self._width)
        scores, wanted = rows[:, : self._width], rows[:, self._width :] > 0.5
        said = scores > 0
        each = _by_class(*(one.sum(axis=0).astype(np.float64) for one in (said & wanted, said, wanted)))
        figures: dict[str, list[float | None]] = {name: [float(one) for one in numbers] for name, numbers in each.items()}
        figures["auc"] = [area_under_curve(scores[:, i], wanted[:, i]) for i in range(self._width)]
        return {
            "metrics": {name: _mean([one for one in figures[name] if one is not None]) for name in self._names},
            "perClass": {name: figures[name] for name in self._names},
        }


class _Numbers:
    def __init__(self, names: Sequence[str], width: int) -> None:
        self._names, self._width, self._rows = names, width, 0
        self._sums = np.zeros((4, width))
        """Squared and absolute differences, means of the targets and their squared deviations."""

    def add(self, prediction: Array, labels: Array, rows: int, mask: Array | None) -> None:
        x = prediction[:rows].astype(np.float64).reshape(-1, self._width)
        y = labels.reshape(len(prediction), -1)[:rows].astype(np.float64).reshape(-1, self._width)
        self._sums[0] += ((x - y) ** 2).sum(axis=0)
        self._sums[1] += np.abs(x - y).sum(axis=0)
        _, _, mean, deviations = self._sums
        before, added = self._rows, len(y)
        self._rows += added
        moved = y.mean(axis=0) - mean
        self._sums[3] = deviations + ((y - y.mean(axis=0)) ** 2).sum(axis=0) + moved**2 * before * added / self._rows
        self._sums[2] = mean + moved * added / self._rows

    def report(self, reducer: Reducer) -> Measured:
        squares, absolutes, own, deviations = self._sums
        rows = summed(reducer, self._rows)
        mean = summed(reducer, own * self._rows) / rows
        squares, absolutes = summed(reducer, squares), summed(reducer, absolutes)
        deviations = summed(reducer, deviations + self._rows * (own - mean) ** 2)
        # Rounding leaves a little where all targets are the same.
        constant = deviations <= rows * (1e-12 * np.abs(mean)) ** 2
        mse = float(squares.sum() / (rows * self._width))
        r2 = math.nan if constant.any() else float((1 - squares / deviations).sum() / self._width)
        figures = {"mse": mse, "rmse": math.sqrt(mse), "mae": float(absolutes.sum() / (rows * self._width)), "r2": r2}
        return {"metrics": {name: one for name, one in figures.items() if name in self._names}}


class _Nothing:
    def add(self, prediction: Array, labels: Array, rows: int, mask: Array | None) -> None:
        """Figures of the totals need no samples."""

    def report(self, reducer: Reducer) -> Measured:
        return {"metrics": {}}


def measuring(names: Sequence[str], kind: str, term: Mapping[str, Any], batch: int) -> Callable[[], Pass]:
    """What begins passes for metrics of one of the losses; `kind` is that of its labels."""
    shape = term["prediction"]["shape"]
    width = size_of(shape) // batch
    if kind == "classes":
        return lambda: _Classes(term["objective"], names)
    if kind == "yes-or-no labels":
        return lambda: _YesOrNo(names, width)
    if kind == "numbers":
        return lambda: _Numbers(names, width)
    return _Nothing


def with_totals(measured: Measured, names: Sequence[str], loss: float, accuracy: float | None) -> Measured:
    """All figures in the order in which they were asked for."""
    every = {**measured["metrics"]}
    if accuracy is not None:
        every["accuracy"] = accuracy
    with np.errstate(over="ignore"):
        every["perplexity"] = float(np.exp(loss))
    return {**measured, "metrics": {name: every[name] for name in names if name in every}}
