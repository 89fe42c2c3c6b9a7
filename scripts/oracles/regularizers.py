"""Writes test/fixtures/regularizers.json: every penalty on single weights and responses, with its gradient, in float64.

Each is written from its paper (or, where the penalty follows published code, from that code's arithmetic) and differentiated by
PyTorch's autograd. `keras` is Keras's own class on its PyTorch backend; `barlow` uses PyTorch's BatchNorm1d. Weights are
[units, inputs] or [units, channels, kernel ...] as PyTorch has them.

Run: npm run python -- scripts/oracles/regularizers.py
"""

import math
import os
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "torch"

import keras  # noqa: E402
import torch  # noqa: E402
from torch import Tensor  # noqa: E402
from torch.nn import functional as F  # noqa: E402

import lcg  # noqa: E402
from summary import rounded, summary, write_json  # noqa: E402

FIXTURE = Path(__file__).parents[2] / "test" / "fixtures" / "regularizers.json"
keras.config.set_floatx("float64")


def tensor(name: str, shape: list[int], scale: float) -> Tensor:
    return torch.tensor(lcg.uniform(name, shape, scale), dtype=torch.float64)


def unit(count: int, name: str) -> Tensor:
    """A block of numbers in [0, 1)."""
    numbers = lcg.stream(name)
    return torch.tensor([next(numbers) for _ in range(count)], dtype=torch.float64)


# Penalties on weights: w is [units, inputs] of one group, or [units, channels, kernel ...] for convolutions.


def so(w: Tensor) -> Tensor:
    """The paper's W has one column per unit."""
    columns = w.flatten(1).T
    return torch.linalg.matrix_norm(columns.T @ columns - torch.eye(len(w))) ** 2


def dso(w: Tensor) -> Tensor:
    columns = w.flatten(1).T
    return so(w) + torch.linalg.matrix_norm(columns @ columns.T - torch.eye(len(columns))) ** 2


def spectral_so(w: Tensor) -> Tensor:
    """The true spectral norm, by singular values."""
    columns = w.flatten(1).T
    small = columns.T @ columns if len(w) <= len(columns) else columns @ columns.T
    return torch.linalg.matrix_norm(small - torch.eye(len(small)), 2) ** 2


def biggan(w: Tensor) -> Tensor:
    rows = w.flatten(1)
    return (((rows @ rows.T) * (1 - torch.eye(len(rows)))) ** 2).sum()


def mutual_coherence(w: Tensor) -> Tensor:
    columns = w.flatten(1).T
    return torch.linalg.vector_norm(columns.T @ columns - torch.eye(len(w)), math.inf)


def srip(w: Tensor, start: str) -> Tensor:
    """As VITA-Group/Orthogonality-in-CNNs, Wide-Resnet/train_n.py: the smaller product, gradients through both steps."""
    rows = w.flatten(1)
    product = rows.T @ rows if rows.shape[0] > rows.shape[1] else rows @ rows.T
    excess = product - torch.eye(len(product))
    moved = excess @ unit(len(product), start)
    return torch.linalg.vector_norm(excess @ (moved / torch.linalg.vector_norm(moved))) ** 2


