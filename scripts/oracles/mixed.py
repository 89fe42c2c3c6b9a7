"""Writes test/fixtures/mixed-precision.json: PyTorch's loss scales, and its training under autocast.

Run: npm run python -- scripts/oracles/mixed.py
"""

from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

import lcg
from summary import write_json
from training import BATCH, CLASSES, NETWORKS, SOM, build, som

FIXTURE = Path(__file__).parents[2] / "test" / "fixtures" / "mixed-precision.json"

SHAPES = {"a": (3,), "b": (2, 4)}
SCALER = {"initScale": 1024.0, "growthFactor": 2.0, "backoffFactor": 0.5, "growthInterval": 5}
SCALED_STEPS, SCALED_RATE = 40, 0.01
# Steps (from 1) whose gradients are not finite: alone, in a row, just before and just after the scale would grow.
OVERFLOWS = {3: float("inf"), 9: float("nan"), 14: float("-inf"), 15: float("inf"), 16: float("inf"), 22: float("inf")}

STEPS, BATCHES = 50, 5
# SOM with the values of its source is steep: at the other rate two runs in float32 part too.
RATES = {"none": 0.02, "som": 0.0005}
TYPES = {"float32": None, "mixed": torch.float16, "mixed-bfloat16": torch.bfloat16}


def short(values: list[float]) -> list[float]:
    """Nine significant digits: all that float32 has."""
    return [float(f"{value:.9g}") for value in values]


def scaled(clip: float | None) -> dict[str, Any]:
    """AdamW under torch.amp.GradScaler, with given gradients: the scale of each step, and the parameters after the last."""
    parameters = [nn.Parameter(torch.from_numpy(lcg.uniform(f"mixed.{name}", shape))) for name, shape in SHAPES.items()]
    optimizer = torch.optim.AdamW(parameters, lr=SCALED_RATE)
    scaler = torch.amp.GradScaler(
        "cpu",
        init_scale=SCALER["initScale"],
        growth_factor=SCALER["growthFactor"],
        backoff_factor=SCALER["backoffFactor"],
        growth_interval=SCALER["growthInterval"],
    )
    scales = []
    for step in range(1, SCALED_STEPS + 1):
        scaler.scale(torch.zeros(()))  # creates the scale
        scales.append(scaler.get_scale())
        for (name, shape), parameter in zip(SHAPES.items(), parameters):
            parameter.grad = torch.from_numpy(lcg.uniform(f"mixed.{name}.{step}", shape)) * scaler.get_scale()
        if step in OVERFLOWS:
            parameters[1].grad[1, 2] = OVERFLOWS[step]
        if clip is not None:
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(parameters, clip)
        scaler.step(optimizer)
        scaler.update()
    return {"clip": clip, "scales": scales, "parameters": [short(p.detach().flatten().tolist()) for p in parameters]}


def train(name: str, regularized: bool, half: torch.dtype | None) -> dict[str, list[float]]:
    """The losses, and the scale of each, of SGD with momentum under autocast; float16 with a loss scale."""
    net = build(name)
    optimizer = torch.optim.SGD(net.parameters(), lr=RATES["som" if regularized else "none"], momentum=0.9)
    scaler = torch.amp.GradScaler("cpu", enabled=half is torch.float16)
    losses, scales = [], []
    for step in range(STEPS):
        x = torch.from_numpy(lcg.uniform(f"train.{name}.x.{step % BATCHES}", (BATCH, *NETWORKS[name].input_shape)))
        labels = torch.from_numpy(lcg.labels(f"train.{name}.labels.{step % BATCHES}", BATCH, CLASSES))
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=half or torch.bfloat16, enabled=half is not None):
            responses = net(x)
        loss = F.cross_entropy(responses[-1].float(), labels)
        if regularized:
            loss = loss + SOM["weight"] * som([y.float() for y in responses]).float()
        scaler.scale(loss).backward()
        scales.append(scaler.get_scale())
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.item())
    return {"losses": short(losses), **({"scales": scales} if scaler.is_enabled() else {})}


def main() -> None:
    torch.set_num_threads(1)
    runs = [
        {
            "network": name,
            "penalty": penalty,
            "learningRate": RATES[penalty],
            "precisions": {key: train(name, penalty == "som", half) for key, half in TYPES.items()},
        }
        for name in NETWORKS
        for penalty in RATES
    ]
    overflows = {str(step): str(value) for step, value in OVERFLOWS.items()}
    write_json(
        FIXTURE,
        {
            "scaler": {
                "options": SCALER,
                "steps": SCALED_STEPS,
                "learningRate": SCALED_RATE,
                "shapes": SHAPES,
                "overflows": overflows,
                "runs": [scaled(None), scaled(0.5)],
            },
            "training": {"steps": STEPS, "batches": BATCHES, "batch": BATCH, "classes": CLASSES, "runs": runs},
        },
    )


if __name__ == "__main__":
    main()
