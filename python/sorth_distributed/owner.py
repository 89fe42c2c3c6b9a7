"""What an owner of data does in federated learning: trains on its own samples, and exchanges parameters as flat arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .contract import Array, State
from .data import Dataset
from .errors import RunError
from .fit_loop import Fit
from .position import Position
from .worker import Worker


def parameters_of(worker: Worker, statistics: bool = False) -> list[Array]:
    """What travels: each trained parameter in the model's form, flat; with `statistics` the running statistics of BatchNorm too."""
    return [np.array(one.in_model(worker.graphs.state[one.input].read())).reshape(-1) for one in _sent(worker, statistics)]


def take_parameters(worker: Worker, arrays: Sequence[Array], statistics: bool = False) -> None:
    """Sets what `parameters_of` returned. Raises RunError for arrays of another run, and for numbers that are not finite."""
    states = _sent(worker, statistics)
    if len(arrays) != len(states):
        raise RunError(f"{len(arrays)} arrays arrived for the {len(states)} that this run sends: another run, or other options")
    for one, array in zip(states, arrays):
        if array.size != int(np.prod(one.model_shape)):
            raise RunError(f'"{one.name}" is {list(one.model_shape)}, and {array.size} numbers arrived for it')
        if not np.isfinite(array).all():
            raise RunError(f'"{one.name}" arrived with NaN or infinite numbers: a client diverged; lower its learning rate')
    for one, array in zip(states, arrays):
        held = worker.graphs.state[one.input]
        held.write(one.in_step(np.asarray(array, held.read().dtype).reshape(one.model_shape)))


def _sent(worker: Worker, statistics: bool) -> Sequence[State]:
    contract = worker.contract
    return [*contract.parameters, *(contract.statistics if statistics else ())]


def train_round(worker: Worker, server_round: int, epochs: int) -> dict[str, float]:
    """Some epochs over a client's data with an optimizer that begins again; each round shuffles them differently."""
    assert worker.data is not None
    per_epoch = worker.data.train.size // worker.contract.batch
    done = (server_round - 1) * epochs * per_epoch
    # The counts of updates, as Adam's correction reads them, begin at 0.
    worker.position = Position(step=done, before=-done)
    loss = 0.0
    for event in worker.fit(Fit(epochs=server_round * epochs, validation=0)):
        loss = event["loss"]
    return {"loss": loss}


def part_of(dataset: Dataset, number: int, clients: int, skew: float = 0.0) -> Dataset:
    """A client's share of a dataset: every n-th sample for n clients; with `skew`, that part of the samples goes by class instead."""
    rows = np.arange(dataset.size)
    owners = rows % clients
    if skew > 0:
        if dataset.labels is None:
            raise RunError(f"{dataset.name} has no labels by which to share its samples out: leave --skew out")
        labels = dataset.labels.read(rows).reshape(-1).astype(np.int64)
        by_class = (rows * 2654435761 % 1000) < skew * 1000
        owners = np.where(by_class, labels % clients, owners)
    return dataset.subset(rows[owners == number], f"{dataset.name} (client {number})")
