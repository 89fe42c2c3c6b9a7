"""Loss and accuracy over whole datasets, each process a share of the batches (src/runtime/evaluator.ts)."""

from __future__ import annotations

from typing import Any, Mapping

import numpy as np

from .contract import Array, Contract, size_of
from .data import Dataset
from .errors import RunError
from .feeds import Feeder
from .graphs import Buffer, Graph
from .reducer import Reducer, summed


def _cross_entropy(
    prediction: Array, labels: Array, rows: int, options: Mapping[str, Any], mask: Array | None
) -> tuple[float, float | None, float, float]:
    shape = prediction.shape
    last = options.get("classAxis", 1) == -1
    places = options.get("labelPlaces", 0)
    if not last and places and len(shape) > 2 and size_of(shape[2:]) != places and size_of(shape[1:-1]) == places:
        last = True
    axis = len(shape) - 1 if last or len(shape) == 1 else 1
    scores = np.moveaxis(prediction[:rows].astype(np.float64), axis, -1)
    classes, positions = scores.shape[-1], size_of(scores.shape[1:-1])
    scores = scores.reshape(-1, classes)
    shares = options.get("labels") == "probabilities"
    smoothing, focus = options.get("labelSmoothing", 0), options.get("focus", 0)
    text = options.get("classWeights", "none")
    weights = None if text == "none" else np.array([float(one) for one in str(text).split(",")])
    if shares:
        target = np.moveaxis(labels[:rows].astype(np.float64), axis, -1).reshape(-1, classes)
        label = target.argmax(axis=1)
        counts = np.ones(len(label), bool)
    else:
        label = labels[:rows].astype(np.int64).reshape(-1)
        ignored = options.get("ignoreIndex", "none")
        counts = np.ones(len(label), bool) if ignored == "none" else label != ignored
        if mask is not None:
            counts &= mask[:rows].reshape(-1) > 0
        label = np.where(counts, label, 0)
        if ((label < 0) | (label >= classes)).any():
            raise RunError(f"a label is no class of the model, which has {classes} (0 to {classes - 1})")
        target = np.eye(classes)[label]
    of_class = np.ones(classes) if weights is None else weights
    aim = of_class * ((1 - smoothing) * target + smoothing / classes)
    shifted = scores - scores.max(axis=1, keepdims=True)
    partition = np.exp(shifted).sum(axis=1)
    plain = aim.sum(axis=1) * np.log(partition) - (aim * shifted).sum(axis=1)
    at_label = shifted[np.arange(len(label)), label]
    missed = 1.0 if focus == 0 else (1 - np.exp(at_label) / partition) ** focus
    found = scores.argmax(axis=1) == label
    each = np.ones(len(label)) if shares else of_class[label]
    counted = counts.sum() / positions
    weight = (each * counts).sum() / positions if weights is not None else counted
    return (
        float((missed * plain * counts).sum() / positions),
        float((found & counts).sum() / positions),
        float(counted),
        float(weight),
    )


def _elementwise(
    name: str, prediction: Array, labels: Array, rows: int, options: Mapping[str, Any], mask: Array | None
) -> tuple[float, float | None, float, float]:
    x = prediction[:rows].astype(np.float64).reshape(rows, -1)
    y = labels[:rows].astype(np.float64).reshape(rows, -1)
    if name == "mse":
        losses = (x - y) ** 2
    elif name == "l1":
        losses = np.abs(x - y)
    else:
        raise RunError(f"the loss {name} is not evaluated by workers")
    if mask is not None:
        raise RunError(f"the loss {name} with a mask is not evaluated by workers")
    return float(losses.mean(axis=1).sum()), None, float(rows), float(rows)


