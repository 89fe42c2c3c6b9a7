"""Writes test/fixtures/objectives: small models, losses as models, and 50 training steps of each with losses of PyTorch.

Run: npm run python -- scripts/oracles/objectives.py
"""

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lcg import labels, uniform
from summary import rounded, write_json

FOLDER = Path(__file__).parents[2] / "test" / "fixtures" / "objectives"
STEPS, RATE, SAMPLES = 50, 0.1, 6


class TwoOutputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.classes, self.box = nn.Linear(5, 6), nn.Linear(6, 3), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = torch.tanh(self.body(x))
        return self.classes(h), self.box(h)


class Sequence(nn.Module):
    """[N, 4, 3] -> [N, 4, 5]"""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 5)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.layer(x) + 0 * mask.float().unsqueeze(-1)


class Dense(nn.Module):
    """[N, 2, 4, 5] -> [N, 3, 4, 5]"""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(2, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


class DenseChannelsLast(Dense):
    """[N, 4, 5, 2] -> [N, 4, 5, 3]"""

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class LossModel(nn.Module):
    def forward(self, logits: Tensor, box: Tensor, labels: Tensor, y_box: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels) + 0.5 * F.mse_loss(box, y_box)


class LossOfEach(nn.Module):
    """One loss for each sample."""

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return ((prediction - target) ** 2).sum(1).sqrt()


def export(name: str, model: nn.Module, inputs: dict[str, Tensor], outputs: list[str]) -> None:
    axes = {key: {0: "batch"} for key in [*inputs, *outputs]} if name != "loss" else {key: {0: "n"} for key in inputs}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            tuple(inputs.values()),
            FOLDER / f"{name}.onnx",
            input_names=list(inputs),
            output_names=outputs,
            dynamic_axes=axes,
            opset_version=17 if name.startswith("loss") else 18,
            dynamo=False,
        )


def floats(name: str, *shape: int) -> Tensor:
    return torch.from_numpy(uniform(name, shape, 1.0))


def classes(name: str, count: int, *shape: int) -> Tensor:
    return torch.from_numpy(labels(name, int(np.prod(shape)), count)).reshape(shape)


def initialized(model: nn.Module, name: str) -> nn.Module:
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            parameter.copy_(floats(f"{name}.{key}", *parameter.shape) * 0.5)
    return model


