"""Writes test/fixtures/penalties.json: SOM and the losses of single tensors, with gradients, by PyTorch in float64.

Run: npm run python -- scripts/oracles/penalties.py
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

import lcg
from summary import rounded, summary, write_json

FIXTURE = Path(__file__).parents[2] / "test" / "fixtures" / "penalties.json"

# Added to every squared norm (DESIGN 3).
EPSILON = 1e-6

# Name, shape of the response, axis of its units, groups. Scales keep tanh(10 y) partly saturated.
LAYERS: list[tuple[str, list[int], int, int]] = [
    ("gemm", [32, 12], 1, 1),
    ("gemm-few-rows", [8, 24], 1, 1),
    ("sequence", [4, 6, 10], 2, 1),
    ("left", [3, 8, 9], 1, 1),
    ("conv", [4, 8, 5, 3], 1, 1),
    ("conv-many-units", [9, 16, 2, 2], 1, 1),
    ("conv-groups", [4, 12, 3, 4], 1, 3),
    ("conv-groups-few-rows", [2, 24, 1, 3], 1, 2),
]
OPTIONS: list[dict[str, Any]] = [
    {"lambda1": 100, "lambda2": 1, "gamma": 10, "reduction": "mean"},
    {"lambda1": 100, "lambda2": 1, "gamma": 10, "reduction": "sum"},
    {"lambda1": 0, "lambda2": 3, "gamma": 4, "reduction": "mean"},
]


def som(units: Tensor, options: dict[str, Any], groups: int) -> Tensor:
    """SOM of [units, rows], as the source writes it: the cosines of normalised responses; the mean over groups."""
    terms = []
    for group in torch.tanh(options["gamma"] * units).chunk(groups):
        direction = group / torch.sqrt((group**2).sum(1, keepdim=True) + EPSILON)
        cosines = direction @ direction.T
        pairs = cosines[~torch.eye(len(group), dtype=torch.bool)]
        reduce = torch.mean if options["reduction"] == "mean" else torch.sum
        terms.append(options["lambda1"] * reduce(pairs) ** 2 + options["lambda2"] * reduce(pairs**2))
    return torch.stack(terms).mean()


def leaf(name: str, shape: list[int], scale: float) -> Tensor:
    return torch.tensor(lcg.uniform(name, shape, scale), dtype=torch.float64, requires_grad=True)


def figures(name: str, value: Tensor, wrt: Tensor) -> dict[str, Any]:
    (gradient,) = torch.autograd.grad(value, wrt)
    return {"value": rounded(value.item()), "gradient": summary(name, gradient)}


def penalties() -> list[dict[str, Any]]:
    cases = []
    for name, shape, axis, groups in LAYERS:
        for options in OPTIONS:
            response = leaf(f"som.{name}", shape, 0.3)
            value = som(response.movedim(axis, 0).flatten(1), options, groups)
            case = {"layer": name, "shape": shape, "unitAxis": axis, "groups": groups, "options": options}
            cases.append(case | figures(f"som.{name}", value, response))
    return cases


def objectives() -> list[dict[str, Any]]:
    """Logits of up to ±8; labels of the block `labels.<case>`."""
    cases = []
    for name, shape in {"flat": [6, 5], "sequence": [3, 4, 5], "map": [2, 3, 2, 4]}.items():
        for smoothing in [0.0, 0.1]:
            x = leaf(f"logits.{name}", shape, 8)
            places = [shape[0], *shape[2:]]
            classes = torch.tensor(lcg.labels(f"labels.{name}", x.numel() // shape[1], shape[1])).reshape(places)
            value = F.cross_entropy(x, classes, label_smoothing=smoothing)
            case = {"objective": "cross-entropy", "case": name, "shape": shape, "labelSmoothing": smoothing}
            cases.append(case | figures(f"logits.{name}", value, x))
    shape = [5, 3, 2]
    for objective, loss in {
        "mse": F.mse_loss, "l1": F.l1_loss, "bce": F.binary_cross_entropy_with_logits,
    }.items():
        x = leaf(f"prediction.{objective}", shape, 8)
        target = leaf(f"labels.{objective}", shape, 0.5).detach() + 0.5
        case = {"objective": objective, "case": objective, "shape": shape}
        cases.append(case | figures(f"prediction.{objective}", loss(x, target), x))
    return cases


write_json(FIXTURE, {"epsilon": EPSILON, "penalties": penalties(), "objectives": objectives()})
