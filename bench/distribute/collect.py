"""Measures everything that cost.py needs, and writes bench/results/distribute.json.

    npm run build; sudo PYTHON bench/distribute/collect.py [ROUNDS]     with numpy, onnx, onnxruntime and torch

One process and two take turns, each process with one thread. Of each figure the median of the steps is kept, and the least: on a
machine that others use, it is nearest to that of a machine of one's own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
NETWORKS = {"mlp": 64, "cnn": 16, "pointnet": 8}
"""Samples of a step of one process."""
STEPS = {"mlp": 200, "cnn": 20, "pointnet": 40}


def distribute(network: str, workers: int, folder: Path) -> str:
    """Writes the run of one process or several, each with the same share."""
    where = folder / f"{network}-{workers}"
    subprocess.run(
        [
            "node", "dist/node/cli.js", "distribute", f"models/{network}.onnx", "-o", str(where), "--workers", str(workers),
            "--batch", str(workers * NETWORKS[network]), "--threads", "1", "--penalty", "none", "--quiet",
        ],
        cwd=ROOT, check=True,
    )  # fmt: skip
    return str(where)


def measured(processes: int, *words: str) -> dict:
    """What measure.py prints, under plain Python or torchrun."""
    several = [] if processes == 1 else ["-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
    command = [sys.executable, *several, str(HERE / "measure.py"), *words]
    output = subprocess.run(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(output.stdout.strip().splitlines()[-1])


def summary(rounds: list[dict]) -> dict:
    """The median round, with the least step of all."""
    middle = sorted(rounds, key=lambda one: one["step"])[len(rounds) // 2]
    best = min(rounds, key=lambda one: one["least"])
    return {**middle, **{name: best[name] for name in ("least", "leastCommunication")}}


def flops() -> float:
    """Multiplications and additions a second of products in float32, two threads: the best of several."""
    import torch

    torch.set_num_threads(2)
    a = torch.randn(1024, 1024)
    best = 1e9
    for _ in range(200):
        began = time.perf_counter()
        a @ a
        best = min(best, time.perf_counter() - began)
    return 2 * 1024**3 / best


def parameters(network: str) -> int:
    """Numbers that training changes: all floats but BatchNorm's running statistics."""
    graph = onnx.load(ROOT / f"models/{network}.onnx").graph
    running = {name for node in graph.node if node.op_type == "BatchNormalization" for name in node.input[3:5]}
    floats = [one for one in graph.initializer if one.data_type == onnx.TensorProto.FLOAT and one.name not in running]
    return int(sum(np.prod(one.dims) for one in floats))


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        folders = {(name, workers): distribute(name, workers, folder) for name in NETWORKS for workers in (1, 2)}
        steps: dict[tuple[str, int], list[dict]] = {key: [] for key in folders}
        sums: list[dict] = []
        for _ in range(rounds):
            for key, where in folders.items():
                steps[key].append(measured(key[1], "steps", where, str(STEPS[key[0]])))
            sums.append(measured(2, "sums")["sums"])
        over = {size: min(one[size] for one in sums) for size in sums[0]}
        namespaces = []
        words = [sys.executable, str(HERE / "namespaces.py"), folders["mlp", 2], "30"]
        alone = summary(steps["mlp", 1])
        for line in subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines():
            namespaces.append({**json.loads(line), "compute": alone["least"]})
    low, high = ("524288", "16777216")
    found = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{os.cpu_count()} cores",
        "constants": {
            "flops": float(f"{flops():.3g}"),
            # Seconds a byte costs beside the network: the slope of sums over loopback.
            "host": float(f"{1e-3 * (over[high] - over[low]) / (int(high) - int(low)):.3g}"),
            "spread": spread(),
            "steps": {name: summary(steps[name, 1])["least"] / 1e3 for name in NETWORKS},
            "parameters": {name: parameters(name) for name in NETWORKS},
        },
        "sums": over,
        "scaling": [
            {"network": name, "samples": NETWORKS[name], "one": summary(steps[name, 1]), "two": summary(steps[name, 2])}
            for name in NETWORKS
        ],
        "namespaces": namespaces,
    }
    (HERE.parent / "results" / "distribute.json").write_text(json.dumps(found, indent=1) + "\n")


def spread() -> float:
    """The deviation of step times: the largest of bench/results/step.json, from its quartiles."""
    rows = json.loads((HERE.parent / "results" / "step.json").read_text())["rows"]
    times = [one["step"] for row in rows for one in row["contenders"] if one["runtime"] == "sorth-onnx"]
    widths = [(one["quartiles"][1] - one["quartiles"][0]) / one["median"] / 1.349 for one in times]
    return round(max(widths), 3)


if __name__ == "__main__":
    main()
