"""Times training steps of PyTorch on command, so that bench/ can alternate them with its own.

Reads one JSON command a line from stdin, answers with one JSON line on stdout, {"error": …} when a command fails:
    {"do": "about"}  → {"torch": version, "threads": …, "device": …}
    {"do": "create", "id": …, "network": …, "batch": …, "size": {…}, "regularized": …, "compile": …, "fused": …, "steps": n}
        builds the network of bench/networks.py; "weights", "x" and "labels" name files that replace its own
        → {"losses": [of the first steps], "seconds": to the first loss}
    {"do": "run", "id": …, "steps": n}  → {"milliseconds": mean of a step}
    {"do": "memory"}  → {"peak": MiB since the last such command, or since the start of the process}
    {"do": "close", "id": …}
Arguments: thread count, and a device ("cpu" if left out, "cuda").
AdamW as PyTorch has it by default, learning rate 1e-5 (a network that has learned its only batch by heart is slow: denormal numbers),
weight decay 0.01, SOM on every layer with weight 1.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import torch
from networks import Network, build
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn import functional as F

Step = Callable[[], float]


def som(y: Tensor, lambda1: float = 100.0, lambda2: float = 1.0, gamma: float = 10.0) -> Tensor:
    """SOM with means over pairs in idiomatic PyTorch; y is [rows, units]."""
    t = torch.tanh(gamma * y)
    unit = t / torch.sqrt((t * t).sum(0, keepdim=True) + 1e-6)
    cosines = unit.T @ unit
    off = cosines * (1 - torch.eye(cosines.shape[0], device=y.device))
    pairs = off.shape[0] * (off.shape[0] - 1)
    return lambda1 * (off.sum() / pairs) ** 2 + lambda2 * (off * off).sum() / pairs


def collect_penalties(net: nn.Module) -> list[Tensor]:
    """A list to which every forward pass appends SOM of each layer with several units."""
    penalties: list[Tensor] = []

    def take(module: nn.Module, _inputs: tuple[Tensor, ...], y: Tensor) -> None:
        rows = y if isinstance(module, nn.Linear) else y.movedim(1, -1)
        rows = rows.reshape(-1, rows.shape[-1])
        # One row has no angles. Not later: an activation may overwrite the response in place.
        if rows.shape[0] > 1:
            penalties.append(som(rows))

    convolutions = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d)
    for module in net.modules():
        # Depthwise convolutions have one unit a group, so no pairs.
        if isinstance(module, convolutions) and module.groups == module.out_channels:
            continue
        if isinstance(module, (nn.Linear, *convolutions)):
            assert isinstance(module, nn.Linear) or module.groups == 1, "SOM within groups is not written here"
            module.register_forward_hook(take)
    return penalties


def replace_parts(network: Network, command: dict) -> None:
    """Takes weights and data from the files that the command names."""
    stored = {t.name: numpy_helper.to_array(t) for t in onnx.load(command["weights"]).graph.initializer}
    for key, value in network.module.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            value.copy_(torch.from_numpy(stored[key].copy()))
    network.x = torch.from_numpy(np.fromfile(command["x"], np.float32)).reshape(network.x.shape)
    network.labels = torch.from_numpy(np.fromfile(command["labels"], np.int32)).long()


def create(command: dict, device: str) -> Step:
    """Returns a function that runs one step and returns its loss."""
    network = build(command["network"], command["batch"], command["size"])
    if "weights" in command:
        replace_parts(network, command)
    net, x, labels = network.module.to(device), network.x.to(device), network.labels.to(device)
    penalties = collect_penalties(net) if command["regularized"] else []

    def loss_of(x: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(net(x), labels)

    # A function of its own: torch.compile keeps its results by function, and does not look at hooks again.
    def loss_with_som(x: Tensor, labels: Tensor) -> Tensor:
        penalties.clear()
        loss = F.cross_entropy(net(x), labels)
        assert penalties, "no layer has two rows or more, which SOM needs"
        return loss + sum(penalties)

    objective = loss_with_som if command["regularized"] else loss_of
    compiled = torch.compile(objective) if command["compile"] else objective
    options = {"fused": True} if command["fused"] else {}
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-5, weight_decay=0.01, **options)

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        loss = compiled(x, labels)
        # The graph of the last step must not outlive it.
        penalties.clear()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def started(command: dict, device: str) -> tuple[Step, dict]:
    start = time.perf_counter()
    step = create(command, device)
    losses = [step()]
    seconds = time.perf_counter() - start
    losses += [step() for _ in range(command["steps"] - 1)]
    return step, {"losses": losses, "seconds": seconds}


def timed(step: Step, steps: int) -> float:
    start = time.perf_counter()
    for _ in range(steps):
        step()
    return (time.perf_counter() - start) * 1e3 / steps


def peak_memory() -> float:
    """Peak resident memory in MiB since the last call; on systems other than Linux, of the whole process."""
    status = Path("/proc/self/status")
    if not status.exists():
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (2**20 if sys.platform == "darwin" else 2**10)
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    Path("/proc/self/clear_refs").write_text("5")
    return int(line.split()[1]) / 2**10


def main() -> None:
    torch.set_num_threads(int(sys.argv[1]))
    device = sys.argv[2] if len(sys.argv) > 2 else "cpu"
    steps: dict[str, Step] = {}
    # Answers have the real stdout to themselves; what libraries print goes to stderr.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        command = json.loads(line)
        try:
            match command["do"]:
                case "create":
                    steps[command["id"]], answer = started(command, device)
                case "run":
                    answer = {"milliseconds": timed(steps[command["id"]], command["steps"])}
                case "memory":
                    answer = {"peak": peak_memory()}
                case "close":
                    del steps[command["id"]]
                    answer = {}
                case _:
                    name = torch.cuda.get_device_name() if device == "cuda" else "cpu"
                    answer = {"torch": torch.__version__, "threads": torch.get_num_threads(), "device": name}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
