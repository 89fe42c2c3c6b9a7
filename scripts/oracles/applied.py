"""Writes test/fixtures/applied.json: twenty steps in PyTorch and float64 with penalties applied beside the optimizer.

Run: npm run python -- scripts/oracles/applied.py
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from summary import summary, write_json
from training import batch, build, optimizer

FILE = Path(__file__).parents[2] / "test" / "fixtures" / "applied.json"
STEPS = 20

ADAMW = {"kind": "adamw", "lr": 0.01, "weight_decay": 0.01}
SGD = {"kind": "sgd", "lr": 0.05, "momentum": 0.9}

CASES: list[dict[str, Any]] = [
    {"penalty": "so", "weight": 0.5, "apply": "decoupled", "optimizer": ADAMW},
    {"penalty": "so", "weight": 0.02, "apply": "retraction", "optimizer": ADAMW},
    {"penalty": "so", "weight": 0.02, "apply": "retraction", "optimizer": SGD},
    {"penalty": "som", "weight": 0.5, "apply": "decoupled", "optimizer": SGD},
]


def so(weights: list[Tensor], _responses: list[Tensor]) -> Tensor:
    return sum(((w @ w.T - torch.eye(len(w), dtype=w.dtype)) ** 2).sum() for w in weights)


def som(_weights: list[Tensor], responses: list[Tensor]) -> Tensor:
    """Lambda1 = 0, lambda2 = 1, gamma = 10."""
    total = torch.zeros((), dtype=torch.float64)
    for y in responses:
        t = torch.tanh(10 * y)
        gram = t.T @ t
        norm = torch.sqrt(gram.diagonal() + 1e-6)
        off = gram / torch.outer(norm, norm) * (1 - torch.eye(len(norm), dtype=y.dtype))
        total = total + (off**2).sum() / (len(norm) * (len(norm) - 1))
    return total


PENALTIES: dict[str, Callable[[list[Tensor], list[Tensor]], Tensor]] = {"so": so, "som": som}


def train(case: dict[str, Any]) -> dict[str, Any]:
    net = build("mlp").double()
    step_of = optimizer(net.parameters(), case["optimizer"])
    weights = [value for value in net.parameters() if value.dim() == 2]
    rate, weight, retracts = case["optimizer"]["lr"], case["weight"], case["apply"] == "retraction"
    losses, penalties = [], []
    for step in range(STEPS):
        x, labels = batch("mlp", step, torch.float64)
        responses = net(x)
        penalty = PENALTIES[case["penalty"]](weights, responses)
        loss = F.cross_entropy(responses[-1], labels)
        losses.append((loss + weight * penalty).item())
        penalties.append(penalty.item())
        pulls = torch.autograd.grad(penalty, list(net.parameters()), retain_graph=True, allow_unused=True)
        step_of.zero_grad()
        loss.backward()
        step_of.step()
        with torch.no_grad():
            if retracts:
                # Parseval networks, sect. 4.2.
                beta = 4 * weight
                for w in weights:
                    w.copy_((1 + beta) * w - beta * w @ w.T @ w)
            else:
                for value, pull in zip(net.parameters(), pulls, strict=True):
                    if pull is not None:
                        value -= rate * weight * pull
    parameters = {key: summary(key, value) for key, value in net.named_parameters()}
    return {**case, "losses": losses, "penalties": penalties, "parameters": parameters}


if __name__ == "__main__":
    write_json(FILE, {"steps": STEPS, "cases": [train(case) for case in CASES]})
