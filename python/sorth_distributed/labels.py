"""Refuses labels that a loss cannot take, before the first step (src/data/labels.ts)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .contract import Array, Contract
from .data import Dataset, pieces
from .errors import RunError
from .feeds import Feeder
from .losses import CLASSES, YES_OR_NO, class_axis, options_of


def check_labels(contract: Contract, dataset: Dataset, normalize: Any) -> None:
    """Raises RunError for classes that the model lacks, for shares that do not sum to 1, and for other numbers than the loss takes."""
    feeds = contract.evaluation_feeds
    counted = [term for term in contract.raw["evaluation"]["terms"] if term["objective"] and term["prediction"]]
    if not counted or not (feeds.labels or feeds.targets):
        return
    feeder = Feeder(feeds, dataset, normalize)
    for term in counted:
        name = term["labels"] or (feeds.labels.name if feeds.labels else "")
        column, objective, shape = feeder.column(name), term["objective"], tuple(term["prediction"]["shape"])
        where = f"{dataset.name}: {column.name}"
        given, own = feeder.numbers_of(name)
        if given < own and objective["name"] != "cross-entropy":
            raise RunError(
                f"{where} has {given} numbers for each sample, and the objective {objective['name']} takes {own}: distribute the "
                "run with --objective cross-entropy for classes, or save that many numbers"
            )
        shares = options_of(objective).get("labels") == "probabilities"
        if objective["name"] in CLASSES and not shares and column.is_float and given == own:
            raise RunError(f"{where} holds floats, but {objective['name']} needs class labels: save them as integers")
        for rows in pieces(dataset.size):
            mask = feeder.read_one(term["mask"], rows).reshape(-1) > 0 if term["mask"] else None
            _check(where, objective, shape, feeder.read_one(name, rows), mask)


def _check(where: str, objective: Mapping[str, Any], shape: tuple[int, ...], labels: Array, mask: Array | None) -> None:
    """`mask`: which places count."""
    name, options = objective["name"], options_of(objective)
    if name not in CLASSES:
        own = labels if mask is None else labels.reshape(len(mask), -1)[mask]
        if name in YES_OR_NO:
            _refuse(where, own[(own < 0) | (own > 1)], f"{name} takes numbers from 0 to 1")
        return
    axis = class_axis(options, shape)
    classes = shape[axis]
    if options.get("labels") == "probabilities":
        rows = np.moveaxis(labels.reshape(-1, *shape[1:]), axis, -1).astype(np.float64).reshape(-1, classes)
        rows = rows if mask is None else rows[mask]
        _refuse(where, rows[rows < 0], "shares of classes are numbers from 0 to 1")
        sums = rows.sum(axis=-1)
        _refuse(where, sums[np.abs(sums - 1) > 1e-3], "that is the sum of a row's shares, which must be 1")
        return
    labels = labels if mask is None else labels.reshape(-1)[mask]
    wrong = labels[(labels != options.get("ignoreIndex", "none")) & ((labels < 0) | (labels >= classes))]
    _refuse(
        where, wrong,
        f"the model has {classes} classes (0 to {classes - 1}): distribute the run with --ignore-index if that label marks places "
        "to leave out, or with more --classes",
    )  # fmt: skip


def _refuse(where: str, wrong: Array, why: str) -> None:
    if wrong.size > 0:
        raise RunError(f"{where} holds {wrong.reshape(-1)[0]:g}, but {why}")
