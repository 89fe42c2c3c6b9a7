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
from types import SimpleNamespace
from typing import Any

import numpy as np

from . import run_folder
from .contract import Array, Contract, load
from .data import Dataset, load_data
from .errors import RunError, unusable
from .export import check_export, check_output
from .fit_loop import Fit
from .owner import parameters_of, part_of, take_parameters, train_round
from .ray_train import show_package_to_workers
from .worker import Worker

INSTALL = 'pip install "flwr[simulation]==1.42.0"'

DataOf = Callable[[int, int, Contract], Dataset]
"""The samples of a client: its number from 0, how many clients there are, the contract."""


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
    if secure and clients < 3:
        raise RunError(f"secure aggregation takes three clients or more, not {clients}")
    worker = Worker(load(Path(folder)))
    _check_federated(worker.contract)
    last: list[list[Array]] = [parameters_of(worker, statistics)]
    dataset = test(worker.contract) if test else None

    class Averaging(flower.strategy.FedAvg):  # type: ignore[misc, name-defined]
        averaged = 0

        def aggregate_fit(self, server_round: int, results: Any, failures: Any) -> Any:
            # Flower would go on with the parameters of the round before.
            if failures:
                raise RunError(f"round {server_round}: a client failed: {_reason(failures[0])}")
            self.averaged = server_round
            return super().aggregate_fit(server_round, results, failures)

    def evaluate(server_round: int, arrays: list[Array], _: dict[str, Any]) -> tuple[float, dict[str, Any]] | None:
        if server_round > strategy.averaged:
            raise RunError(f"round {server_round}: too few of the {clients} clients answered to average what they learned")
        last[0] = arrays
        take_parameters(worker, arrays, statistics)
        if dataset is None:
            return None
        figures = worker.evaluate(dataset)
        if on_round:
            on_round(server_round, figures)
        return figures["loss"], {name: figures[name] for name in ("accuracy",) if name in figures}

    strategy = Averaging(
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


def _reason(failure: Any) -> str:
    """The last line of what a client raised."""
    told = failure.args[0] if isinstance(failure, Exception) and failure.args else failure
    lines = str(getattr(told, "reason", told)).strip(" '>\n").splitlines()
    return lines[-1] if lines else str(told)


def _check_federated(contract: Contract) -> None:
    """Refuses a run whose end needs all the data in one place."""
    if contract.raw["batchNorm"] is not None:
        raise RunError(
            "--swa: no owner has all the data on which BatchNorm's statistics are computed again for the averaged weights: "
            "distribute the run with --no-update-bn"
        )


def _flower() -> Any:
    """The parts of Flower in use."""
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
    return SimpleNamespace(
        client=flwr.client, mod=flwr.client.mod, common=flwr.common,
        server=flwr.server, strategy=flwr.server.strategy, workflow=flwr.server.workflow,
    )  # fmt: skip


# --- simulation -------------------------------------------------------------------------------------------------------------------


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
    show_package_to_workers()

    def own(number: int, of: int, contract: Contract) -> Dataset:
        return part_of(_beginning(load_data(data, contract).train, samples), number, of, skew)

    figures: list[dict[str, Any]] = []

    def tested(contract: Contract) -> Dataset:
        parts = load_data(data, contract)
        return parts.test or parts.train

    contract = load(Path(folder))
    if min(clients, rounds, epochs) < 1 or samples is not None and samples < 1 or not 0 <= skew <= 1:
        raise RunError("clients, rounds, epochs and samples are whole numbers of 1 or more, and the skew is a share from 0 to 1")
    sizes = [own(number, clients, contract).size for number in range(clients)]
    if min(sizes) < contract.batch:
        raise RunError(
            f"client {sizes.index(min(sizes))} has {min(sizes)} samples, fewer than the batch of {contract.batch}: "
            "take fewer clients, or distribute the run with a smaller --batch"
        )
    server = server_app(
        folder, rounds=rounds, clients=clients, test=tested, statistics=statistics, secure=secure, most_samples=max(sizes),
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
