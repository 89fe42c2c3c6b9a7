"""Times training steps of PyTorch on command, so that bench/step.ts can alternate them with its own.

Reads one JSON command a line from stdin, answers with one JSON line on stdout:
    {"do": "create", "id": …, "folder": …, "network": "mlp"|"cnn", "penalty": true|false, "compile": true|false, "warmUp": n}
        builds the network from folder/<network>.onnx and folder/<network>.x, .labels; → {"losses": [first steps]}
    {"do": "run", "id": …, "steps": n}  → {"milliseconds": mean of a step}
    {"do": "about"}  → versions and threads
Arguments: thread count, and a device ("cpu" if left out, "cuda").
 AdamW, learning rate 1e-5 (a network that has learned its only batch by heart is slow: denormal numbers), weight decay 0.01, SOM on every layer with weight 1.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn import functional as F


def som(y: Tensor, lambda1: float = 100.0, lambda2: float = 1.0, gamma: float = 10.0) -> Tensor:
    """SOM with means over pairs in idiomatic PyTorch; y is [rows, units] or [N, units, H, W]."""
    if y.dim() == 4:
        y = y.movedim(1, -1).reshape(-1, y.shape[1])
    t = torch.tanh(gamma * y)
    unit = t / torch.sqrt((t * t).sum(0, keepdim=True) + 1e-6)
    cosines = unit.T @ unit
    off = cosines * (1 - torch.eye(cosines.shape[0], device=y.device))
    pairs = off.shape[0] * (off.shape[0] - 1)
    return lambda1 * (off.sum() / pairs) ** 2 + lambda2 * (off * off).sum() / pairs


class Mlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.ModuleList([nn.Linear(784, 512), nn.Linear(512, 256), nn.Linear(256, 10)])

    def forward(self, x: Tensor) -> list[Tensor]:
        """The response of every layer; the last one is the logits."""
        responses = []
        for layer in self.fc:
            responses.append(layer(F.relu(x) if responses else x))
            x = responses[-1]
        return responses


class Cnn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        sizes = [(3, 32), (32, 64), (64, 128)]
        self.conv = nn.ModuleList([nn.Conv2d(a, b, 3, padding=1) for a, b in sizes])
        self.bn = nn.ModuleList([nn.BatchNorm2d(b) for _, b in sizes])
        self.fc = nn.Linear(128, 10)

    def forward(self, x: Tensor) -> list[Tensor]:
        responses = []
        for i, (conv, norm) in enumerate(zip(self.conv, self.bn)):
            responses.append(conv(x))
            x = F.relu(norm(responses[-1]))
            x = F.max_pool2d(x, 2) if i > 0 else x
        return [*responses, self.fc(x.mean((2, 3)))]


def create(folder: Path, network: str, penalty: bool, compile: bool, device: str) -> Callable[[], float]:
    """Returns a function that runs one step and returns its loss."""
    net = (Mlp if network == "mlp" else Cnn)().train()
    stored = {t.name: numpy_helper.to_array(t).copy() for t in onnx.load(folder / f"{network}.onnx").graph.initializer}
    for key, value in net.state_dict().items():
        if key in stored:
            value.copy_(torch.from_numpy(stored[key]))
    net = net.to(device)
    labels = torch.from_numpy(np.fromfile(folder / f"{network}.labels", np.int32)).long().to(device)
    shape = (len(labels), 784) if network == "mlp" else (len(labels), 3, 32, 32)
    x = torch.from_numpy(np.fromfile(folder / f"{network}.x", np.float32)).reshape(shape).to(device)

    def objective(x: Tensor, labels: Tensor) -> Tensor:
        responses = net(x)
        loss = F.cross_entropy(responses[-1], labels)
        return loss + sum(som(y) for y in responses) if penalty else loss

    compiled = torch.compile(objective) if compile else objective
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-5, weight_decay=0.01)

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        loss = compiled(x, labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def timed(step: Callable[[], float], steps: int) -> float:
    start = time.perf_counter()
    for _ in range(steps):
        step()
    return (time.perf_counter() - start) * 1e3 / steps


def main() -> None:
    torch.set_num_threads(int(sys.argv[1]))
    device = sys.argv[2] if len(sys.argv) > 2 else "cpu"
    steps: dict[str, Callable[[], float]] = {}
    for line in sys.stdin:
        command = json.loads(line)
        match command["do"]:
            case "create":
                folder = Path(command["folder"])
                step = create(folder, command["network"], command["penalty"], command["compile"], device)
                steps[command["id"]] = step
                answer = {"losses": [step() for _ in range(command["warmUp"])]}
            case "run":
                step = steps[command["id"]]
                answer = {"milliseconds": timed(step, command["steps"])}
            case _:
                name = torch.cuda.get_device_name() if device == "cuda" else "cpu"
                answer = {"torch": torch.__version__, "threads": torch.get_num_threads(), "device": name}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
