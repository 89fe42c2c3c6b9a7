"""Writes test/fixtures/training: five training steps of small networks in PyTorch, plain and with SOM.

Run: npm run python -- scripts/oracles/training.py
"""

from collections.abc import Iterable
from math import prod, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn import functional as F

import lcg
from summary import rounded, summary, write_json

FOLDER = Path(__file__).parents[2] / "test" / "fixtures" / "training"
STEPS, BATCH, CLASSES = 5, 8, 10

# Options of SOM (DESIGN 3) and its weight in the loss. Epsilon is added to every squared norm.
SOM = {"lambda1": 100.0, "lambda2": 1.0, "gamma": 10.0, "reduction": "mean", "weight": 1.0, "epsilon": 1e-6}

OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"kind": "sgd", "lr": 1e-3},
    "momentum": {"kind": "sgd", "lr": 1e-3, "momentum": 0.9, "weight_decay": 0.01},
    "adam": {"kind": "adam", "lr": 1e-3},
    "adamw": {"kind": "adamw", "lr": 1e-3, "weight_decay": 0.01},
}


def som(responses: Iterable[Tensor]) -> Tensor:
    """The sum over layers of SOM, straight from the formula; a response is [rows, units] or [N, units, H, W]."""
    total = torch.zeros((), dtype=torch.float64)
    for y in responses:
        y = y if y.dim() == 2 else y.movedim(1, -1).reshape(-1, y.shape[1])
        t = torch.tanh(SOM["gamma"] * y)
        gram = t.T @ t
        norm = torch.sqrt(gram.diagonal() + SOM["epsilon"])
        cosines = gram / torch.outer(norm, norm)
        off = cosines * (1 - torch.eye(len(norm), dtype=y.dtype))
        pairs = len(norm) * (len(norm) - 1)
        total = total + SOM["lambda1"] * (off.sum() / pairs) ** 2 + SOM["lambda2"] * (off**2).sum() / pairs
    return total


class Mlp(nn.Module):
    """20-32-16-10: with 8 rows the first two layers take SOM's smaller Gram matrix, the last the units' one."""

    input_shape = (20,)

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(20, 32), nn.Linear(32, 16), nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> list[Tensor]:
        """The response of every layer; the last one is the logits."""
        y1 = self.fc1(x)
        y2 = self.fc2(F.relu(y1))
        return [y1, y2, self.fc3(F.relu(y2))]


class Cnn(nn.Module):
    """3-8-12 with BatchNorm, 8×8 pixels."""

    input_shape = (3, 8, 8)

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 12, 3, padding=1), nn.BatchNorm2d(12)
        self.fc = nn.Linear(12, CLASSES)

    def forward(self, x: Tensor) -> list[Tensor]:
        y1 = self.conv1(x)
        y2 = self.conv2(F.relu(self.bn1(y1)))
        pooled = F.max_pool2d(F.relu(self.bn2(y2)), 2)
        return [y1, y2, self.fc(pooled.mean((2, 3)))]


NETWORKS: dict[str, type[nn.Module]] = {"mlp": Mlp, "cnn": Cnn}


def build(name: str) -> nn.Module:
    """Matrices and kernels from the block `train.<network>.<parameter>`, within ±√(3 / fan-in); the rest as PyTorch's."""
    net = NETWORKS[name]()
    for key, value in net.named_parameters():
        if value.dim() > 1:
            scale = sqrt(3 / prod(value.shape[1:]))
            value.data = torch.from_numpy(lcg.uniform(f"train.{name}.{key}", tuple(value.shape), scale))
        elif not key.startswith("bn"):
            value.data.zero_()
    return net.train()


