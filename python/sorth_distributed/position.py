"""Where a run stands, as a checkpoint keeps it (src/runtime/run-position.ts)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Position:
    """Steps done, sums over the current epoch, and the finished epochs."""

    step: int = 0
    loss: float = 0.0
    penalty: float = 0.0
    penalties: dict[str, float] = field(default_factory=dict)
    losses: dict[str, float] = field(default_factory=dict)
    counted: int = 0
    best_loss: float | None = None
    before: int | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    ended_early: bool = False
    """Early stopping ended the run, and its end was reported."""

    @staticmethod
    def from_text(text: str) -> Position:
        """Reads the text of a checkpoint."""
        raw = json.loads(text)
        counts = [raw["step"], raw["counted"], *(one[key] for one in raw.get("history") or [] for key in ("epoch", "step"))]
        if not all(isinstance(one, int) and 0 <= one < 2**53 for one in counts):
            raise ValueError(f"its counts are {counts}")
        # A sum that overflowed is null, as JSON has it.
        if not all(isinstance(raw[name] or 0, (int, float)) for name in ("loss", "penalty")):
            raise ValueError("its loss is no number")
        return Position(
            raw["step"], raw["loss"], raw["penalty"], raw.get("penalties") or {}, raw.get("losses") or {},
            raw["counted"], raw.get("bestLoss"), raw.get("before"), raw.get("history") or [], raw.get("endedEarly", False),
        )  # fmt: skip

    def to_text(self) -> str:
        """The text for a checkpoint."""
        raw: dict[str, Any] = {
            "step": self.step,
            "loss": self.loss,
            "penalty": self.penalty,
            "counted": self.counted,
            "bestLoss": self.best_loss,
            "penalties": self.penalties,
            "losses": self.losses,
            "history": self.history,
        }
        if self.before is not None:
            raw["before"] = self.before
        if self.ended_early:
            raw["endedEarly"] = True
        return json_text(raw)

    def start_epoch(self) -> None:
        """Sums from zero."""
        self.loss, self.penalty, self.penalties, self.losses, self.counted = 0.0, 0.0, {}, {}, 0

    def advance(self, loss: float, penalty: float, penalties: Mapping[str, float], losses: Mapping[str, float]) -> None:
        """Counts one finished step."""
        self.step += 1
        if not math.isfinite(loss):
            return
        self.loss += loss
        self.penalty += penalty
        self.penalties = {name: self.penalties.get(name, 0.0) + one for name, one in penalties.items()}
        self.losses = {name: self.losses.get(name, 0.0) + one for name, one in losses.items()}
        self.counted += 1

    def means(self) -> dict[str, Any]:
        """Mean losses and penalties of the current epoch."""
        steps: float = math.nan if self.counted == 0 and self.step > 0 else max(self.counted, 1)
        return {
            "loss": self.loss / steps,
            "penalty": self.penalty / steps,
            "penalties": {name: one / steps for name, one in self.penalties.items()},
            **({"losses": {name: one / steps for name, one in self.losses.items()}} if self.losses else {}),
        }

    def finish_epoch(self, epoch: int, loss: float, validation: Mapping[str, Any] | None) -> None:
        """Adds an epoch to the history; one that was repeated counts once."""
        kept = {key: validation[key] for key in ("loss", "accuracy", "metrics") if key in validation} if validation else None
        entry = {"epoch": epoch, "step": self.step, "loss": loss, **({"validation": kept} if kept else {})}
        self.history = [*(one for one in self.history if one["epoch"] < epoch), entry]


def json_text(value: Any) -> str:
    """JSON as JavaScript writes it: null for NaN and Infinity."""

    def plain(one: Any) -> Any:
        if isinstance(one, float):
            if not math.isfinite(one):
                return None
            return int(one) if one.is_integer() and abs(one) < 2**53 else one
        if isinstance(one, dict):
            return {key: plain(own) for key, own in one.items()}
        if isinstance(one, (list, tuple)):
            return [plain(own) for own in one]
        return one

    return json.dumps(plain(value), ensure_ascii=False, separators=(",", ":"))
