"""One of the processes that train together."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping, Sequence

import numpy as np

from . import random_streams
from .checkpoints import read_tensors, write_tensors
from .contract import Array, Contract
from .data import Dataset, Parts
from .errors import RunError
from .evaluation import Evaluation
from .export import write_model
from .feeds import Feeder, normalization_of
from .graphs import StepGraphs
from .identity import identity_of, same_data
from .position import Position, json_text
from .reducer import Alone, Reducer, summed
from .schedules import Run, Schedule, schedule_of

Event = dict[str, Any]


@dataclass(frozen=True)
class Fit:
    """How long to train."""

    epochs: int = 1
    max_steps: int | None = None
    validation: float | None = None
    checkpoint: Path | None = None
    save_every: int | None = None


class Worker:
    """Trains its shards of each batch, and exchanges gradients with the other processes."""

    def __init__(
        self,
        contract: Contract,
        reducer: Reducer | None = None,
        data: Parts | Dataset | None = None,
        *,
        shard_optimizer: bool = False,
        half: bool = False,
    ) -> None:
        """`shard_optimizer`: each process updates its share of the parameters (ZeRO-1); `half`: gradients travel in bfloat16."""
        self.contract = contract
        self.reducer = reducer or Alone()
        if self.reducer.size > contract.shards:
            raise RunError(
                f"{self.reducer.size} processes, but the batch is cut into {contract.shards} parts: start at most "
                f"{contract.shards}, or distribute the run with --workers {self.reducer.size}"
            )
        self.data = data if isinstance(data, Parts) or data is None else Parts(data)
        self.graphs = StepGraphs(contract, self.reducer, half=half, sharded=shard_optimizer)
        self.evaluation = Evaluation(contract, self.reducer, self.graphs.device)
        self.position = Position()
        self.normalize: Any = contract.raw["data"]["normalize"]
        self._plan: dict[str, Any] | None = None
        self._stop = False
        self._options = ""
        self.other_data = False
        """Whether a resumed run may go on with other data than before."""
        self.remarks: list[str] = []
        """What the user should know."""
        self.load(contract.folder / "state")
        self._schedules = _Schedules(contract)

    # --- state ----------------------------------------------------------------------------------------------------------------

    def load(self, folder: str | Path, kind: str = "last") -> None:
        """Goes to a checkpoint: of this run, or of `sorth-onnx train` with the same options."""
        path = Path(folder) / f"{kind}.safetensors"
        tensors, metadata = read_tensors(path)
        for state in self.contract.states:
            found = tensors.get(state.input)
            if found is None:
                raise RunError(f'{path} is of another run, or damaged: it has no "{state.input}"')
            if found.shape != state.model_shape:
                raise RunError(
                    f'{path} is of another run: "{state.input}" is {list(found.shape)} in it, '
                    f"and {list(state.model_shape)} in the model"
                )
        self.graphs.restore(tensors)
        self._options = metadata["options"]
        self.position = Position.from_text(metadata["position"])
        self._plan = json.loads(metadata["fit"]) if "fit" in metadata else None
        self.normalize = json.loads(self._options)["numbers"].get("normalize", self.normalize)

    def save(self, folder: str | Path, kinds: Sequence[str] = ("last",)) -> None:
        """Writes a checkpoint that `sorth-onnx train --resume` and `load` continue."""
        tensors = self._gathered()
        if self.reducer.rank == 0:
            options = json.loads(self._options)
            if self.normalize is not None:
                options["numbers"]["normalize"] = self.normalize
            states = [*self.contract.parameters, *self.contract.statistics]
            metadata = {
                "options": json_text(options),
                "position": self.position.to_text(),
                **({"fit": json_text(self._plan)} if self._plan else {}),
                "weights": json_text([state.input for state in states]),
            }
            average = self.contract.average
            if average:
                slots = {one.input: one.slots[average].input for one in self.contract.parameters if average in one.slots}
                metadata["averages"] = json_text(slots)
            for kind in kinds:
                write_tensors(Path(folder) / f"{kind}.safetensors", tensors, metadata)
        summed(self.reducer, [0.0])

    def _gathered(self) -> dict[str, Array]:
        """The whole state in the model's form; with a sharded optimizer, its owners send their slots."""
        held = self.graphs.state
        tensors: dict[str, Array] = {}
        owners = self.graphs.owners
        owner_of = {
            slot.input: owners[one.name]
            for one in self.contract.parameters
            if one.name in owners
            for slot in one.slots.values()
        }
        for state in self.contract.states:
            if state.input in held:
                array = np.array(held[state.input].read())
            else:
                array = np.zeros(state.shape, _numpy(state.type))
            if state.input in owner_of:
                array = np.ascontiguousarray(array)
                self.reducer.share(array, owner_of[state.input]).wait()
            tensors[state.input] = state.in_model(array)
        return tensors

    def get_parameters(self) -> list[Array]:
        """Copies of the trained parameters in the model's form, in the order of the contract."""
        return [np.array(one.in_model(self.graphs.state[one.input].read())) for one in self.contract.parameters]

    def set_parameters(self, arrays: Sequence[Array]) -> None:
        """Replaces the trained parameters; the optimizer keeps its state."""
        if len(arrays) != len(self.contract.parameters):
            raise RunError(f"{len(arrays)} arrays were given for {len(self.contract.parameters)} parameters")
        for one, array in zip(self.contract.parameters, arrays):
            if tuple(array.shape) != one.model_shape:
                raise RunError(f'"{one.name}" is {list(one.model_shape)}, not {list(array.shape)}')
            self.graphs.state[one.input].write(one.in_step(np.asarray(array, _numpy(one.type))))

    # --- training -------------------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Ends the run after the current step, on all processes."""
        self._stop = True

    def fit(self, fit: Fit | None = None) -> Iterator[Event]:
        """Trains from where the run stands to its end, and yields events as `run.jsonl` has them."""
        fit = fit or Fit()
        if self.data is None:
            raise RunError("the worker has no data to train on")
        train, validation = self._split(fit)
        if self.normalize is None:
            self.normalize = normalization_of(self.contract, train)
        if validation is not None and self.evaluation.obstacle:
            raise RunError(self.evaluation.obstacle)
        self._plan = self._plan_of(fit, validation)
        batch = self.contract.batch
        per_epoch = train.size // batch
        if per_epoch == 0:
            raise RunError(
                f"{train.name}: a batch of {batch} is larger than the {train.size} training samples; distribute the run with "
                "a smaller batch"
            )
        planned = fit.epochs * per_epoch
        total = min(planned, fit.max_steps or planned)
        if self.position.step >= total:
            raise RunError(
                f"the run has done all its {self.position.step} steps: give --epochs or --max-steps to train further"
            )
        loop = _Loop(self, train, validation, fit, per_epoch, total)
        yield from loop.events(planned)

    def _split(self, fit: Fit) -> tuple[Dataset, Dataset | None]:
        assert self.data is not None
        train, validation = self.data.train, self.data.validation
        if fit.validation:
            kept, held = random_streams.split_rows(train.size, fit.validation, self.contract.seed)
            return train.subset(kept), train.subset(held, f"{train.name} (validation)")
        return train, None if fit.validation == 0 else validation

    def _plan_of(self, fit: Fit, validation: Dataset | None) -> dict[str, Any]:
        assert self.data is not None
        self._check_data(self.data.train)
        plan: dict[str, Any] = {"epochs": fit.epochs, "data": identity_of(self.data.train)}
        if fit.max_steps is not None:
            plan["maxSteps"] = fit.max_steps
        if fit.validation is not None:
            plan["validation"] = fit.validation
        elif validation is not None:
            plan["validation"] = identity_of(validation)
        return plan

    def _check_data(self, train: Dataset) -> None:
        before = self._plan and self._plan["data"]
        if not before or self.other_data:
            return
        same = same_data(train, before)
        if same is None:
            self.remarks.append(
                f'the checkpoint\'s checksum of "{before["name"]}" is not compared, because that takes Python long; '
                f"the number of samples is the same ({train.size})"
            )
        elif not same:
            now = identity_of(train)
            raise RunError(
                f'the run was trained on other data: "{before["name"]}" with {before["samples"]} samples (checksum '
                f'{before["checksum"]}), and "{now["name"]}" has {now["samples"]} ({now["checksum"]}); give the same data, '
                "or --other-data to go on with these"
            )

    def step(self, feeder: Feeder, rows: Array, epoch: int, run: Run) -> Event:
        """One step of the joint batch of samples; raises RunError when the loss is no number, and keeps the state before it."""
        contract, graphs = self.contract, self.graphs
        number = self.position.step + 1
        scalars = self._schedules.of_step(number, number + (self.position.before or 0), run)
        for name, value in scalars.fed.items():
            graphs.write(name, value)
        for draw in contract.raw["draws"]:
            turn = epoch if draw["anew"] == "epoch" else number
            graphs.write(
                draw["name"],
                random_streams.drawn(draw["distribution"], tuple(draw["shape"]), draw["seed"], contract.seed, turn),
            )
        masks = random_streams.dropout_masks(
            contract.seed, number, [(mask.shape, mask.ratio) for mask in contract.masks]
        )
        size = contract.shard_size
        for index, shard in enumerate(graphs.shards):
            fed = feeder.read(rows[shard * size : (shard + 1) * size])
            for name, array in fed.items():
                if name in graphs.feeds[index]:
                    graphs.feeds[index][name].write(array)
            for mask, numbers in zip(contract.masks, masks):
                graphs.feeds[index][mask.name].write(_cut(numbers, mask.cut, shard, contract.shards))
        graphs.run_stages()
        loss = graphs.number(contract.raw["loss"])
        if contract.raw["scaling"] is None and not math.isfinite(loss):
            raise NotANumber(f"the loss became {_js(loss)} at step {number}")
        graphs.update()
        self._exchange()
        return self._report(loss, scalars)

    def _exchange(self) -> None:
        """With a sharded optimizer: each process gets the parameters that the others updated."""
        owners = self.graphs.owners
        if not owners:
            return
        arrays = [np.ascontiguousarray(self.graphs.state[one.input].read()) for one in self.contract.parameters]
        pending = [
            self.reducer.share(array, owners[one.name]) for one, array in zip(self.contract.parameters, arrays)
        ]
        for one, array, work in zip(self.contract.parameters, arrays, pending):
            work.wait()
            self.graphs.state[one.input].write(array)

    def _report(self, loss: float, scalars: "_Scalars") -> Event:
        raw, graphs = self.contract.raw, self.graphs
        penalty = graphs.number(raw["penalty"])
        penalties = {
            one["name"]: scalars.penalty_weight
            * one["factor"]
            * (scalars.penalties.get(one["name"], 1.0) if one.get("schedule") else 1.0)
            * graphs.number(one["output"])
            for one in raw["penalties"]
        }
        losses = {one["name"]: graphs.number(one["output"]) for one in raw["losses"]}
        event: Event = {"loss": loss, "penalty": penalty, "penalties": penalties}
        if losses:
            event["losses"] = losses
        event["penaltyShare"] = 0.0 if loss == 0 else scalars.penalty_weight * penalty / loss
        event["learningRate"] = scalars.learning_rate
        if raw["scaling"]:
            event["lossScale"] = graphs.number(raw["scaling"]["scale"])
            event["skipped"] = graphs.number(raw["scaling"]["skipped"]) == 1
        return event

    # --- figures and files ----------------------------------------------------------------------------------------------------

    def evaluate(self, dataset: Dataset | None = None) -> dict[str, Any]:
        """Loss and accuracy on a dataset; default: the test part of the data, else all of them."""
        if dataset is None:
            if self.data is None:
                raise RunError("the worker has no data to evaluate on")
            dataset = self.data.test or self.data.train
        if self.normalize is None:
            self.normalize = normalization_of(self.contract, dataset)
        state = dict(self.graphs.state)
        average = self.contract.average
        if average:
            state.update(
                {one.input: self._slot(one.input, one.slots[average].input) for one in self.contract.parameters if average in one.slots}
            )
        figures = self.evaluation.run(dataset, state, self.normalize)
        return {**figures, **({"average": average} if average else {})}

    def _slot(self, parameter: str, slot: str) -> Any:
        if slot in self.graphs.state:
            return self.graphs.state[slot]
        raise RunError(f'"{parameter}": the average of a sharded optimizer is not evaluated: leave --shard-optimizer out')

    def record(self) -> dict[str, Any]:
        """What the trained model keeps about its data."""
        given = self.contract.raw["data"]["conversion"] or {}
        own = self.data.conversion if self.data else {}
        found = {"version": 1, **given, **own}
        if self.normalize is not None:
            found["normalize"] = self.normalize
        return found

    def export(self, path: str | Path) -> None:
        """Writes the trained model, on the first process."""
        tensors = self._gathered()
        average = self.contract.average
        weights = {
            **{
                one.input: tensors[one.slots[average].input if average and average in one.slots else one.input]
                for one in self.contract.parameters
            },
            **{one.input: tensors[one.input] for one in self.contract.statistics},
        }
        if self.reducer.rank == 0:
            write_model(self.contract, Path(path), weights, self.record())