def train(model: nn.Module, inputs: list[Tensor], loss: Callable[..., Tensor]) -> list[float]:
    """Losses of 50 steps of plain SGD in float64."""
    model = model.double()
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    found = []
    for _ in range(STEPS):
        outputs = model(*inputs)
        value = loss(*(outputs if isinstance(outputs, tuple) else (outputs,)))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        found.append(value.item())
    return [rounded(value) for value in found]


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    n = SAMPLES
    made = {
        "two": (TwoOutputs, {"x": floats("x", n, 5)}, ["logits", "box"]),
        "sequence": (Sequence, {"x": floats("tokens", n, 4, 3), "mask": classes("mask", 2, n, 4)}, ["scores"]),
        "dense": (Dense, {"x": floats("image", n, 2, 4, 5)}, ["scores"]),
        "dense-last": (DenseChannelsLast, {"x": floats("image", n, 4, 5, 2)}, ["scores"]),
    }
    for name, (kind, inputs, outputs) in made.items():
        export(name, initialized(kind(), name), inputs, outputs)
    two = {"logits": floats("l", n, 3), "box": floats("b", n, 4)}
    export("loss", LossModel(), {**two, "labels": classes("y", 3, n), "y_box": floats("y_box", n, 4)}, ["loss"])
    export("loss-of-each", LossOfEach(), {"prediction": two["box"], "target": two["box"]}, ["losses"])

    y_class, y_box = classes("y_class", 3, n), floats("y_box", n, 4).double()
    tokens, yes = classes("y_tokens", 5, n, 4), classes("y_yes", 2, n, 4, 5).double()
    pixels = classes("y_pixels", 3, n, 4, 5)
    pixels[:, 0, :] = 255
    weight = torch.tensor([1.0, 2.0, 0.5]).double()
    numbers, mask = floats("y_numbers", n, 4, 5).double(), made["sequence"][1]["mask"]
    soft = (floats("soft", n, 3).double() + 1.1) / (floats("soft", n, 3).double() + 1.1).sum(1, keepdim=True)
    many = classes("y_many", 2, n, 3).double()

    shares = torch.softmax(3 * numbers, 2)
    weights = torch.tensor([0.5, 2.0, 1.0, 4.0, 0.25]).double()
    following = torch.cat([torch.where(mask > 0, tokens, -100)[:, 1:], torch.full((n, 1), -100)], 1)

    def masked(each: Tensor) -> Tensor:
        counts = mask.double().reshape(n, 4, *([1] * (each.dim() - 2))).expand_as(each)
        return (each * counts).sum() / counts.sum()

    def columns(each: Tensor) -> Tensor:
        counts = classes("columns", 2, n, 5).double()
        return (each * counts).sum() / counts.sum()

    cases: dict[str, tuple[str, Callable[..., Tensor]]] = {
        "sum": ("two", lambda c, b: F.cross_entropy(c, y_class) + 0.5 * F.huber_loss(b, y_box)),
        "model": ("two", lambda c, b: F.cross_entropy(c, y_class) + 0.5 * F.mse_loss(b, y_box)),
        "each": ("two", lambda c, b: ((b - y_box) ** 2).sum(1).sqrt().mean()),
        "log-cosh": ("two", lambda c, b: torch.log(torch.cosh(b - y_box)).mean()),
        "probabilities": ("two", lambda c, b: F.cross_entropy(c, soft)),
        "kl": ("two", lambda c, b: F.kl_div(F.log_softmax(c, 1), soft, reduction="batchmean")),
        "several labels": ("two", lambda c, b: F.binary_cross_entropy_with_logits(c, many)),
        "tokens": (
            "sequence",
            lambda s: F.cross_entropy(
                s.transpose(1, 2), torch.where(mask > 0, tokens, -100), ignore_index=-100, label_smoothing=0.1
            ),
        ),
        "masked yes": ("sequence", lambda s: masked(F.binary_cross_entropy_with_logits(s, yes, reduction="none"))),
        "masked numbers": ("sequence", lambda s: masked((s - numbers) ** 2)),
        "masked scores": (
            "sequence",
            lambda s: masked(
                4 * F.kl_div(F.log_softmax(s / 2, 2), F.softmax(numbers / 2, 2), reduction="none").sum(2)
            ),
        ),
        "masked cosine": ("sequence", lambda s: masked(1 - F.cosine_similarity(s, shares, dim=2))),
        "masked kl": ("sequence", lambda s: masked(F.kl_div(F.log_softmax(s, 2), shares, reduction="none").sum(2))),
        "masked kl over axis 1": (
            "sequence",
            lambda s: columns(F.kl_div(F.log_softmax(s, 1), torch.softmax(3 * numbers, 1), reduction="none").sum(1)),
        ),
        "masked probabilities": (
            "sequence",
            lambda s: masked(F.cross_entropy(s.mT, shares.mT, weights, label_smoothing=0.1, reduction="none")),
        ),
        "masked causal-lm": ("sequence", lambda s: F.cross_entropy(s.mT, following, weights, label_smoothing=0.1)),
        "masked masked-lm": (
            "sequence",
            lambda s: F.cross_entropy(s.mT, torch.where(mask > 0, tokens, -100), weights, label_smoothing=0.1),
        ),
        "pixels": ("dense", lambda s: F.cross_entropy(s, pixels, weight, ignore_index=255)),
        "pixels last": (
            "dense-last",
            lambda s: F.cross_entropy(s.permute(0, 3, 1, 2), pixels, weight, ignore_index=255),
        ),
    }
    losses = {}
    for case, (name, loss) in cases.items():
        kind, inputs, _ = made[name]
        given = [value.double() if value.is_floating_point() else value for value in inputs.values()]
        losses[case] = train(initialized(kind(), name), given, loss)
    write_json(FOLDER / "losses.json", {"rate": RATE, "losses": losses})


if __name__ == "__main__":
    main()
