"""Writes test/fixtures/jacobians.json: products with a Jacobian, and a whole one, by torch.func.

Run: npm run python -- scripts/oracles/jacobians.py
"""

from pathlib import Path

import torch
from torch.func import jacrev, jvp, vjp

from lcg import uniform
from summary import rounded, write_json

FIXTURE = Path(__file__).parents[2] / "test" / "fixtures" / "jacobians.json"
SHAPES = {"x": [2, 3], "w": [3, 4], "b": [4], "v": [4, 2]}


def block(name: str, shape: list[int]) -> torch.Tensor:
    return torch.from_numpy(uniform(f"jacobian.{name}", shape)).double()


def numbers(tensor: torch.Tensor) -> list[float]:
    return [rounded(float(number)) for number in tensor.reshape(-1)]


def network(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """y = softmax(LayerNorm(tanh(x·w + b) · x̄) · v), where x̄ is the mean of each row of x."""
    h = torch.tanh(x @ w + b) * x.mean(-1, keepdim=True)
    return torch.softmax(torch.nn.functional.layer_norm(h, [4], eps=2**-16) @ v, -1)


def main() -> None:
    values = tuple(block(name, shape) for name, shape in SHAPES.items())
    tangents = tuple(block(f"tangent.{name}", shape) for name, shape in SHAPES.items())
    seed = block("seed", [2, 2])
    _, product = jvp(network, values, tangents)
    _, pull = vjp(network, *values)
    jacobian = jacrev(network, argnums=0)(*values)
    write_json(
        FIXTURE,
        {
            "jvp": numbers(product),
            "vjp": {name: numbers(gradient) for name, gradient in zip(SHAPES, pull(seed), strict=True)},
            "jacobian": numbers(jacobian),
        },
    )


if __name__ == "__main__":
    main()
