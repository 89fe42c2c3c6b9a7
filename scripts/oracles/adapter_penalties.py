"""Writes test/fixtures/adapter-penalties.json: every penalty on adapters with its gradients, in float64, by PyTorch's autograd.

A is [3, 6], B [5, 3], the base's weight W [5, 6]; the numbers are those of lcg.py. O-LoRA's sum of absolute values is that of its
published code.

Run: npm run python -- scripts/oracles/adapter_penalties.py
"""

import json
from pathlib import Path

import torch

import lcg

FIXTURE = Path(__file__).parents[2] / "test" / "fixtures" / "adapter-penalties.json"
SCALING = 1.5


def tensor(name, shape):
    return torch.tensor(lcg.uniform(name, shape), dtype=torch.float64)


def o_lora(a, _):
    return torch.abs(torch.mm(tensor("earlier", [4, 6]), a.T)).sum()


def squares(a, _):
    return (tensor("earlier", [4, 6]) @ a.T).square().sum()


def oplora(a, b):
    u, _, vh = torch.linalg.svd(tensor("base", [5, 6]))
    u, v = u[:, :2], vh[:2].T
    change = SCALING * b @ a
    return (u.T @ change).norm() ** 2 + (change @ v).norm() ** 2


def adalora(a, b):
    identity = torch.eye(3, dtype=torch.float64)
    return (a @ a.T - identity).norm() ** 2 + (b.T @ b - identity).norm() ** 2


cases = {
    "o-lora:adapter=x": o_lora,
    "o-lora:adapter=x,sum=squares": squares,
    "oplora:rank=2": oplora,
    "adalora": adalora,
}
record = {}
for name, penalty in cases.items():
    a = tensor("down", [3, 6]).requires_grad_()
    b = tensor("up", [5, 3]).requires_grad_()
    value = penalty(a, b)
    value.backward()
    gradients = {"down": a.grad, "up": torch.zeros_like(b) if b.grad is None else b.grad}
    record[name] = {"value": value.item(), **{key: grad.flatten().tolist() for key, grad in gradients.items()}}
FIXTURE.write_text(json.dumps(record, indent=1) + "\n")
