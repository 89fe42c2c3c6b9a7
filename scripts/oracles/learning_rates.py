"""Writes test/fixtures/learning-rates.json: learning rates that curves suggest, by numpy.gradient and by fastai's `valley`.

Run: npm run python -- scripts/oracles/learning_rates.py
"""

from pathlib import Path
from typing import Any

import numpy as np

import lcg
from summary import rounded, write_json

FIXTURE = Path(__file__).parents[2] / "test" / "fixtures" / "learning-rates.json"


def steepest(rates: np.ndarray, losses: np.ndarray, steps: int) -> float | None:
    """PyTorch Lightning's `_LRFinder.suggestion`, with slopes over the step: the rates grow by a constant factor."""
    begin = steps // 10
    slopes = np.gradient(losses[begin:-1])
    at = int(slopes.argmin())
    return rounded(rates[begin + at]) if slopes[at] < 0 else None


def valley(rates: np.ndarray, losses: np.ndarray, steps: int) -> float:
    """fastai.callback.schedule.valley, on what `Learner.lr_find` gives it."""
    lrs, losses = rates[steps // 10 : -5], losses[steps // 10 : -5]
    n = len(losses)
    max_start, max_end = 0, 0
    lds = [1] * n
    for i in range(1, n):
        for j in range(0, i):
            if losses[i] < losses[j] and lds[i] < lds[j] + 1:
                lds[i] = lds[j] + 1
            if lds[max_end] < lds[i]:
                max_end = i
                max_start = max_end - lds[max_end]
    sections = (max_end - max_start) / 3
    return rounded(lrs[max_start + int(sections) + int(sections / 2)])


def curve(name: str, steps: int, kept: int, noise: float, fall: float) -> dict[str, Any]:
    rates = 1e-6 * 1e6 ** (np.arange(steps) / (steps - 1))
    x = np.log10(rates)
    losses = 2.3 - fall / (1 + np.exp(-4 * (x + 2.5))) + np.exp(4 * (x + 0.3)) + noise * lcg.uniform(f"rates.{name}", [steps])
    rates, losses = rates[:kept], losses[:kept]
    return {
        "steps": steps,
        "rates": [rounded(rate) for rate in rates],
        "losses": [rounded(loss) for loss in losses],
        "steepest": steepest(rates, losses, steps),
        "valley": valley(rates, losses, steps),
    }


def main() -> None:
    write_json(
        FIXTURE,
        {
            "smooth": curve("smooth", 100, 100, 0, 1.5),
            "noisy": curve("noisy", 100, 83, 0.2, 1.5),
            "short": curve("short", 40, 37, 0.05, 1),
        },
    )


if __name__ == "__main__":
    main()