class NotANumber(RunError):
    """The loss is NaN or infinite."""


def _numpy(name: str) -> Any:
    from .contract import DTYPES

    return DTYPES[name]


def _js(number: float) -> str:
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def _cut(numbers: Array, axis: int | None, shard: int, shards: int) -> Array:
    """The rows of a shard in an array of the joint batch."""
    if axis is None or shards == 1:
        return numbers
    size = numbers.shape[axis] // shards
    return np.take(numbers, range(shard * size, (shard + 1) * size), axis=axis)


@dataclass(frozen=True)
class _Scalars:
    fed: Mapping[str, float]
    learning_rate: float
    penalty_weight: float
    penalties: Mapping[str, float]


class _Schedules:
    """The scalars of each step."""

    def __init__(self, contract: Contract) -> None:
        raw = contract.raw
        self._contract = contract
        self._rate: Schedule = schedule_of(raw["schedule"])
        self._weight: Schedule = schedule_of(raw["penaltySchedule"])
        self._own = {name: schedule_of(named) for name, named in raw["penaltySchedules"].items()}
        # A single penalty has no input for its schedule: the factor goes into the weight of all.
        self._alone = next((one["name"] for one in raw["penalties"] if not one.get("schedule")), "")

    def of_step(self, number: int, update: int, run: Run) -> _Scalars:
        """The scalars of a step, counted from 1."""
        names = self._contract.raw["scalars"]
        factor = self._rate(number, run)
        rate = self._contract.learning_rate * factor
        own = {name: schedule(number, run) for name, schedule in self._own.items()}
        weight = self._contract.penalty_weight * self._weight(number, run) * own.get(self._alone, 1.0)
        fed: dict[str, float] = {names["learningRate"]: rate, names["step"]: float(update)}
        for group in names.get("rates", []):
            fed[group["input"]] = group["rate"] * factor
        if names.get("penaltyWeight"):
            fed[names["penaltyWeight"]] = weight
        for one in self._contract.raw["penalties"]:
            if one.get("schedule"):
                fed[one["schedule"]] = own.get(one["name"], 1.0)
        return _Scalars(fed, rate, weight, own)


