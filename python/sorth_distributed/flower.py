"""Flower: clients that train their own data with the graphs of a run, and a server that averages what they return.

    python -m sorth_distributed.flower DIR --data mnist --clients 3 --rounds 3 [--secure] -o trained.onnx

simulates it on one machine. `client_app` and `server_app` are the apps themselves, for `flwr run` and real owners of data.
Weights travel as flat arrays in the order of the contract: adapters alone where the run trains adapters.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import run_folder
from .contract import Array, Contract, State, load
from .data import Dataset, load_data
from .errors import RunError, unusable
from .export import check_export, check_output
from .fit_loop import Fit
from .position import Position
from .worker import Worker

INSTALL = 'pip install "flwr[simulation]==1.42.0"'

DataOf = Callable[[int, int, Contract], Dataset]
"""The samples of a client: its number from 0, how many clients there are, the contract."""


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


def client_app(folder: str | Path, data_of: DataOf, *, epochs: int = 1, statistics: bool = False, secure: bool = False) -> Any:
    """The ClientApp: each round, `epochs` passes over the client's own samples from the parameters of the server.

    `statistics`: BatchNorm's running statistics are averaged too; else each client keeps its own (FedBN).
    `secure`: the server sees sums of masked parameters alone (SecAgg+).
    """
    flower = _flower()
    where = str(Path(folder).resolve())
    _check_federated(load(where))

    class Client(flower.client.NumPyClient):  # type: ignore[misc, name-defined]
        def __init__(self, number: int, clients: int) -> None:
            self.number, self.clients = number, clients

        def fit(self, parameters: list[Array], config: dict[str, Any]) -> tuple[list[Array], int, dict[str, float]]:
            contract = load(where)
            data = data_of(self.number, self.clients, contract)
            if data.size < contract.batch:
                raise RunError(f"client {self.number} has {data.size} samples, fewer than the batch of {contract.batch}")
            worker = Worker(contract, data=data)
            take_parameters(worker, parameters, statistics)
            figures = train_round(worker, int(config["round"]), epochs)
            return parameters_of(worker, statistics), data.size, figures

    def client_fn(context: Any) -> Any:
        config = context.node_config
        return Client(int(config["partition-id"]), int(config["num-partitions"])).to_client()

    return flower.client.ClientApp(client_fn=client_fn, mods=[flower.mod.secaggplus_mod] if secure else [])


def server_app(
    folder: str | Path,
    *,
    rounds: int,
    clients: int,
    test: Callable[[Contract], Dataset] | None = None,
    statistics: bool = False,
    secure: bool = False,
    most_samples: int = 1000,
    on_round: Callable[[int, dict[str, Any]], None] | None = None,
    done: Callable[[Worker], None] | None = None,
) -> Any:
    """The ServerApp: federated averaging, weighted by samples.

    `test`: samples on which the server evaluates each round, passed to `on_round`; `done` gets a worker with the last parameters,
    to export or save them. `most_samples`: with `secure`, the samples of the largest client: SecAgg+ rounds weights to steps of
    16/2²² times this number over the client's own, and counts no client for more.
    """
    flower = _flower()
    worker = Worker(load(Path(folder)))
    _check_federated(worker.contract)
    last: list[list[Array]] = [parameters_of(worker, statistics)]
    dataset = test(worker.contract) if test else None

    def evaluate(server_round: int, arrays: list[Array], _: dict[str, Any]) -> tuple[float, dict[str, Any]] | None:
        last[0] = arrays
        take_parameters(worker, arrays, statistics)
        if dataset is None:
            return None
        figures = worker.evaluate(dataset)
        if on_round:
            on_round(server_round, figures)
        return figures["loss"], {name: figures[name] for name in ("accuracy",) if name in figures}

    strategy = flower.strategy.FedAvg(
        fraction_fit=1.0,
        fraction_evaluate=0.0,
        min_fit_clients=clients,
        min_available_clients=clients,
        accept_failures=False,
        on_fit_config_fn=lambda server_round: {"round": server_round},
        evaluate_fn=evaluate,
        initial_parameters=flower.common.ndarrays_to_parameters(last[0]),
    )
    app = flower.server.ServerApp()

    @app.main()  # type: ignore[untyped-decorator]
    def main(grid: Any, context: Any) -> None:
        own = flower.server.LegacyContext(
            context=context, config=flower.server.ServerConfig(num_rounds=rounds), strategy=strategy
        )
        secured = (
            flower.workflow.SecAggPlusWorkflow(
                num_shares=clients, reconstruction_threshold=max(2, clients - 1), max_weight=float(most_samples)
            )
            if secure
            else None
        )
        flower.workflow.DefaultWorkflow(fit_workflow=secured)(grid, own)
        if done:
            take_parameters(worker, last[0], statistics)
            done(worker)

    return app


def _check_federated(contract: Contract) -> None:
    """Refuses a run whose end needs all the data in one place."""
    if contract.raw["batchNorm"] is not None:
        raise RunError(
            "--swa: no owner has all the data on which BatchNorm's statistics are computed again for the averaged weights: "
            "distribute the run with --no-update-bn"
        )


class _Flower:
    """The parts of Flower in use."""

    def __init__(self) -> None:
        os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
        try:
            import flwr.client
            import flwr.client.mod
            import flwr.common
            import flwr.server
            import flwr.server.strategy
            import flwr.server.workflow
        except ImportError as error:
            raise unusable("flwr", INSTALL, error) from error
        self.client, self.mod, self.common = flwr.client, flwr.client.mod, flwr.common
        self.server, self.strategy, self.workflow = flwr.server, flwr.server.strategy, flwr.server.workflow


def _flower() -> Any:
    return _Flower()


# --- simulation -------------------------------------------------------------------------------------------------------------------


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


def simulate(
    folder: str | Path,
    data: str,
    *,
    clients: int,
    rounds: int,
    epochs: int = 1,
    skew: float = 0.0,
    samples: int | None = None,
    secure: bool = False,
    statistics: bool = False,
    done: Callable[[Worker], None] | None = None,
) -> list[dict[str, Any]]:
    """Flower's simulation on this machine; returns the figures of each round, before the first one's training too."""
    _flower()
    try:
        from flwr.simulation import run_simulation
    except ImportError as error:
        raise unusable("flwr", INSTALL, error) from error
    parent = str(Path(__file__).resolve().parent.parent)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [parent, os.environ.get("PYTHONPATH", "")]))

    def own(number: int, of: int, contract: Contract) -> Dataset:
        return part_of(_beginning(load_data(data, contract).train, samples), number, of, skew)

    figures: list[dict[str, Any]] = []

    def tested(contract: Contract) -> Dataset:
        parts = load_data(data, contract)
        return parts.test or parts.train

    contract = load(Path(folder))
    most = max(own(number, clients, contract).size for number in range(clients))
    server = server_app(
        folder, rounds=rounds, clients=clients, test=tested, statistics=statistics, secure=secure, most_samples=most,
        on_round=lambda _, found: figures.append(found), done=done,
    )  # fmt: skip
    client = client_app(folder, own, epochs=epochs, statistics=statistics, secure=secure)
    run_simulation(
        server, client, num_supernodes=clients,
        backend_config={"client_resources": {"num_cpus": 1, "num_gpus": 0.0}},
    )  # fmt: skip
    if len(figures) != rounds + 1:
        raise RunError(f"the simulation ended after {len(figures) - 1} of {rounds} rounds: its log says why")
    return figures


def _beginning(dataset: Dataset, samples: int | None) -> Dataset:
    return dataset if samples is None else dataset.subset(np.arange(min(samples, dataset.size)))


def central(folder: str | Path, data: str, *, epochs: int, samples: int | None = None) -> dict[str, Any]:
    """The figures of a run over all the samples in one place."""
    contract = load(Path(folder))
    parts = load_data(data, contract)
    worker = Worker(contract, data=_beginning(parts.train, samples))
    for _ in worker.fit(Fit(epochs=epochs, validation=0)):
        pass
    return worker.evaluate(parts.test or parts.train)


def main(words: Sequence[str] | None = None) -> int:
    """The command line of the simulation; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m sorth_distributed.flower", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("folder", type=Path, help="what sorth-onnx distribute wrote")
    parser.add_argument("--data", required=True, help="as for run.py; the clients share its training samples out")
    parser.add_argument("--clients", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=1, help="passes of each client over its samples in a round")
    parser.add_argument("--samples", type=int, help="only this many training samples, over all clients")
    parser.add_argument("--skew", type=float, default=0.0, help="share of the samples that goes to clients by class")
    parser.add_argument("--statistics", action="store_true", help="average BatchNorm's running statistics too")
    parser.add_argument("--secure", action="store_true", help="secure aggregation: SecAgg+")
    parser.add_argument("--central", action="store_true", help="also train all the samples in one place, and compare")
    parser.add_argument("--checkpoint", type=Path, help="folder for a checkpoint of the result")
    parser.add_argument("-o", "--output", type=Path, help="where to write the trained model")
    parser.add_argument("--force", action="store_true", help="replace files that exist")
    flags = parser.parse_args(words)

    try:
        contract = load(flags.folder)
        if flags.output:
            check_export(contract, flags.checkpoint, flags.output)
            check_output(contract, flags.output, flags.force)
        if flags.checkpoint:
            run_folder.check_folder(contract, flags.checkpoint)
            run_folder.check_new(flags.checkpoint, flags.force)
        rounds = simulate(
            flags.folder, flags.data, clients=flags.clients, rounds=flags.rounds, epochs=flags.epochs, skew=flags.skew,
            samples=flags.samples, secure=flags.secure, statistics=flags.statistics,
            done=lambda worker: keep_result(worker, flags.data, flags.output, flags.checkpoint),
        )  # fmt: skip
        for number, figures in enumerate(rounds):
            print(f"round {number}: {_text(figures)}")
        if flags.central:
            found = central(flags.folder, flags.data, epochs=flags.rounds * flags.epochs, samples=flags.samples)
            print(f"central: {_text(found)}")
    except RunError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def keep_result(worker: Worker, data: str, output: Path | None, checkpoint: Path | None) -> None:
    """Writes the trained model, and a folder with which `run.py --resume` and `sorth-onnx train --resume` go on."""
    if output:
        worker.export(output)
    if checkpoint:
        worker.save(checkpoint)
        run_folder.begin(worker.contract, checkpoint, data, {}, worker.record())


def _text(figures: dict[str, Any]) -> str:
    accuracy = f", accuracy {figures['accuracy']:.4f}" if "accuracy" in figures else ""
    return f"loss {figures['loss']:.4f}{accuracy}"


if __name__ == "__main__":
    sys.exit(main())
