"""Writes test/fixtures/penalties.json: SOM and the losses of single tensors, with gradients, by PyTorch in float64.

Run: npm run python -- scripts/oracles/penalties.py
"""

from collections.abc import Callable
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
        places = [shape[0], *shape[2:]]
        count = lcg.labels(f"labels.{name}", int(torch.tensor(places).prod()), shape[1])
        classes = torch.tensor(count).reshape(places)
        for options in CROSS_ENTROPIES:
            x = leaf(f"logits.{name}", shape, 8)
            case = {"objective": "cross-entropy", "case": name, "shape": shape, "options": options_of(options, shape[1])}
            cases.append(case | figures(f"logits.{name}", cross_entropy(x, classes, options), x))
    shape = [5, 3, 2]
    for objective, options, loss in ELEMENTWISE:
        x = leaf(f"prediction.{objective}", shape, 8)
        target = leaf(f"labels.{objective}", shape, 0.5).detach() + 0.5
        case = {"objective": objective, "case": objective, "shape": shape, "options": options}
        cases.append(case | figures(f"prediction.{objective}", loss(x, target), x))
    return cases


WEIGHTS = [0.5, 2.0, 1.0, 4.0, 0.25]
CROSS_ENTROPIES: list[dict[str, Any]] = [
    {}, {"labelSmoothing": 0.1}, {"classWeights": True}, {"classWeights": True, "labelSmoothing": 0.1},
    {"classWeights": True, "ignoreIndex": 1}, {"focus": 2.0}, {"focus": 1.5, "classWeights": True},
]  # fmt: skip


def options_of(options: dict[str, Any], classes: int) -> dict[str, Any]:
    weights = {"classWeights": ",".join(str(weight) for weight in WEIGHTS[:classes])}
    return options | (weights if "classWeights" in options else {})


def cross_entropy(x: Tensor, classes: Tensor, options: dict[str, Any]) -> Tensor:
    weight = torch.tensor(WEIGHTS[: x.shape[1]], dtype=x.dtype) if "classWeights" in options else None
    if "focus" not in options:
        ignored, smoothing = options.get("ignoreIndex", -100), options.get("labelSmoothing", 0.0)
        return F.cross_entropy(x, classes, weight=weight, ignore_index=ignored, label_smoothing=smoothing)
    each = F.cross_entropy(x, classes, reduction="none")
    of_row = torch.ones_like(each) if weight is None else weight[classes]
    return (of_row * (1 - torch.exp(-each)) ** options["focus"] * each).sum() / of_row.sum()


def divergence(x: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    rows = x.numel() / x.shape[1]
    student = F.log_softmax(x / temperature, 1)
    return F.kl_div(student, F.softmax(teacher / temperature, 1), reduction="sum") * temperature**2 / rows


ELEMENTWISE: list[tuple[str, dict[str, Any], Callable[[Tensor, Tensor], Tensor]]] = [
    ("mse", {}, F.mse_loss),
    ("l1", {}, F.l1_loss),
    ("bce", {}, F.binary_cross_entropy_with_logits),
    ("bce", {"positiveWeight": 3.0}, lambda x, y: F.binary_cross_entropy_with_logits(x, y, pos_weight=torch.tensor(3.0))),
    ("binary-focal", {}, lambda x, y: focal(x, y, 0.25, 2.0)),
    ("binary-focal", {"gamma": 1.0, "alpha": "none"}, lambda x, y: focal(x, y, None, 1.0)),
    ("binary-focal", {"gamma": 2.5, "alpha": 0.7}, lambda x, y: focal(x, y, 0.7, 2.5)),
    ("binary-focal", {"gamma": 0.0}, lambda x, y: focal(x, y, 0.25, 0.0)),
    ("huber", {}, F.huber_loss),
    ("huber", {"delta": 0.5}, lambda x, y: F.huber_loss(x, y, delta=0.5)),
    ("smooth-l1", {}, F.smooth_l1_loss),
    ("smooth-l1", {"beta": 0.25}, lambda x, y: F.smooth_l1_loss(x, y, beta=0.25)),
    ("cosine", {}, lambda x, y: (1 - F.cosine_similarity(x, y, dim=1)).mean()),
    ("distillation", {}, lambda x, y: divergence(x, y, 1.0)),
    ("distillation", {"temperature": 4.0}, lambda x, y: divergence(x, y, 4.0)),
]


def focal(x: Tensor, y: Tensor, alpha: float | None, gamma: float) -> Tensor:
    """The formula of torchvision.ops.sigmoid_focal_loss."""
    p = torch.sigmoid(x)
    missed = 1 - (p * y + (1 - p) * (1 - y))
    each = F.binary_cross_entropy_with_logits(x, y, reduction="none") * missed**gamma
    return (each if alpha is None else (alpha * y + (1 - alpha) * (1 - y)) * each).mean()


write_json(FIXTURE, {"epsilon": EPSILON, "penalties": penalties(), "objectives": objectives()})