def batch(name: str, step: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    shape = (BATCH, *NETWORKS[name].input_shape)
    x = torch.from_numpy(lcg.uniform(f"train.{name}.x.{step}", shape)).to(dtype)
    return x, torch.from_numpy(lcg.labels(f"train.{name}.labels.{step}", BATCH, CLASSES))


def optimizer(parameters: Iterable[Tensor], options: dict[str, Any]) -> torch.optim.Optimizer:
    rest = {key: value for key, value in options.items() if key != "kind"}
    kinds = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    return kinds[options["kind"]](parameters, **{"weight_decay": 0.0, **rest})


def train(name: str, options: dict[str, Any], regularized: bool, dtype: torch.dtype, shuffle: bool = False) -> dict[str, Any]:
    """Five steps. `shuffle` permutes the rows of each batch: the same mathematics, other rounding."""
    net = build(name).to(dtype)
    step_of = optimizer(net.parameters(), options)
    norms = {key: module for key, module in net.named_modules() if isinstance(module, nn.BatchNorm2d)}
    biased = {key: module.running_var.clone() for key, module in norms.items()}
    rows: dict[str, int] = {}
    for key, module in norms.items():
        module.register_forward_hook(lambda _m, inputs, _y, key=key: rows.update({key: inputs[0].numel() // inputs[0].shape[1]}))
    losses, penalties, gradients = [], [], {}
    for step in range(STEPS):
        x, labels = batch(name, step, dtype)
        if shuffle:
            order = torch.randperm(BATCH, generator=torch.Generator().manual_seed(step))
            x, labels = x[order], labels[order]
        before = {key: module.running_var.clone() for key, module in norms.items()}
        responses = net(x)
        penalty = som(responses).to(dtype)
        loss = F.cross_entropy(responses[-1], labels)
        loss = loss + SOM["weight"] * penalty if regularized else loss
        step_of.zero_grad()
        loss.backward()
        if step == 0:
            gradients = {key: summary(key, value.grad) for key, value in net.named_parameters()}
        step_of.step()
        losses.append(loss.item())
        penalties.append(penalty.item())
        # PyTorch averages the normalizing variance times N/(N−1); ONNX averages the variance itself.
        for key, module in norms.items():
            unbiased = (module.running_var - (1 - module.momentum) * before[key]) / module.momentum
            biased[key] = (1 - module.momentum) * biased[key] + module.momentum * unbiased * (rows[key] - 1) / rows[key]
    statistics = {
        key: {
            "mean": numbers(module.running_mean),
            "varianceOnnx": numbers(biased[key]),
            "varianceTorch": numbers(module.running_var),
        }
        for key, module in norms.items()
    }
    parameters = {key: summary(key, value) for key, value in net.named_parameters()}
    return {
        "losses": losses, "penalties": penalties, "gradients": gradients, "statistics": statistics,
        "parameters": parameters,
    }  # fmt: skip


def numbers(tensor: Tensor) -> list[float]:
    return [rounded(value) for value in tensor.flatten().tolist()]


def model(name: str, element: int = TensorProto.FLOAT) -> onnx.ModelProto:
    """The network in ONNX in inference form, as an exporter that keeps BatchNorm would write it."""
    net = build(name)
    dtype = helper.tensor_dtype_to_np_dtype(element)
    node = helper.make_node
    if name == "mlp":
        nodes = [
            node("Gemm", ["x", "fc1.weight", "fc1.bias"], ["y1"], "fc1", transB=1),
            node("Relu", ["y1"], ["a1"], "relu1"),
            node("Gemm", ["a1", "fc2.weight", "fc2.bias"], ["y2"], "fc2", transB=1),
            node("Relu", ["y2"], ["a2"], "relu2"),
            node("Gemm", ["a2", "fc3.weight", "fc3.bias"], ["logits"], "fc3", transB=1),
        ]
    else:
        nodes = [
            *block(1, "x"),
            *block(2, "a1"),
            node("MaxPool", ["a2"], ["pooled"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
            node("GlobalAveragePool", ["pooled"], ["means"], "means"),
            node("Flatten", ["means"], ["features"], "flatten"),
            node("Gemm", ["features", "fc.weight", "fc.bias"], ["logits"], "fc", transB=1),
        ]
    initializers = [
        numpy_helper.from_array(value.numpy().astype(dtype), key)
        for key, value in net.state_dict().items()
        if "num_batches" not in key
    ]
    shape = [BATCH, *NETWORKS[name].input_shape]
    graph = helper.make_graph(
        nodes, name,
        [helper.make_tensor_value_info("x", element, shape)],
        [helper.make_tensor_value_info("logits", element, [BATCH, CLASSES])],
        initializers,
    )  # fmt: skip
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(made, full_check=True)
    return made


def block(index: int, source: str) -> list[onnx.NodeProto]:
    conv, norm = f"conv{index}", f"bn{index}"
    state = [f"{norm}.{part}" for part in ("weight", "bias", "running_mean", "running_var")]
    return [
        helper.make_node(
            "Conv", [source, f"{conv}.weight", f"{conv}.bias"], [f"y{index}"], conv,
            kernel_shape=[3, 3], pads=[1, 1, 1, 1],
        ),
        helper.make_node("BatchNormalization", [f"y{index}", *state], [f"n{index}"], norm, momentum=0.9),
        helper.make_node("Relu", [f"n{index}"], [f"a{index}"], f"relu{index}"),
    ]  # fmt: skip


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, element in (("mlp", TensorProto.FLOAT), ("cnn", TensorProto.FLOAT), ("mlp", TensorProto.DOUBLE)):
        suffix = "-float64" if element == TensorProto.DOUBLE else ""
        onnx.save(model(name, element), FOLDER / f"{name}{suffix}.onnx")
    runs = []
    for name in NETWORKS:
        for regularized in (False, True):
            for key, options in OPTIMIZERS.items():
                exact = train(name, options, regularized, torch.float64)
                single = train(name, options, regularized, torch.float32)
                other = train(name, options, regularized, torch.float32, shuffle=True)
                spread = max(abs(a - b) for a, b in zip(single["losses"], other["losses"]))
                error = max(abs(a - b) for a, b in zip(single["losses"], exact["losses"]))
                print(
                    f"{name} {'som' if regularized else 'plain':5} {key:8} losses {exact['losses'][0]:.4f} … "
                    f"{exact['losses'][-1]:.4f}, float32 off by {error:.1e}, rows permuted {spread:.1e}"
                )
                runs.append({
                    "network": name, "penalty": "som" if regularized else "none", "optimizer": key,
                    "float64": {"losses": exact["losses"], "penalties": exact["penalties"]},
                    "float32": {"losses": single["losses"], "penalties": single["penalties"]},
                    "spread": rounded(spread),
                    "statistics": exact["statistics"],
                    "gradients": exact["gradients"] if key == "sgd" else {},
                    "parameters": exact["parameters"] if key in ("sgd", "adamw") else {},
                })  # fmt: skip
    write_json(FOLDER / "training.json", {
        "made": {"script": "scripts/oracles/training.py", "torch": torch.__version__, "numpy": np.__version__},
        "steps": STEPS, "batch": BATCH, "classes": CLASSES, "som": SOM, "optimizers": OPTIMIZERS,
        "inputs": {name: list(net.input_shape) for name, net in NETWORKS.items()},
        "runs": runs,
    })  # fmt: skip


if __name__ == "__main__":
    main()