class Evaluation:
    """The evaluation graph of a run."""

    def __init__(self, contract: Contract, reducer: Reducer, device: str) -> None:
        self._contract, self._reducer = contract, reducer
        raw = contract.raw["evaluation"]
        self._raw = raw
        self._graph = Graph(contract.file(raw["file"]), contract, device)
        feeds = contract.evaluation_feeds
        self._feeds = feeds
        self._inputs = {
            name: Buffer.empty(shape, dtype, device)
            for name, (shape, dtype) in self._graph.inputs.items()
            if name not in raw["state"]
        }
        self._outputs = {
            name: Buffer.empty(shape, dtype, "cpu") for name, (shape, dtype) in self._graph.outputs.items()
        }
        self._batch = feeds.inputs[0].shape[feeds.inputs[0].batch_axis]
        unknown = [
            term["objective"]["name"]
            for term in raw["terms"]
            if term["objective"] and term["objective"]["name"] not in ("cross-entropy", "mse", "l1")
        ]
        self.obstacle = (
            f"workers do not evaluate the loss {unknown[0]}: leave --validation out, and evaluate the trained model"
            if unknown
            else None
        )

    def run(self, dataset: Dataset, state: Mapping[str, Buffer], normalize: Any) -> dict[str, Any]:
        """The figures of a dataset, the same on all processes."""
        if self.obstacle:
            raise RunError(self.obstacle)
        terms, whole = self._raw["terms"], self._raw["loss"]
        bound = self._graph.bind(
            {**self._inputs, **{name: state[name] for name in self._raw["state"]}}, self._outputs
        )
        feeder = Feeder(self._feeds, dataset, normalize)
        # A loss that is one number for a batch counts whole batches.
        in_batches = whole is not None or any(
            term["output"] and not term["output"]["shape"] for term in terms
        )
        samples = dataset.size - (dataset.size % self._batch if in_batches else 0)
        if samples == 0:
            raise RunError(f"{dataset.name}: an evaluation needs {self._batch} samples, it has {dataset.size}")
        starts = range(0, samples, self._batch)
        sums = np.zeros((len(terms) + 1, 4))
        classifies = [False] * len(terms)
        for start in list(starts)[self._reducer.rank :: self._reducer.size]:
            count = min(self._batch, samples - start)
            rows = np.minimum(np.arange(start, start + self._batch), start + count - 1)
            fed = feeder.read(rows)
            for name, array in fed.items():
                if name in self._inputs:
                    self._inputs[name].write(array)
            bound.run()
            for index, term in enumerate(terms):
                figures = self._figures(term, fed, count)
                classifies[index] = figures[1] is not None
                sums[index] += [0.0 if one is None else one for one in figures]
            if whole is not None:
                sums[-1, 0] += float(self._outputs[whole].read().reshape(-1)[0]) * count
        flags = summed(self._reducer, [*sums.reshape(-1), *(float(one) for one in classifies)])
        sums = np.array(flags[: sums.size]).reshape(sums.shape)
        return self._joined(sums, [one > 0 for one in flags[sums.size :]], samples)

    def _figures(self, term: Mapping[str, Any], fed: Mapping[str, Array], count: int) -> tuple[float, float | None, float, float]:
        objective, prediction = term["objective"], term["prediction"]
        if objective and prediction:
            array = self._outputs[prediction["name"]].read().reshape(prediction["shape"])
            rows = array.shape[0] // self._batch * count
            port = self._feeds.labels
            labels = fed[term["labels"] if term["labels"] else port.name if port else ""]
            mask = fed[term["mask"]] if term["mask"] else None
            labels = labels.reshape(array.shape[0], -1)
            if objective["name"] == "cross-entropy":
                if objective["options"].get("labels") == "probabilities":
                    labels = labels.reshape(array.shape)
                return _cross_entropy(array, labels, rows, objective["options"], mask)
            return _elementwise(objective["name"], array, labels, rows, objective["options"], mask)
        numbers = self._outputs[term["output"]["name"]].read().astype(np.float64).reshape(-1)
        if not term["output"]["shape"]:
            return float(numbers[0]) * count, None, float(count), float(count)
        places = len(numbers) // self._batch
        return float(numbers[: count * places].sum() / places), None, float(count), float(count)

    def _joined(self, sums: Array, classifies: list[bool], samples: int) -> dict[str, Any]:
        def share(part: float, of: float) -> float:
            return 0.0 if of == 0 else part / of

        terms = self._raw["terms"]
        losses = [share(loss, weight) for loss, _, _, weight in sums[: len(terms)]]
        found = [
            (term["name"], share(correct, counted))
            for term, (_, correct, counted, _), is_class in zip(terms, sums, classifies)
            if is_class
        ]
        figures: dict[str, Any] = {"loss": sum(loss * term["weight"] for loss, term in zip(losses, terms))}
        if len(found) == 1:
            figures["accuracy"] = found[0][1]
        if len(terms) > 1:
            figures["losses"] = {term["name"]: loss for loss, term in zip(losses, terms)}
            if found:
                figures["accuracies"] = dict(found)
        if self._raw["loss"] is not None:
            figures["loss"] = share(sums[-1, 0], samples)
        figures["samples"] = samples
        return figures
