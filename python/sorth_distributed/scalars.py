"""The scalars that a step is fed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .contract import Contract
from .schedules import Run, Schedule, momentum_of, schedule_of


@dataclass(frozen=True)
class Scalars:
    fed: Mapping[str, float]
    learning_rate: float
    penalty_weight: float
    penalties: Mapping[str, float]


class ScalarSchedules:
    """The scalars of each step."""

    def __init__(self, contract: Contract) -> None:
        raw = contract.raw
        self._contract = contract
        self._rate: Schedule = schedule_of(raw["schedule"])
        self._momentum = momentum_of(raw["schedule"])
        self._weight: Schedule = schedule_of(raw["penaltySchedule"])
        self._own = {name: schedule_of(named) for name, named in raw["penaltySchedules"].items()}
        # A single penalty has no input for its schedule: the factor goes into the weight of all.
        self._alone = next((one["name"] for one in raw["penalties"] if not one.get("schedule")), "")

    def of_step(self, number: int, update: int, run: Run) -> Scalars:
        """The scalars of a step, counted from 1."""
        names = self._contract.raw["scalars"]
        factor = self._rate(number, run)
        rate = self._contract.learning_rate * factor
        own = {name: schedule(number, run) for name, schedule in self._own.items()}
        weight = self._contract.penalty_weight * self._weight(number, run) * own.get(self._alone, 1.0)
        fed: dict[str, float] = {names["learningRate"]: rate, names["step"]: float(update)}
        for group in names.get("rates", []):
            fed[group["input"]] = group["rate"] * factor
        if names.get("momentum") and self._momentum:
            fed[names["momentum"]] = self._momentum(number, run)
        if names.get("penaltyWeight"):
            fed[names["penaltyWeight"]] = weight
        for one in self._contract.raw["penalties"]:
            if one.get("schedule"):
                fed[one["schedule"]] = own.get(one["name"], 1.0)
        return Scalars(fed, rate, weight, own)
