"""One of the processes that train together."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from . import checks, random_streams
from .augmentation import augmented
from .batch_norm import averaged_statistics
from .best_epochs import Decisions
from .checkpoints import read_tensors, write_tensors
from .contract import DTYPES, Array, Contract, State
from .data import Dataset, Parts, Pass
from .errors import RunError
from .evaluation import Evaluation
from .export import write_model
from .feeds import Feeder, normalization_of
from .fit_loop import Event, Fit, FitLoop, NotANumber, NothingLeft
from .graphs import Buffer, StepGraphs, fill
from .identity import identity_of
from .labels import check_labels
from .mixup import mixture_of
from .position import Position, json_text
from .reducer import Alone, Reducer, summed
from .restarts import shared_content
from .scalars import Scalars, ScalarSchedules
from .schedules import Run


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
        parts = Parts(data) if isinstance(data, Dataset) else data
        self._trained: Dataset | None = None  # The samples of the run without held-out ones.
        self.data = parts and replace(parts, train=augmented(parts.train, contract.raw["data"]["augment"]))
        self.how = shard_optimizer, half
        self.graphs = StepGraphs(contract, self.reducer, half=half, sharded=shard_optimizer)
        self.evaluation = Evaluation(contract, self.reducer, self.graphs.device)
        self.position = Position()
        self.normalize: Any = contract.raw["data"]["normalize"]
        self.plan: dict[str, Any] | None = None
        """How the run is fitted, as checkpoints keep it."""
        self.stopping = False
        self._options = ""
        self.other_data = False
        """Whether a resumed run may go on with other data than before."""
        self.remarks: list[str] = []
        """What the user should know."""
        first = contract.folder / "state" / "last.safetensors"
        self._take(first, *read_tensors(first))
        self._schedules = ScalarSchedules(contract)

    # --- state ----------------------------------------------------------------------------------------------------------------

    def load(self, folder: str | Path, kind: str = "last") -> None:
        """Goes to a checkpoint: of this run, or of `sorth-onnx train` with the same options."""
        path = Path(folder) / f"{kind}.safetensors"
        self._take(path, *read_tensors(path, shared_content(path, self.reducer)))

    def _take(self, path: Path, tensors: Mapping[str, Array], metadata: Mapping[str, str]) -> None:
        weights = {state.input for state in (*self.contract.parameters, *self.contract.statistics)}
        for state in self.contract.states:
            found = tensors.get(state.input)
            if found is None:
                raise RunError(f'{path} is of another run, or damaged: it has no "{state.input}"')
            if found.dtype != DTYPES[state.type]:
                raise RunError(f'{path} is of another run: "{state.input}" is {found.dtype} in it, and {state.type} in the model')
            if state.input in weights and not np.isfinite(found).all():
                raise RunError(f'{path}: "{state.input}" holds NaN or Infinity: take another checkpoint, or begin the run again')
            if found.shape != state.model_shape:
                raise RunError(
                    f'{path} is of another run: "{state.input}" is {list(found.shape)} in it, '
                    f"and {list(state.model_shape)} in the model"
                )
        try:
            position = Position.from_text(metadata["position"])
            plan = dict(json.loads(metadata["fit"])) if "fit" in metadata else None
            normalize = json.loads(metadata["options"])["numbers"].get("normalize", self.normalize)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise RunError(f"{path} does not tell how its run stands, or is damaged ({error!r})") from error
        if self._options:
            checks.check_options(path, self._options, metadata["options"])
        self.graphs.restore(tensors)
        self._options, self.position, self.plan, self.normalize = metadata["options"], position, plan, normalize

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
                **({"fit": json_text(self.plan)} if self.plan else {}),
                "weights": json_text([state.input for state in states]),
            }
            average = self.contract.average
            if average:
                slots = {one.input: one.slots[average].input for one in self.contract.parameters if average in one.slots}
                metadata["averages"] = json_text(slots)
            for kind in kinds:
                write_tensors(Path(folder) / f"{kind}.safetensors", tensors, metadata)
        summed(self.reducer, 0.0)

    def _gathered(self) -> dict[str, Array]:
        """The whole state in the model's form; with a sharded optimizer, its owners send their slots."""
        tensors: dict[str, Array] = {}
        owners = self.graphs.owners
        owner_of = {
            slot.input: owners[one.name] for one in self.contract.parameters if one.name in owners for slot in one.slots.values()
        }
        for state in self.contract.states:
            tensors[state.input] = state.in_model(self._whole(state, owner_of.get(state.input)))
        return tensors

    def _whole(self, state: State, owner: int | None) -> Array:
        """A copy of a state in the graphs' form; with a sharded optimizer its owner sends it."""
        held = self.graphs.state.get(state.input)
        array = np.array(held.read(), order="C") if held else np.zeros(state.shape, DTYPES[state.type])
        if owner is not None:
            self.reducer.share(array, owner).wait()
        return array

    # --- training -------------------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Ends the run after the current step, on all processes."""
        self.stopping = True

    def fit(self, fit: Fit | None = None) -> Iterator[Event]:
        """Trains from where the run stands to its end, and yields events as `run.jsonl` has them."""
        fit = fit or Fit()
        if self.data is None:
            raise RunError("the worker has no data to train on")
        train, validation = self._split(fit)
        self._trained = train
        if self.normalize is None:
            self.normalize = normalization_of(self.contract, train)
        checks.check_taught(self.contract, self.normalize)
        for dataset in filter(None, (train, validation, self.data.test)):
            check_labels(self.contract, dataset, self.normalize)
        if validation is not None and self.evaluation.obstacle:
            raise RunError(self.evaluation.obstacle)
        checks.check_held_out(fit, validation)
        self.plan = self._plan_of(fit, validation)
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
            raise NothingLeft(f"all {self.position.step} steps are done: go on with --epochs or --max-steps, or give -o")
        checks.check_same(self, fit)
        loop = FitLoop(self, train, validation, fit, per_epoch, total)
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
        if self.plan and not self.other_data:
            self.remarks += checks.check_data(self.plan, self.data.train, fit.validation)
        plan = {
            "epochs": fit.epochs,
            "data": identity_of(self.data.train),
            "maxSteps": fit.max_steps,
            "validation": fit.validation if fit.validation is not None else validation and identity_of(validation),
            "monitor": fit.monitor,
            "keep": fit.keep,
            "earlyStop": fit.early_stop and dict(fit.early_stop),
        }
        return {name: one for name, one in plan.items() if one is not None}

    def decisions(self) -> Decisions | None:
        """What decides between epochs; None where only the lowest validation loss counts."""
        plan = self.plan or {}
        if not {"monitor", "keep", "earlyStop"} & plan.keys():
            return None
        return Decisions(plan, self.contract.raw["evaluation"]["figures"])

    def step(self, feeder: Feeder, rows: Array, epoch: int, run: Run) -> Event:
        """One step of the joint batch of samples; raises RunError when the loss is no number, and keeps the state before it."""
        contract, graphs = self.contract, self.graphs
        number = self.position.step + 1
        scalars = self._schedules.of_step(number, number + (self.position.before or 0), run)
        for name, value in scalars.fed.items():
            graphs.write(name, value)
        drawn = random_streams.of_step(contract, number, epoch)
        size = contract.shard_size
        turn_of_data = Pass(contract.seed, epoch)
        mixture = mixture_of(contract.raw["data"]["mixup"], rows, turn_of_data)
        for index, shard in enumerate(graphs.shards):
            part = slice(shard * size, (shard + 1) * size)
            fill(graphs.feeds[index], feeder.read(rows[part], turn_of_data, mixture and mixture.part(part)))
            fill(graphs.feeds[index], {one.name: one.part(numbers, shard, contract.shards) for one, numbers in drawn})
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
        pending = [self.reducer.share(array, owners[one.name]) for one, array in zip(self.contract.parameters, arrays)]
        for one, array, work in zip(self.contract.parameters, arrays, pending):
            work.wait()
            self.graphs.state[one.input].write(array)

    def _report(self, loss: float, scalars: Scalars) -> Event:
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

    def broken_number(self) -> str | None:
        """The first parameter or running statistic that is not finite."""
        for one in (*self.contract.parameters, *self.contract.statistics):
            array = self.graphs.state[one.input].read()
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                return one.name
        return None

    # --- figures and files ----------------------------------------------------------------------------------------------------

    def evaluate(self, dataset: Dataset | None = None) -> dict[str, Any]:
        """Loss and accuracy on a dataset; default: the test part of the data, else all of them."""
        if dataset is None:
            if self.data is None:
                raise RunError("the worker has no data to evaluate on")
            dataset = self.data.test or self.data.train
        if self.normalize is None:
            self.normalize = normalization_of(self.contract, dataset)
        average = self.contract.average
        figures = self.evaluation.run(dataset, self._evaluated_state(), self.normalize)
        return {**figures, **({"average": average} if average else {})}

    def _evaluated_state(self) -> dict[str, Buffer]:
        """The state, with averages in the place of the weights if the run keeps them."""
        state = dict(self.graphs.state)
        average = self.contract.average
        for one in self.contract.parameters if average else ():
            slot, owner = one.slots.get(average or ""), self.graphs.owners.get(one.name)
            if slot:
                state[one.input] = state[slot.input] if owner is None else Buffer(self._whole(slot, owner), self.graphs.device)
        return state

    def update_batch_norm(self) -> str | None:
        """Gives BatchNorm the statistics of the averaged weights on the training data, where the run asks for it; says what it did."""
        if self.contract.raw["batchNorm"] is None or self._trained is None:
            return None
        found = averaged_statistics(
            self.contract, self.reducer, self.graphs.device, self._evaluated_state(), self._trained, self.normalize
        )
        for name, array in found.items():
            self.graphs.state[name].write(array)
        # Each layer has a mean and a variance.
        layers = "1 layer" if len(found) == 2 else f"{len(found) // 2} layers"
        return f"BatchNorm: {layers} with the statistics of the averaged weights on the training data"

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


def _js(number: float) -> str:
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"
