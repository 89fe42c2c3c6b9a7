"""Writes test/fixtures/teacher: a small teacher and students, and 20 training steps of them with PyTorch's distillation losses.

Run: npm run python -- scripts/oracles/teacher.py
"""

import copy
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lcg import labels, uniform
from summary import rounded, write_json

FOLDER = Path(__file__).parents[2] / "test" / "fixtures" / "teacher"
STEPS, RATE, SAMPLES = 20, 0.1, 12


class Teacher(nn.Module):
    """[N, 5] -> scores of 3 classes, features [N, 4]; exported as it stands in training, with BatchNorm and Dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.norm, self.drop = nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Dropout(0.5)
        self.classes, self.features = nn.Linear(8, 3), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.drop(torch.relu(self.norm(self.body(x))))
        return self.classes(h), self.features(h)


class Student(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.classes, self.features = nn.Linear(5, 6), nn.Linear(6, 3), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = torch.tanh(self.body(x))
        return self.classes(h), self.features(h)


def initialized(model: nn.Module, name: str) -> nn.Module:
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            parameter.copy_(torch.from_numpy(uniform(f"{name}.{key}", tuple(parameter.shape), 1.0)))
        for key, statistic in model.named_buffers():
            if statistic.dtype.is_floating_point:
                statistic.copy_(torch.from_numpy(uniform(f"{name}.{key}", tuple(statistic.shape), 1.0)).abs() + 0.5)
    return model


def export(name: str, model: nn.Module, mode: torch.onnx.TrainingMode) -> None:
    names = ["x", "logits", "features"]
    exported = copy.deepcopy(model).train(mode == torch.onnx.TrainingMode.TRAINING)
    for layer in exported.modules():
        if isinstance(layer, nn.BatchNorm1d):
            # The exporter runs the model once, which is not to move the statistics.
            layer.momentum = 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            exported,
            (torch.zeros(SAMPLES, 5),),
            FOLDER / f"{name}.onnx",
            input_names=names[:1],
            output_names=names[1:],
            dynamic_axes={key: {0: "batch"} for key in names},
            opset_version=17,
            training=mode,
            do_constant_folding=False,
            dynamo=False,
        )


Loss = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def train(teacher: nn.Module, loss: Loss, x: Tensor) -> list[float]:
    """Losses of plain SGD in float64."""
    student = initialized(Student(), "student").double()
    optimizer = torch.optim.SGD(student.parameters(), lr=RATE)
    with torch.no_grad():
        scores, features = teacher(x)
    found = []
    for _ in range(STEPS):
        value = loss(*student(x), scores, features)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        found.append(rounded(value.item()))
    return found


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    teacher = initialized(Teacher(), "teacher")
    export("teacher", teacher, torch.onnx.TrainingMode.TRAINING)
    export("student", initialized(Student(), "student"), torch.onnx.TrainingMode.EVAL)
    frozen = teacher.double().eval()
    x = torch.from_numpy(uniform("teacher.x", (SAMPLES, 5), 2.0)).double()
    y = torch.from_numpy(labels("teacher.y", SAMPLES, 3))

    def hinton(scores: Tensor, taught: Tensor, temperature: float) -> Tensor:
        student = F.log_softmax(scores / temperature, 1)
        target = F.softmax(taught / temperature, 1)
        return temperature**2 * F.kl_div(student, target, reduction="batchmean")

    cases: dict[str, Loss] = {
        "distillation:temperature=4,alpha=0.9": lambda s, f, t, u: 0.9 * hinton(s, t, 4) + 0.1 * F.cross_entropy(s, y),
        "distillation": lambda s, f, t, u: hinton(s, t, 1),
        "kl": lambda s, f, t, u: F.kl_div(F.log_softmax(s, 1), F.softmax(t, 1), reduction="batchmean"),
        "cross-entropy:labels=probabilities": lambda s, f, t, u: F.cross_entropy(s, F.softmax(t, 1)),
        "mse": lambda s, f, t, u: F.mse_loss(s, t),
        "bce": lambda s, f, t, u: F.binary_cross_entropy_with_logits(s, torch.sigmoid(t)),
        "distillation:temperature=2,alpha=0.5,output=logits mse:output=features,weight=0.5": lambda s, f, t, u: (
            0.5 * hinton(s, t, 2) + 0.5 * F.cross_entropy(s, y) + 0.5 * F.mse_loss(f, u)
        ),
    }
    write_json(
        FOLDER / "losses.json",
        {
            **{"rate": RATE, "samples": SAMPLES},
            "cases": {name: train(frozen, loss, x) for name, loss in cases.items()},
        },
    )


if __name__ == "__main__":
    main()
