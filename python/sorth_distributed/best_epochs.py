"""Which epochs are best, which checkpoints stay, and when a run ends early (src/runtime/best-epochs.ts)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .errors import RunError

Epoch = Mapping[str, Any]
History = Sequence[Epoch]


@dataclass(frozen=True)
class Decision:
    """What follows from a finished epoch."""

    is_best: bool
    is_kept: bool
    fallen: tuple[int, ...]
    is_over: bool


class Decisions:
    """Decides after each epoch from the history alone: a resumed run decides as one that was not stopped."""

    def __init__(self, plan: Mapping[str, Any], figures: Mapping[str, str]) -> None:
        """`plan`: `monitor`, `keep` and `earlyStop` as checkpoints have them; `figures`: what is better of each."""
        self._figures = figures
        self._keep = plan.get("keep", 0)
        self._stop: Mapping[str, Any] | None = plan.get("earlyStop")
        self._best = self._monitor(plan.get("monitor", "loss"))
        self._stopping = self._monitor((self._stop or {}).get("monitor", plan.get("monitor", "loss")))

    def _monitor(self, name: str) -> str:
        figure = figure_asked(name)
        if figure in self._figures:
            return figure
        raise RunError(
            f'there is no figure "{name}" to monitor: this run computes {", ".join(self._figures)} on its held-out samples; '
            "distribute it with --metrics to add others"
        )

    def after(self, history: History) -> Decision:
        """The decision after the last epoch of the history."""
        last = history[-1] if history else None
        kept = self._ordered(history, self._best)[: self._keep]
        first = self._ordered(history, self._best)[:1]
        return Decision(
            is_best=last is not None and first == [last["epoch"]] and not math.isnan(figure_of(last, self._best)),
            is_kept=last is not None and last["epoch"] in kept,
            fallen=tuple(one for one in self._ordered(history[:-1], self._best)[: self._keep] if one not in kept),
            is_over=self._stop is not None and self._without(history) >= self._stop["patience"],
        )

    def _gain(self, figure: str, value: float, than: float) -> float:
        return value - than if self._figures[figure] == "higher" else than - value

    def _ordered(self, history: History, figure: str) -> list[int]:
        """The validated epochs, the best first and of equal ones the earlier; those without a number come last."""

        def key(epoch: Epoch) -> tuple[bool, float]:
            value = figure_of(epoch, figure)
            return math.isnan(value), 0.0 if math.isnan(value) else -self._gain(figure, value, 0.0)

        return [one["epoch"] for one in sorted((one for one in history if one.get("validation")), key=key)]

    def _without(self, history: History) -> int:
        """Epochs since the figure last improved on its best by more than the minimum."""
        least = (self._stop or {}).get("minimumChange", 0)
        best: float | None = None
        without = 0
        for epoch in history:
            if not epoch.get("validation"):
                continue
            value = figure_of(epoch, self._stopping)
            if not math.isnan(value) and (best is None or self._gain(self._stopping, value, best) > least):
                best, without = value, 0
            else:
                without += 1
        return without


def figure_asked(name: str) -> str:
    """The figure that a name asks for: `val_accuracy` is `accuracy`."""
    return re.sub(r"^(val|validation)[_.-]", "", name)


def figure_of(epoch: Epoch, figure: str) -> float:
    """A figure after an epoch; NaN where it was not computed."""
    held = epoch.get("validation") or {}
    value = held.get(figure) if figure in ("loss", "accuracy") else (held.get("metrics") or {}).get(figure)
    return math.nan if value is None else float(value)
