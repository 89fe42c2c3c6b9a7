"""How fixtures store a tensor: completely if small, otherwise a sample of it, its size and one projection."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

import lcg

WHOLE = 48
SAMPLES = 12


def rounded(value: float) -> float:
    """Fifteen significant digits: more than any comparison needs."""
    return float(f"{value:.15g}")


def summary(name: str, tensor: torch.Tensor) -> dict[str, Any]:
    """`max` is max |g|; `norm` the Euclidean norm; `dot` the product with the signs of the block `direction.<name>`."""
    flat = tensor.detach().double().numpy().reshape(-1)
    result: dict[str, Any] = {
        "shape": list(tensor.shape),
        "max": rounded(np.abs(flat).max()),
        "norm": rounded(float(np.linalg.norm(flat))),
        "dot": rounded(float(flat @ lcg.signs(f"direction.{name}", flat.size))),
    }
    if flat.size <= WHOLE:
        return {**result, "values": [rounded(v) for v in flat]}
    numbers = lcg.stream(f"sample.{name}")
    at = sorted({int(next(numbers) * flat.size) for _ in range(SAMPLES)})
    return {**result, "at": at, "values": [rounded(flat[i]) for i in at]}


def write_json(path: Path, content: Any) -> None:
    """Writes JSON with one line per leaf object, so that the diff of a rerun shows what changed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(lines(content, "") + "\n")
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def lines(content: Any, indent: str) -> str:
    text = json.dumps(content)
    if len(text) <= 100 or not nested(content):
        return text
    inner = indent + " "
    if isinstance(content, dict):
        body = [f"{json.dumps(key)}: {lines(value, inner)}" for key, value in content.items()]
        return "{\n" + ",\n".join(inner + line for line in body) + f"\n{indent}}}"
    return "[\n" + ",\n".join(inner + lines(value, inner) for value in content) + f"\n{indent}]"


def nested(content: Any) -> bool:
    """Whether a dictionary or list holds another dictionary (a list of numbers is a leaf)."""
    items = content.values() if isinstance(content, dict) else content if isinstance(content, list) else ()
    return any(isinstance(item, dict) or nested(item) for item in items)
