"""The statistics of BatchNorm for the averaged weights of a run (src/runtime/update-batch-norm.ts)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from . import random_streams
from .contract import Array, Contract, feeds_of
from .data import Dataset
from .errors import RunError
from .feeds import Feeder
from .graphs import Buffer, MeasuringGraph
from .reducer import Reducer


def averaged_statistics(
    contract: Contract, reducer: Reducer, device: str, state: Mapping[str, Buffer], dataset: Dataset, normalize: Any
) -> dict[str, Array]:
    """The means over all whole batches of what BatchNorm normalizes with, by state; each process measures its share of the batches."""
    raw = contract.raw["batchNorm"]
    graph = MeasuringGraph(contract, raw, device)
    run = graph.over(state)
    feeder = Feeder(feeds_of(raw["feeds"]), dataset, normalize)
    order = random_streams.shuffled_indices(contract.seed, 0, dataset.size)
    batches = dataset.size // contract.batch
    sums = {name: np.zeros(one.read().shape) for name, one in graph.outputs.items()}
    for number in range(reducer.rank, batches, reducer.size):
        rows = order[number * contract.batch : (number + 1) * contract.batch]
        run(feeder.read(rows))
        for name, total in sums.items():
            total += graph.outputs[name].read()
    for total in sums.values():
        reducer.sum(total).wait()
    found = {one["state"]: sums[one["output"]] / batches * one["factor"] for one in raw["statistics"]}
    for name, array in found.items():
        if not np.isfinite(array).all():
            raise RunError(f'the statistics of "{name}" are no finite numbers on these data')
    return found
