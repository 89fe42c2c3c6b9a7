"""The loop over epochs and steps, and what it says on the way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import random_streams
from .contract import Array
from .data import Dataset
from .errors import RunError
from .feeds import Feeder
from .reducer import summed
from .schedules import Run

if TYPE_CHECKING:
    from .worker import Worker

Event = dict[str, Any]


@dataclass(frozen=True)
class Fit:
    """How long to train."""

    epochs: int = 1
    max_steps: int | None = None
    validation: float | None = None
    checkpoint: Path | None = None
    save_every: int | None = None
    monitor: str | None = None
    """The figure on the held-out samples that says which epochs are best; None: loss."""
    keep: int | None = None
    """Best epochs whose checkpoints stay."""
    early_stop: Mapping[str, Any] | None = None
    """`patience`, `minimumChange` and `monitor`, as checkpoints have them."""
    weights: str | None = None
    """The checkpoint of which the trained model is to be, where only this run can make it."""
    before_save: Callable[[], None] = field(default=lambda: None, repr=False)
    """Called before a checkpoint is written: what is recorded of the steps up to it must not be lost. Only one process records."""
    goes_on: bool = True
    """Whether early stopping may have ended the run before: its options are those of the resumed run."""


_ADVICE = "lower the learning rate or the penalty weight, and look for NaN or huge numbers in the data"


class NotANumber(RunError):
    """The loss is NaN or infinite."""


class NothingLeft(RunError):
    """The run has done all its steps."""


class FitLoop:
    """The loop over epochs and steps (src/runtime/fit-loop.ts)."""

    def __init__(self, worker: Worker, train: Dataset, validation: Dataset | None, fit: Fit, per_epoch: int, total: int) -> None:
        self._worker, self._train, self._validation, self._fit = worker, train, validation, fit
        self._per_epoch, self._total = per_epoch, total
        self._feeder = Feeder(worker.contract.feeds, train, worker.normalize)
        self._first, self._began = worker.position.step, time.monotonic()
        self._figures: dict[str, Any] = {}
        self._rate = 0.0
        self._decisions = worker.decisions()
        self._ends_early = False

    def events(self, planned: int) -> Iterator[Event]:
        """Everything that happens, to the end."""
        worker, position = self._worker, self._worker.position
        if (self._fit.max_steps or 0) > planned:
            worker.remarks.append(
                f"the run ends with epoch {self._fit.epochs} at step {planned}, before step {self._fit.max_steps} (--max-steps): "
                "give more epochs (--epochs)"
            )
        stopped = False
        if self._fit.goes_on and not position.ended_early and self._decisions and position.step % self._per_epoch == 0:
            # A run that was interrupted at the epoch where early stopping ends it ends there.
            self._ends_early = self._decisions.after(position.history).is_over
        position.ended_early = False
        while position.step < self._total and not stopped and not self._ends_early:
            epoch = position.step // self._per_epoch
            if position.step % self._per_epoch == 0:
                position.start_epoch()
            order = random_streams.shuffled_indices(worker.contract.seed, epoch, self._train.size)
            began = time.monotonic()
            end = min(self._total, (epoch + 1) * self._per_epoch)
            while position.step < end and not stopped:
                yield self._step(order, epoch)
                stopped = bool(summed(worker.reducer, worker.stopping) > 0)
                every = self._fit.save_every
                if every and position.step % every == 0 and self._fit.checkpoint and position.step < end:
                    self._check_state()
                    self._save()
            if position.step % self._per_epoch == 0 and position.counted > 0:
                yield from self._end_of_epoch(epoch + 1, began)
        if position.step % self._per_epoch != 0:
            self._check_state()
        early = self._ends_early and position.step < self._total and not stopped
        position.ended_early = early
        if position.step % self._per_epoch != 0 or early:
            self._save()
        why = "aborted" if stopped else "early" if early else "max-steps" if position.step < planned else None
        yield {"event": "end", **self._progress(), **position.means(), **self._figures, **({"stopped": why} if why else {})}

    def _step(self, order: Array, epoch: int) -> Event:
        worker, position = self._worker, self._worker.position
        batch = worker.contract.batch
        start = position.step % self._per_epoch * batch
        run = Run(self._total, self._per_epoch, self._validated(), worker.contract.raw["evaluation"]["figures"])
        try:
            event = worker.step(self._feeder, order[start : start + batch], epoch, run)
        except NotANumber as error:
            name = worker.broken_number()
            if name is not None:
                raise RunError(
                    f'{error}, since "{name}" is not finite after step {position.step}{self._kept()}: {_ADVICE}'
                ) from error
            kept = ""
            if self._fit.checkpoint:
                self._save()
                kept = f" in {self._fit.checkpoint}"
            raise RunError(f"{error}; the state after step {position.step} is kept{kept}: {_ADVICE}") from error
        position.advance(event["loss"], event["penalty"], event["penalties"], event.get("losses", {}))
        self._rate = event["learningRate"]
        return {"event": "step", **self._progress(), **event, "totalSteps": self._total}

    def _save(self, kinds: Sequence[str] = ("last",)) -> None:
        folder = self._fit.checkpoint
        if folder:
            self._fit.before_save()
            self._worker.save(folder, kinds)

    def _check_state(self) -> None:
        """A step whose loss is finite may still leave NaN in the state, which must not be validated, saved or exported."""
        name = self._worker.broken_number()
        if name is None:
            return
        raise RunError(
            f'after step {self._worker.position.step}, "{name}" holds NaN or infinite numbers, though the loss is finite'
            f"{self._kept()}: {_ADVICE}"
        )

    def _kept(self) -> str:
        folder = self._fit.checkpoint
        return f"; {folder} holds the last good state" if folder and (folder / "last.safetensors").exists() else ""

    def _validated(self) -> list[dict[str, Any]] | None:
        if self._validation is None:
            return None
        return [one for one in self._worker.position.history if "validation" in one]

    def _end_of_epoch(self, epoch: int, began: float) -> Iterator[Event]:
        self._check_state()
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
        decision = self._decisions.after(position.history) if self._decisions else None
        kinds = [
            *([f"epoch-{epoch}"] if decision and decision.is_kept else []),
            *(["best"] if (decision.is_best if decision else is_best) else []),
            "last",
        ]
        self._save(kinds)
        if self._fit.checkpoint and decision and worker.reducer.rank == 0:
            for one in decision.fallen:
                (self._fit.checkpoint / f"epoch-{one}.safetensors").unlink(missing_ok=True)
        seconds = time.monotonic() - began
        yield {
            "event": "epoch", **self._progress(), **means, **self._figures,
            "learningRate": self._rate, "epochSeconds": seconds, "waiting": 0.0,
        }  # fmt: skip
        if self._fit.checkpoint:
            for kind in kinds:
                yield {"event": "checkpoint", **self._progress(), **means, "kind": kind}
        self._ends_early = decision is not None and decision.is_over

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