class _Loop:
    """The loop over epochs and steps (src/runtime/fit-loop.ts)."""

    def __init__(
        self, worker: Worker, train: Dataset, validation: Dataset | None, fit: Fit, per_epoch: int, total: int
    ) -> None:
        self._worker, self._train, self._validation, self._fit = worker, train, validation, fit
        self._per_epoch, self._total = per_epoch, total
        self._feeder = Feeder(worker.contract.feeds, train, worker.normalize)
        self._first, self._began = worker.position.step, time.monotonic()
        self._figures: dict[str, Any] = {}
        self._rate = 0.0

    def events(self, planned: int) -> Iterator[Event]:
        """Everything that happens, to the end."""
        worker, position = self._worker, self._worker.position
        stopped = False
        while position.step < self._total and not stopped:
            epoch = position.step // self._per_epoch
            if position.step % self._per_epoch == 0:
                position.start_epoch()
            order = random_streams.shuffled_indices(worker.contract.seed, epoch, self._train.size)
            began, waiting = time.monotonic(), 0.0
            end = min(self._total, (epoch + 1) * self._per_epoch)
            while position.step < end and not stopped:
                yield self._step(order, epoch)
                stopped = summed(worker.reducer, [float(worker._stop)])[0] > 0
                every = self._fit.save_every
                if every and position.step % every == 0 and self._fit.checkpoint and position.step < end:
                    worker.save(self._fit.checkpoint)
            if position.step % self._per_epoch == 0 and position.counted > 0:
                yield from self._end_of_epoch(epoch + 1, began, waiting)
        if self._fit.checkpoint and position.step % self._per_epoch != 0:
            worker.save(self._fit.checkpoint)
        why = "aborted" if stopped else "max-steps" if position.step < planned else None
        yield {"event": "end", **self._progress(), **position.means(), **self._figures, **({"stopped": why} if why else {})}

    def _step(self, order: Array, epoch: int) -> Event:
        worker, position = self._worker, self._worker.position
        batch = worker.contract.batch
        start = position.step % self._per_epoch * batch
        run = Run(self._total, self._per_epoch, self._validated())
        try:
            event = worker.step(self._feeder, order[start : start + batch], epoch, run)
        except NotANumber as error:
            kept = ""
            if self._fit.checkpoint:
                worker.save(self._fit.checkpoint)
                kept = f" in {self._fit.checkpoint}"
            raise RunError(
                f"{error}; the state after step {position.step} is kept{kept}: lower the learning rate or the penalty "
                "weight, and look for NaN or huge numbers in the data"
            ) from error
        position.advance(event["loss"], event["penalty"], event["penalties"], event.get("losses", {}))
        self._rate = event["learningRate"]
        return {"event": "step", **self._progress(), **event, "totalSteps": self._total}

    def _validated(self) -> list[tuple[int, float]] | None:
        if self._validation is None:
            return None
        return [
            (one["step"], one["validation"]["loss"]) for one in self._worker.position.history if "validation" in one
        ]

    def _end_of_epoch(self, epoch: int, began: float, waiting: float) -> Iterator[Event]:
        worker, position = self._worker, self._worker.position
        figures = worker.evaluate(self._validation) if self._validation is not None else None
        if figures:
            self._figures = {"validation": figures}
            if "accuracy" in figures:
                self._figures["accuracy"] = figures["accuracy"]
        means = position.means()
        position.finish_epoch(epoch, means["loss"], figures)
        is_best = figures is not None and (position.best_loss is None or figures["loss"] < position.best_loss)
        if is_best and figures:
            position.best_loss = figures["loss"]
        kinds = [*(["best"] if is_best else []), "last"]
        if self._fit.checkpoint:
            worker.save(self._fit.checkpoint, kinds)
        seconds = time.monotonic() - began
        yield {
            "event": "epoch", **self._progress(), **means, **self._figures,
            "learningRate": self._rate, "epochSeconds": seconds, "waiting": waiting,
        }  # fmt: skip
        if self._fit.checkpoint:
            for kind in kinds:
                yield {"event": "checkpoint", **self._progress(), **means, "kind": kind}

    def _progress(self) -> Event:
        position = self._worker.position
        seconds = time.monotonic() - self._began
        done = position.step - self._first
        return {
            "step": position.step,
            "epoch": max(1, -(-position.step // self._per_epoch)),
            "seconds": seconds,
            "samplesPerSecond": done * self._worker.contract.batch / max(seconds, 1e-9),
        }


Listener = Callable[[Event], None]