def self_convolution(w: Tensor, strides: list[int]) -> Tensor:
    """Conv(K, K) - I0 with the paper's padding of (k - 1) // S * S."""
    convolve = {3: F.conv1d, 4: F.conv2d, 5: F.conv3d}[w.dim()]
    padding = [(k - 1) // s * s for k, s in zip(w.shape[2:], strides)]
    output = convolve(w, w, stride=strides, padding=padding)
    target = torch.zeros_like(output)
    middle = tuple(size // 2 for size in output.shape[2:])
    target[(slice(None), slice(None), *middle)] = torch.eye(len(w), dtype=torch.float64)
    return output - target


def ocnn(w: Tensor, strides: list[int], norm: str = "squared") -> Tensor:
    distance = torch.norm(self_convolution(w, strides))
    return distance**2 if norm == "squared" else distance


def lorth(w: Tensor, strides: list[int]) -> Tensor:
    if w.dim() == 2:
        return torch.minimum(so(w), so(w.T)) if w.shape[0] != w.shape[1] else so(w)
    return ocnn(w, strides) - max(0, w.shape[0] - w.shape[1] * math.prod(strides))


def keras_orthogonal(w: Tensor, mode: str) -> Tensor:
    """Keras's kernel is [inputs, units]."""
    return keras.regularizers.OrthogonalRegularizer(factor=1.0, mode=mode)(w.flatten(1).T)


def mhe(w: Tensor, s: int, half: bool) -> Tensor:
    """The arithmetic of wy1iu/MHE, code/architecture.py: 1e-4 in the norms, means over pairs i < j."""
    columns = w.flatten(1).T
    if half:
        columns = torch.cat((columns, -columns), dim=1)
    count = columns.shape[1]
    norms = torch.sqrt((columns**2).sum(0, keepdim=True) + 1e-4)
    squares = 2 - 2 * (columns.T @ columns) / (norms.T @ norms)
    pairs = squares[torch.triu(torch.ones(count, count, dtype=torch.bool), diagonal=1)]
    energies = -torch.log(pairs) if s == 0 else pairs ** (-s / 2)
    return energies.sum() / (count * (count - 1) / 2)


def mma(w: Tensor) -> Tensor:
    """As wznpub/MMA_Regularization, MMA.py."""
    rows = F.normalize(w.flatten(1), p=2, dim=1)
    cosine = rows @ rows.T
    cosine = cosine - 2 * torch.diag(torch.diag(cosine))
    return -torch.acos(cosine.max(dim=1)[0].clamp(-0.99999, 0.99999)).mean()


def of_pairs(angles: Tensor, lambda1: float = 100, lambda2: float = 1) -> Tensor:
    pairs = angles[~torch.eye(len(angles), dtype=torch.bool)]
    return lambda1 * pairs.mean() ** 2 + lambda2 * (pairs**2).mean()


def som_weights(w: Tensor) -> Tensor:
    rows = F.normalize(w.flatten(1), dim=1, eps=0)
    cosines = (rows @ rows.T) * (1 - torch.eye(len(rows)))
    return of_pairs(1 - 2 * torch.acos(cosines) / math.pi)


def som_of(units: Tensor, gamma: float) -> Tensor:
    """SOM of responses [units, rows]."""
    squashed = torch.tanh(gamma * units)
    direction = squashed / torch.sqrt((squashed**2).sum(1, keepdim=True) + 1e-6)
    return of_pairs(direction @ direction.T)


def som_random(w: Tensor, directions: int, block: str) -> Tensor:
    rows = w.flatten(1)
    return som_of(rows @ tensor(block, [directions, rows.shape[1]], 1).T, 10)


# Penalties on responses: y is [units, rows] of one group.


def decov(y: Tensor) -> Tensor:
    covariance = torch.cov(y, correction=0)
    return 0.5 * ((covariance**2).sum() - (torch.diag(covariance) ** 2).sum())


def vicreg(y: Tensor) -> Tensor:
    covariance = torch.cov(y)
    return ((covariance**2).sum() - (torch.diag(covariance) ** 2).sum()) / len(y)


def barlow(y: Tensor) -> Tensor:
    normalized = torch.nn.BatchNorm1d(len(y), affine=False, dtype=torch.float64).train()(y.T)
    correlation = normalized.T @ normalized / y.shape[1]
    return (correlation**2).sum() - (torch.diag(correlation) ** 2).sum()


def som_forms(y: Tensor, gamma: float = 10, center: bool = False, rms: bool = False) -> Tensor:
    if center:
        y = y - y.mean(1, keepdim=True)
    if rms:
        y = y / torch.sqrt((y.detach() ** 2).mean(1, keepdim=True) + 1e-12)
    return som_of(y, gamma)


# Name, shape of the weight, groups, strides. Scales are those of usual initializations, and larger.
WEIGHTS: list[tuple[str, list[int], int, list[int], float]] = [
    ("matrix", [6, 10], 1, [], 0.5),
    ("more-units-than-inputs", [12, 5], 1, [], 0.5),
    ("square", [7, 7], 1, [], 0.6),
    ("convolution", [5, 3, 3, 3], 1, [1, 1], 0.3),
    ("stride", [8, 2, 3, 3], 1, [2, 2], 0.4),
    ("stride-by-axis", [4, 2, 3, 5], 1, [1, 2], 0.4),
    ("kernel-of-1", [6, 4, 1, 1], 1, [1, 1], 0.5),
    ("one-axis", [4, 3, 5], 1, [2], 0.5),
    ("three-axes", [3, 2, 2, 3, 2], 1, [1, 1, 1], 0.4),
    ("groups", [9, 2, 3, 3], 3, [1, 1], 0.45),
]
ON_WEIGHTS: list[tuple[str, dict[str, Any], Any]] = [
    ("so", {}, lambda w, c: so(w)),
    ("spectral-so", {"iterations": 150}, lambda w, c: spectral_so(w)),
    ("dso", {}, lambda w, c: dso(w)),
    ("biggan", {}, lambda w, c: biggan(w)),
    ("mc", {}, lambda w, c: mutual_coherence(w)),
    ("srip", {}, lambda w, c: srip(w, "start")),
    ("ocnn", {}, lambda w, c: ocnn(w, c) if c else None),
    ("ocnn", {"norm": "frobenius"}, lambda w, c: ocnn(w, c, "frobenius") if c else None),
    ("keras", {"mode": "rows"}, lambda w, c: keras_orthogonal(w, "rows")),
    ("keras", {"mode": "columns"}, lambda w, c: keras_orthogonal(w, "columns")),
    *(
        ("mhe", {"s": s, "half": half}, lambda w, c, s=s, half=half: mhe(w, s, half))
        for s in (0, 1, 2)
        for half in (False, True)
    ),
    ("mma", {}, lambda w, c: mma(w)),
    ("lorth", {}, lambda w, c: lorth(w, c)),
    ("som", {"angles": "weights"}, lambda w, c: som_weights(w)),
    ("som", {"rows": "random", "directions": 40}, lambda w, c: som_random(w, 40, "directions")),
]
# Name, shape of the response, axis of its units, groups.
RESPONSES: list[tuple[str, list[int], int, int]] = [
    ("gemm", [24, 7], 1, 1),
    ("gemm-few-rows", [4, 12], 1, 1),
    ("sequence", [3, 5, 6], 2, 1),
    ("left", [3, 6, 9], 1, 1),
    ("convolution", [3, 6, 4, 3], 1, 1),
    ("groups", [3, 6, 3, 4], 1, 2),
]
ON_RESPONSES: list[tuple[str, dict[str, Any], Any]] = [
    ("decov", {}, decov),
    ("barlow", {}, barlow),
    ("vicreg", {}, vicreg),
    ("som", {"center": True}, lambda y: som_forms(y, center=True)),
    ("som", {"scale": "rms", "gamma": 2}, lambda y: som_forms(y, 2, rms=True)),
    ("som", {"center": True, "scale": "rms", "gamma": 2}, lambda y: som_forms(y, 2, True, True)),
]


def figures(name: str, value: Tensor, wrt: Tensor) -> dict[str, Any]:
    (gradient,) = torch.autograd.grad(value, wrt)
    return {"value": rounded(value.item()), "gradient": summary(name, gradient)}


def on_weights() -> list[dict[str, Any]]:
    cases = []
    for name, shape, groups, strides, scale in WEIGHTS:
        for penalty, options, formula in ON_WEIGHTS:
            weight = tensor(f"weight.{name}", shape, scale).requires_grad_()
            parts = [formula(group, strides) for group in weight.chunk(groups)]
            if parts[0] is None:
                continue
            case = {"penalty": penalty, "options": options, "layer": name, "shape": shape}
            case |= {"groups": groups, "strides": strides, "scale": scale}
            cases.append(case | figures(f"weight.{name}", torch.stack(parts).mean(), weight))
    return cases


def on_responses() -> list[dict[str, Any]]:
    cases = []
    for name, shape, axis, groups in RESPONSES:
        for penalty, options, formula in ON_RESPONSES:
            response = tensor(f"response.{name}", shape, 0.3).requires_grad_()
            units = response.movedim(axis, 0).flatten(1)
            value = torch.stack([formula(group) for group in units.chunk(groups)]).mean()
            case = {"penalty": penalty, "options": options, "layer": name, "shape": shape}
            case |= {"unitAxis": axis, "groups": groups}
            cases.append(case | figures(f"response.{name}", value, response))
    return cases


def with_bias() -> list[dict[str, Any]]:
    """SOM without the bias: the response contains the bias, but the bias gets no gradient."""
    shape = [4, 6, 3, 3]
    response, bias = tensor("response.bias", shape, 0.3), tensor("bias", [6], 0.2)
    response.requires_grad_()
    units = (response - bias.reshape(1, 6, 1, 1)).movedim(1, 0).flatten(1)
    case = {"penalty": "som", "options": {"bias": "remove"}, "layer": "bias", "shape": shape}
    case |= {"unitAxis": 1, "groups": 1}
    return [case | figures("response.bias", som_of(units, 10), response)]


write_json(FIXTURE, {"weights": on_weights(), "responses": on_responses() + with_bias()})
