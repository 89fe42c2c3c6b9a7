"""Exports the networks of models.py as forward models, and writes PyTorch's float64 figures of training them.

Usage: export.py FOLDER   (writes FOLDER/<name>/forward.onnx, FOLDER/<name>.frozen.json and FOLDER/pytorch.json)
"""

import json
import sys
import warnings
from pathlib import Path

import torch
import torch.nn.functional as F
from models import CASES, NETWORKS, batch, som

warnings.simplefilter("ignore")
STEPS = 20
WEIGHT = 0.05


def export(name, network, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        network.train(),
        (torch.zeros(network.shape),),
        str(path),
        dynamo=False,
        training=torch.onnx.TrainingMode.TRAINING,
        do_constant_folding=False,
        input_names=["x"],
        output_names=["logits"],
        opset_version=17,
        dynamic_axes={"x": {0: "N"}, "logits": {0: "N"}} if name == "mlp" else None,
    )
    (path.parent / "frozen.json").write_text(json.dumps(network.frozen))


def loss_of(network, x, y, weight):
    logits, responses = network.responses(x)
    penalty = sum(som(value, value.dim() == 4) for value in responses)
    return F.cross_entropy(logits, y) + weight * penalty, penalty


class OfficialAdamW:
    """AdamWOptimizer of ONNX Runtime 1.19.2, mode 1: epsilon is added to the uncorrected root, no weight decay."""

    def __init__(self, parameters, rate):
        self.parameters, self.rate, self.step_count = parameters, rate, 0
        self.m = [torch.zeros_like(p) for p in parameters]
        self.v = [torch.zeros_like(p) for p in parameters]

    def step(self):
        self.step_count += 1
        b1, b2, epsilon = 0.9, 0.999, 1e-6
        rate = self.rate * (1 - b2**self.step_count) ** 0.5 / (1 - b1**self.step_count)
        with torch.no_grad():
            for p, m, v in zip(self.parameters, self.m, self.v):
                m.mul_(b1).add_((1 - b1) * p.grad)
                v.mul_(b2).add_((1 - b2) * p.grad**2)
                p -= rate * m / (v.sqrt() + epsilon)


def train(name, make, weight, optimizer):
    network = make().fill(name).double().train()
    parameters = [p for key, p in network.named_parameters() if key not in network.frozen]
    update = torch.optim.SGD(parameters, lr=0.01) if optimizer == "sgd" else OfficialAdamW(parameters, 1e-3)
    losses = []
    for index in range(STEPS):
        for p in parameters:
            p.grad = None
        loss, _ = loss_of(network, *batch(name, network.shape, index), weight)
        loss.backward()
        update.step()
        losses.append(loss.item())
    return losses


def gradients(name, make, weight):
    network = make().fill(name).double().train()
    loss, penalty = loss_of(network, *batch(name, network.shape, 0), weight)
    loss.backward()
    trained = {key: p for key, p in network.named_parameters() if key not in network.frozen}
    return {
        "loss": loss.item(),
        "penalty": penalty.item(),
        "gradients": {key: [float(f"{g:.9g}") for g in p.grad.flatten().tolist()] for key, p in trained.items()},
    }


def main(folder):
    for name, make in {**NETWORKS, **CASES}.items():
        export(name, make().fill(name), folder / name / "forward.onnx")
    figures = {
        "weight": WEIGHT,
        "networks": {
            name: {
                "shape": make.shape,
                **{
                    form: {optimizer: train(name, make, weight, optimizer) for optimizer in ("sgd", "adamw")}
                    for form, weight in (("plain", 0), ("som", WEIGHT))
                },
            }
            for name, make in NETWORKS.items()
        },
        "cases": {
            name: {
                "shape": make.shape,
                "plain": gradients(name, make, 0),
                "som": gradients(name, make, WEIGHT),
            }
            for name, make in CASES.items()
        },
    }
    (folder / "pytorch.json").write_text(json.dumps(figures))


main(Path(sys.argv[1]))
