"""Writes test/fixtures/batch-norm/update.json: torch.optim.swa_utils.update_bn on the mean of the weights of an epoch of SGD.

Run: npm run python -- scripts/oracles/update_bn.py
"""

from pathlib import Path

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, update_bn

import lcg
from summary import rounded, write_json

FILE = Path(__file__).parents[2] / "test" / "fixtures" / "batch-norm" / "update.json"
SAMPLES, BATCH, LR = 24, 8, 0.3


def block(name: str, shape: list[int], scale: float) -> nn.Parameter:
    return nn.Parameter(torch.tensor(lcg.uniform(f"update_bn.{name}", shape, scale), dtype=torch.float64))


def network() -> nn.Sequential:
    """Two layers with BatchNorm behind each, and a classifier of three classes; weights are those of the test's graph."""
    model = nn.Sequential(
        nn.Linear(5, 6, bias=False), nn.BatchNorm1d(6), nn.ReLU(),
        nn.Linear(6, 4, bias=False), nn.BatchNorm1d(4), nn.ReLU(),
        nn.Linear(4, 3, bias=False),
    ).double()
    for layer, shape in ((0, [6, 5]), (3, [4, 6]), (6, [3, 4])):
        model[layer].weight = block(f"w{layer}", shape, 1.0)
    return model


def main() -> None:
    x = torch.tensor(lcg.uniform("update_bn.x", [SAMPLES, 5], 2.0), dtype=torch.float64)
    labels = torch.arange(SAMPLES) % 3
    batches = [(x[i : i + BATCH], labels[i : i + BATCH]) for i in range(0, SAMPLES, BATCH)]
    model = network()
    averaged = AveragedModel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    for batch, classes in batches:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(batch), classes).backward()
        optimizer.step()
        averaged.update_parameters(model)
    update_bn(batches, averaged)
    averaged.eval()
    norms = [averaged.module[1], averaged.module[4]]
    with torch.no_grad():
        outputs = averaged(x[:4])
    figures = {
        "samples": SAMPLES,
        "batch": BATCH,
        "lr": LR,
        "statistics": [{"mean": [rounded(v) for v in n.running_mean.tolist()], "variance": [rounded(v) for v in n.running_var.tolist()]} for n in norms],
        "outputs": [rounded(v) for v in outputs.flatten().tolist()],
    }
    write_json(FILE, figures)


main()
