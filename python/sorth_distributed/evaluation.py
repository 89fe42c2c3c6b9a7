"""Loss and accuracy over whole datasets, each process a share of the batches (src/runtime/evaluator.ts)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from .contract import Array, Contract
from .data import Dataset
from .errors import RunError
from .feeds import Feeder
from .graphs import Buffer, MeasuringGraph
from .losses import figures_of, is_known
from .metrics import measuring, with_totals
from .reducer import Reducer, summed


class Evaluation:
    """The evaluation graph of a run."""

    def __init__(self, contract: Contract, reducer: Reducer, device: str) -> None:
        self._contract, self._reducer = contract, reducer
        raw = contract.raw["evaluation"]
        self._raw = raw
        self._graph = MeasuringGraph(contract, raw, device)
        self._outputs = self._graph.outputs
        self._feeds = feeds = contract.evaluation_feeds
        self._batch = feeds.inputs[0].shape[feeds.inputs[0].batch_axis]
        unknown = [
            term["objective"]["name"]
            for term in raw["terms"]
            if term["objective"] and term["prediction"] and not is_known(term["objective"]["name"])
        ]
        self.obstacle = (
            f"workers do not evaluate the loss {unknown[0]}: leave --validation out, and evaluate the trained model"
            if unknown
            else None
        )
        measured = raw.get("metrics")
        self.measured: int | None = measured["term"] if measured else None
        """Which of the losses the metrics look at."""
        self._names: list[str] = measured["names"] if measured else []
        self._begin = measuring(self._names, measured["kind"], raw["terms"][measured["term"]], self._batch) if measured else None

    def run(self, dataset: Dataset, state: Mapping[str, Buffer], normalize: Any) -> dict[str, Any]:
        """The figures of a dataset, the same on all processes."""
        if self.obstacle:
            raise RunError(self.obstacle)
        terms, whole = self._raw["terms"], self._raw["loss"]
        run = self._graph.over(state)
        feeder = Feeder(self._feeds, dataset, normalize)
        # A loss that is one number for a batch counts whole batches.
        in_batches = whole is not None or any(term["output"] and not term["output"]["shape"] for term in terms)
        samples = dataset.size - (dataset.size % self._batch if in_batches else 0)
        if samples == 0:
            raise RunError(f"{dataset.name}: an evaluation needs {self._batch} samples, it has {dataset.size}")
        starts = range(0, samples, self._batch)
        sums = np.zeros((len(terms) + 1, 4))
        classifies = [False] * len(terms)
        measured = self._begin() if self._begin else None
        for start in list(starts)[self._reducer.rank :: self._reducer.size]:
            count = min(self._batch, samples - start)
            rows = np.minimum(np.arange(start, start + self._batch), start + count - 1)
            fed = feeder.read(rows)
            run(fed)
            for index, term in enumerate(terms):
                if not (term["objective"] and term["prediction"]):
                    sums[index] += self._counted_by_graph(term, count)
                    continue
                given = self._given(term, fed, count)
                figures = figures_of(term["objective"], *given)
                classifies[index] = figures.correct is not None
                sums[index] += [figures.loss, figures.correct or 0.0, figures.counted, figures.weight]
                if measured and index == self.measured:
                    measured.add(*given)
            if whole is not None:
                sums[-1, 0] += float(self._outputs[whole].read().reshape(-1)[0]) * count
        flags = summed(self._reducer, [*sums.reshape(-1), *(float(one) for one in classifies)])
        sums = flags[: sums.size].reshape(sums.shape)
        found, each = self._joined(sums, [one > 0 for one in flags[sums.size :]], samples)
        if measured is None or self.measured is None:
            return found
        loss, accuracy = each[self.measured]
        return {**found, **with_totals(measured.report(self._reducer), self._names, loss, accuracy)}

    def _given(self, term: Mapping[str, Any], fed: Mapping[str, Array], count: int) -> tuple[Array, Array, int, Array | None]:
        """A prediction, labels, the rows of both that count, and a mask."""
        prediction, port = term["prediction"], self._feeds.labels
        array = self._outputs[prediction["name"]].read().reshape(prediction["shape"])
        labels = fed[term["labels"] if term["labels"] else port.name if port else ""]
        mask = fed[term["mask"]] if term["mask"] else None
        return array, labels.reshape(array.shape[0], -1), array.shape[0] // self._batch * count, mask

    def _counted_by_graph(self, term: Mapping[str, Any], count: int) -> list[float]:
        """The figures of a loss that the graph computes, for each place or for the whole batch."""
        numbers = self._outputs[term["output"]["name"]].read().astype(np.float64).reshape(-1)
        places = len(numbers) // self._batch if term["output"]["shape"] else 1
        loss = numbers[: count * places].sum() / places if term["output"]["shape"] else numbers[0] * count
        return [float(loss), 0.0, float(count), float(count)]

    def _joined(
        self, sums: Array, classifies: list[bool], samples: int
    ) -> tuple[dict[str, Any], list[tuple[float, float | None]]]:
        """All figures, and loss and accuracy of each loss."""

        def share(part: float, of: float) -> float:
            return 0.0 if of == 0 else float(part / of)

        terms = self._raw["terms"]
        each = [
            (share(loss, weight), share(correct, counted) if is_class else None)
            for (loss, correct, counted, weight), is_class in zip(sums[: len(terms)], classifies)
        ]
        named = list(zip((term["name"] for term in terms), each))
        accuracies = {name: accuracy for name, (_, accuracy) in named if accuracy is not None}
        figures: dict[str, Any] = {"loss": sum(loss * term["weight"] for (loss, _), term in zip(each, terms))}
        if len(accuracies) == 1:
            (figures["accuracy"],) = accuracies.values()
        if len(terms) == 1 and terms[0]["objective"] and terms[0]["objective"]["name"] in ("causal-lm", "masked-lm"):
            figures["perplexity"] = math.exp(min(figures["loss"], 700.0))
        if len(terms) > 1:
            figures["losses"] = {name: loss for name, (loss, _) in named}
            if accuracies:
                figures["accuracies"] = accuracies
        if self._raw["loss"] is not None:
            figures["loss"] = share(sums[-1, 0], samples)
        figures["samples"] = samples
        return figures, each
