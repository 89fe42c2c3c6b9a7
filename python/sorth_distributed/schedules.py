"""Schedules of sorth-onnx by name (src/schedules): the factor of a step, counted from 1."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .best_epochs import figure_asked, figure_of
from .errors import RunError


@dataclass(frozen=True)
class Run:
    """What schedules may look at besides the step."""

    total_steps: int
    steps_per_epoch: int
    validation: Sequence[Mapping[str, Any]] | None
    """The validated epochs, as checkpoints keep them; None for a run without held-out samples."""
    figures: Mapping[str, str]
    """The figures of a validation, each with what is better of it: `higher` or `lower`."""


Schedule = Callable[[int, Run], float]
Options = Mapping[str, Any]
_Plain = Callable[[int, int, Run], float]
"""Step, steps of the run and the run: both without those of the warmup."""


def _steps(value: Any, total: int, run: Run, least: int = 0) -> float:
    """The steps of a duration: a number, `2ep` or `10%`."""
    if isinstance(value, (int, float)):
        return value
    found = re.fullmatch(r"(\d*\.?\d+)(ep|%)", value)
    if not found:
        raise RunError(f'the schedule in contract.json has the duration "{value}"')
    amount = float(found[1]) / 100 * total if found[2] == "%" else float(found[1]) * run.steps_per_epoch
    return max(least, math.floor(amount + 0.5))


def _rise(options: Options, step: int, steps: float) -> float:
    """The factor at a step of a warmup over this many steps."""
    start = options.get("warmupStart", "1/warmup")
    return step / steps if start == "1/warmup" else float(start + (1 - start) * (step - 1) / steps)


def _after_warmup(options: Options, schedule: _Plain) -> Schedule:
    warmup = options.get("warmup", 0)

    def factor(step: int, run: Run) -> float:
        steps = _steps(warmup, run.total_steps, run)
        if step <= steps:
            return _rise(options, step, steps)
        return schedule(int(step - steps), max(0, int(run.total_steps - steps)), run)

    return factor


def _half_cosine(done: float, floor: float) -> float:
    return floor + ((1 - floor) * (1 + math.cos(math.pi * done))) / 2


def _constant(options: Options) -> Schedule:
    return _after_warmup(options, lambda step, total, run: 1)


def _warmup(options: Options) -> Schedule:
    return _after_warmup({"warmup": options["steps"]}, lambda step, total, run: 1)


def _linear(options: Options) -> Schedule:
    floor = options.get("floor", 0)
    return _after_warmup(options, lambda step, total, run: floor + (1 - floor) * max(0, 1 - (step - 1) / max(1, total)))


def _cosine(options: Options) -> Schedule:
    floor = options.get("floor", 0)
    return _after_warmup(options, lambda step, total, run: _half_cosine(min(1, (step - 1) / max(1, total)), floor))


def _cosine_restarts(options: Options) -> Schedule:
    growth, floor = options.get("growth", 1), options.get("floor", 0)

    def factor(step: int, total: int, run: Run) -> float:
        length, done = _steps(options["period"], total, run, 1), float(step - 1)
        if growth == 1:
            done %= length
        while done >= length:
            done -= length
            length *= growth
        return _half_cosine(done / length, floor)

    return _after_warmup(options, factor)


def _one_cycle(options: Options) -> Schedule:
    start, final = 1 / options.get("divFactor", 25), options.get("finalDivFactor", 1e4)
    return _along_cycle(
        options, [start, 1, start, start / final] if _is_true(options, "threePhase") else [start, 1, start / final]
    )


def _momentum_of_cycle(options: Options) -> Schedule | None:
    if not _is_true(options, "cycleMomentum"):
        return None
    low, high = options.get("baseMomentum", 0.85), options.get("maxMomentum", 0.95)
    return _along_cycle(options, [high, low, high, high] if _is_true(options, "threePhase") else [high, low, high])


def _is_true(options: Options, name: str) -> bool:
    return bool(options.get(name, "false") == "true")


def _along_cycle(options: Options, numbers: Sequence[float]) -> Schedule:
    """Between the numbers at the ends of the phases of a cycle."""
    share, linear = options.get("pctStart", 0.3), options.get("anneal", "cos") == "linear"

    def between(low: float, high: float, done: float) -> float:
        if linear:
            return low + (high - low) * done
        return high + ((low - high) / 2) * (1 + math.cos(math.pi * done))

    def factor(step: int, run: Run) -> float:
        done, top = min(step, run.total_steps) - 1, share * run.total_steps - 1
        ends = [*([top, 2 * top] if len(numbers) == 4 else [top]), run.total_steps - 1]
        before = 0.0
        for phase, end in enumerate(ends):
            # A run of so few steps that none of them rises begins on the way down.
            if end > before and (done <= end or phase == len(ends) - 1):
                return between(numbers[phase], numbers[phase + 1], (done - before) / (end - before))
            before = end
        return numbers[-1]

    return factor


def _polynomial(options: Options) -> Schedule:
    power, floor = options.get("power", 1), options.get("floor", 0)

    def factor(step: int, total: int, run: Run) -> float:
        left = max(0, 1 - (step - 1) / _steps(options.get("steps", "100%"), total, run, 1))
        return float(floor + (1 - floor) * left**power)

    return _after_warmup(options, factor)


def _inverse_sqrt(options: Options) -> Schedule:
    timescale = options.get("timescale", "warmup")

    def factor(step: int, run: Run) -> float:
        steps = _steps(options.get("warmup", 0), run.total_steps, run)
        if step <= steps:
            return _rise(options, step, steps)
        scale = steps or 10_000 if timescale == "warmup" else _steps(timescale, run.total_steps, run, 1)
        return 1 / math.sqrt(1 + (step - steps - 1) / scale)

    return factor


def _stable_decay(options: Options) -> Schedule:
    floor, curve = options.get("floor", 0), options.get("curve", "linear")

    def factor(step: int, total: int, run: Run) -> float:
        steps = _steps(options["decay"], total, run, 1)
        done = min(1, max(0, (step - 1 - total + steps) / steps))
        if curve == "cosine":
            return _half_cosine(done, floor)
        return float(floor + (1 - floor) * (1 - (done if curve == "linear" else math.sqrt(done))))

    return _after_warmup(options, factor)


def _exponential(options: Options) -> Schedule:
    smooth = options.get("curve", "stairs") == "smooth"

    def factor(step: int, total: int, run: Run) -> float:
        times = (step - 1) / _steps(options.get("every", "1ep"), total, run, 1)
        return float(options["factor"] ** (times if smooth else math.floor(times)))

    return _after_warmup(options, factor)


def _step(options: Options) -> Schedule:
    def factor(step: int, total: int, run: Run) -> float:
        return float(options["factor"] ** math.floor((step - 1) / _steps(options["every"], total, run, 1)))

    return _after_warmup(options, factor)


def _milestones(options: Options) -> Schedule:
    marks = [int(mark) if mark.isdigit() else mark for mark in str(options["at"]).split("/")]

    def factor(step: int, total: int, run: Run) -> float:
        passed = sum(1 for mark in marks if _steps(mark, total, run, 1) < step)
        return float(options.get("factor", 0.1) ** passed)

    return _after_warmup(options, factor)


def _plateau(options: Options) -> Schedule:
    factor, floor = options.get("factor", 0.1), options.get("floor", 0)
    patience, cooldown = options.get("patience", 10), options.get("cooldown", 0)
    threshold, relative = options.get("threshold", 1e-4), options.get("thresholdMode", "rel") == "rel"
    rise = _constant(options)
    figure, mode = figure_asked(str(options.get("monitor", "loss"))), options.get("mode", "auto")

    def of_step(step: int, run: Run) -> float:
        if run.validation is None:
            raise RunError(f"the schedule plateau follows the {figure} on held-out samples: give --validation 0.1")
        if figure not in run.figures:
            raise RunError(
                f'the schedule plateau follows "{figure}", but this run computes {", ".join(run.figures)} on its held-out samples'
            )
        sign = 1 if mode == "max" or (mode == "auto" and run.figures[figure] == "higher") else -1
        reached, best, bad, cooling = 1.0, -sign * math.inf, 0, 0
        for epoch in run.validation:
            if epoch["step"] >= step:
                continue
            value = figure_of(epoch, figure)
            aim = best * (1 + sign * threshold) if relative else best + sign * threshold
            if sign * value > sign * aim:
                best, bad = value, 0
            else:
                bad += 1
            if cooling > 0:
                cooling, bad = cooling - 1, 0
            if bad > patience:
                reached, cooling, bad = max(reached * factor, floor), cooldown, 0
        return reached * rise(step, run)

    return of_step


def _srip(options: Options) -> Schedule:
    factors = ((20, 1.0), (50, 1e-3), (70, 1e-4), (120, 1e-6))
    return lambda step, run: next((one for epochs, one in factors if 200 * step <= epochs * run.total_steps), 0.0)


_SCHEDULES: Mapping[str, Callable[[Options], Schedule]] = {
    "constant": _constant,
    "warmup": _warmup,
    "linear": _linear,
    "cosine": _cosine,
    "cosine-restarts": _cosine_restarts,
    "one-cycle": _one_cycle,
    "polynomial": _polynomial,
    "inverse-sqrt": _inverse_sqrt,
    "stable-decay": _stable_decay,
    "exponential": _exponential,
    "step": _step,
    "milestones": _milestones,
    "plateau": _plateau,
    "srip": _srip,
}


def momentum_of(named: Mapping[str, Any] | None) -> Schedule | None:
    """The momentum that the schedule of the learning rate moves; None where it moves none."""
    return _momentum_of_cycle(named["options"]) if named and named["name"] == "one-cycle" else None


def schedule_of(named: Mapping[str, Any] | None) -> Schedule:
    """The schedule of a contract; None is constant. Raises RunError for a name that it does not know."""
    if named is None:
        return lambda step, run: 1.0
    make = _SCHEDULES.get(named["name"])
    if make is None:
        raise RunError(f"the schedule {named['name']} is not distributed; these are: {', '.join(_SCHEDULES)}")
    return make(named["options"])
