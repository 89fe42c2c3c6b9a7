"""Writes test/fixtures/optimizers.json: parameters after updates with given gradients, up to the 50th, in PyTorch and float64.

Run: npm run python -- scripts/oracles/optimizers.py
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import lcg
from summary import rounded, write_json

FILE = Path(__file__).parents[2] / "test" / "fixtures" / "optimizers.json"
STEPS, RATE = 50, 0.01
# The updates whose results are kept.
KEPT = (1, 2, 3, 4, 5, 50)
SHAPES: dict[str, tuple[int, ...]] = {"fc.weight": (4, 3), "fc.bias": (3,), "scale": ()}

Options = dict[str, Any]
# Parameters, or groups of one parameter each.
Parameters = Sequence[Any]


def first(parameters: Any) -> nn.Parameter:
    """The parameter, or that of a group."""
    return parameters["params"][0] if isinstance(parameters, dict) else parameters


def with_gradient(group: dict[str, Any]) -> list[nn.Parameter]:
    """PyTorch's optimizers pass over a parameter whose gradient is None: one with requires_grad=False."""
    return [p for p in group["params"] if p.grad is not None]


class Lion(torch.optim.Optimizer):
    """Algorithm 2 of arXiv 2302.06675; PyTorch has none."""

    def __init__(self, parameters: Parameters, lr: float, betas: tuple[float, float], weight_decay: float) -> None:
        super().__init__(parameters, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            lr, (beta1, beta2), decay = group["lr"], group["betas"], group["weight_decay"]
            for p in with_gradient(group):
                m = self.state[p].setdefault("m", torch.zeros_like(p))
                c = beta1 * m + (1 - beta1) * p.grad
                p -= lr * (torch.sign(c) + decay * p)
                m.copy_(beta2 * m + (1 - beta2) * p.grad)


class Muon(torch.optim.Optimizer):
    """torch.optim.Muon, whose Newton-Schulz steps are in bfloat16, in the parameters' type; vectors by AdamW with the same decay."""

    def __init__(self, parameters: Parameters, lr: float, options: Options) -> None:
        defaults = {
            "momentum": 0.95, "nesterov": True, "steps": 5, "epsilon": 1e-7, "matchAdam": True, "weightDecay": 0.1,
            "beta1": 0.9, "beta2": 0.999,
        }  # fmt: skip
        o = {**defaults, **options}
        matrices = [p for p in parameters if first(p).ndim == 2]
        super().__init__(matrices, {"lr": lr, **o})
        betas = (o["beta1"], o["beta2"])
        others = [p for p in parameters if first(p).ndim != 2]
        self.others = torch.optim.AdamW(others, lr, betas=betas, weight_decay=o["weightDecay"])

    @torch.no_grad()
    def step(self) -> None:
        self.others.step()
        for group in self.param_groups:
            for p in with_gradient(group):
                m = self.state[p].setdefault("m", torch.zeros_like(p))
                m.lerp_(p.grad, 1 - group["momentum"])
                x = p.grad.lerp(m, group["momentum"]) if group["nesterov"] else m.clone()
                tall = x.shape[0] > x.shape[1]
                x = x.T if tall else x
                x = x / x.norm().clamp(min=group["epsilon"])
                for _ in range(group["steps"]):
                    gram = x @ x.T
                    x = 3.4445 * x + (-4.775 * gram + 2.0315 * gram @ gram) @ x
                rows, columns = p.shape
                ratio = 0.2 * max(rows, columns) ** 0.5 if group["matchAdam"] else max(1, rows / columns) ** 0.5
                p.mul_(1 - group["lr"] * group["weightDecay"])
                p.add_(x.T if tall else x, alpha=-group["lr"] * ratio)


class Lamb(torch.optim.Optimizer):
    """Algorithm 2 of arXiv 1904.00962 with φ(z) = z; PyTorch has none."""

    def __init__(self, parameters: Parameters, lr: float, betas: tuple[float, float], eps: float, weight_decay: float) -> None:
        super().__init__(parameters, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            lr, (beta1, beta2), eps, decay = group["lr"], group["betas"], group["eps"], group["weight_decay"]
            for p in with_gradient(group):
                t = self.state[p]["t"] = self.state[p].get("t", 0) + 1
                m, v = (self.state[p].setdefault(name, torch.zeros_like(p)) for name in "mv")
                m.copy_(beta1 * m + (1 - beta1) * p.grad)
                v.copy_(beta2 * v + (1 - beta2) * p.grad**2)
                r = m / (1 - beta1**t) / ((v / (1 - beta2**t)).sqrt() + eps) + decay * p
                ratio = p.norm() / r.norm() if p.norm() > 0 and r.norm() > 0 else 1.0
                p -= lr * ratio * r


# As `--optimizer` names them, each with what PyTorch has for it.
OPTIMIZERS: dict[str, Callable[[Parameters, Options], torch.optim.Optimizer]] = {
    "sgd": lambda parameters, o: torch.optim.SGD(parameters, RATE, **renamed(o, {"momentum": 0.0, "weightDecay": 0.0})),
    "adam": lambda parameters, o: torch.optim.Adam(parameters, RATE, **adam(o, 0.0)),
    "lion": lambda parameters, o: Lion(
        parameters, RATE, (o.get("beta1", 0.9), o.get("beta2", 0.99)), o.get("weightDecay", 0.0)
    ),
    "adamw": lambda parameters, o: torch.optim.AdamW(parameters, RATE, **adam(o, 0.01)),
    "nadam": lambda parameters, o: torch.optim.NAdam(
        parameters, RATE, momentum_decay=o.get("momentumDecay", 4e-3), **adam(o, 0.0)
    ),
    "rmsprop": lambda parameters, o: torch.optim.RMSprop(parameters, RATE, **renamed(o, {})),
    "adagrad": lambda parameters, o: torch.optim.Adagrad(parameters, RATE, **renamed(o, {})),
    "adafactor": lambda parameters, o: torch.optim.Adafactor(
        parameters,
        RATE,
        beta2_decay=o.get("beta2Decay", -0.8),
        eps=(None, o.get("leastSize", 1e-3)),
        d=o.get("clip", 1.0),
        weight_decay=o.get("weightDecay", 0.0),
    ),
    "muon": lambda parameters, o: Muon(parameters, RATE, o),
    "lamb": lambda parameters, o: Lamb(parameters, RATE, **{**adam(o, 0.01), "eps": o.get("epsilon", 1e-6)}),
}

# Changes of gradients in front of an optimizer.
CLIPS: dict[str, Callable[[Parameters, Options], Any]] = {
    "clip-by-global-norm": lambda parameters, o: nn.utils.clip_grad_norm_(parameters, o["maxNorm"]),
    "clip-by-value": lambda parameters, o: nn.utils.clip_grad_value_(parameters, o["maxValue"]),
}

# Members of a chain with the options that are not defaults; the optimizer is the one of OPTIMIZERS.
CASES: list[dict[str, Options]] = [
    {"sgd": {}},
    {"sgd": {"weightDecay": 0.1}},
    {"sgd": {"momentum": 0.9}},
    {"sgd": {"momentum": 0.9, "weightDecay": 0.1}},
    {"sgd": {"momentum": 0.8, "dampening": 0.3}},
    {"sgd": {"momentum": 0.9, "nesterov": True, "weightDecay": 0.01}},
    {"adam": {}},
    {"adam": {"weightDecay": 0.1}},
    {"adamw": {"weightDecay": 0.1}},
    {"adamw": {"beta1": 0.8, "beta2": 0.95, "epsilon": 1e-6}},
    {"lion": {}},
    {"lion": {"beta1": 0.8, "beta2": 0.95, "weightDecay": 0.5}},
    {"nadam": {}},
    {"nadam": {"beta1": 0.8, "beta2": 0.95, "epsilon": 1e-6, "momentumDecay": 0.1, "weightDecay": 0.1}},
    {"rmsprop": {}},
    {"rmsprop": {"alpha": 0.9, "epsilon": 1e-4, "weightDecay": 0.1}},
    {"rmsprop": {"momentum": 0.9, "centered": True}},
    {"adagrad": {}},
    {"adagrad": {"initialSum": 0.1, "epsilon": 1e-4, "weightDecay": 0.1}},
    {"adafactor": {}},
    {"adafactor": {"beta2Decay": -0.5, "leastSize": 0.5, "clip": 1.05, "weightDecay": 0.1}},
    {"lamb": {}},
    {"muon": {}},
    {"muon": {"momentum": 0.8, "nesterov": False, "steps": 3, "matchAdam": False, "weightDecay": 0.3, "beta1": 0.8}},
    {"lamb": {"beta1": 0.8, "beta2": 0.95, "epsilon": 1e-3, "weightDecay": 0.3}},
    {"clip-by-value": {"maxValue": 0.3}, "lion": {}},
    {"clip-by-global-norm": {"maxNorm": 0.5}, "lion": {"weightDecay": 0.1}},
    {"clip-by-global-norm": {"maxNorm": 0.5}, "sgd": {}},
    {"clip-by-global-norm": {"maxNorm": 2.4}, "sgd": {"momentum": 0.9}},
    {"clip-by-global-norm": {"maxNorm": 100.0}, "adamw": {}},
    {"clip-by-global-norm": {"maxNorm": 1.5}, "clip-by-value": {"maxValue": 0.3}, "adamw": {}},
    {"clip-by-value": {"maxValue": 0.3}, "adamw": {}},
    {"clip-by-value": {"maxValue": 0.3}, "sgd": {"momentum": 0.9}},
    {"sgd": {"momentum": 0.9}, "average-weights": {"decay": 0.8}},
    {"adamw": {}, "average-equally": {"start": 3, "every": 2}},
]

# What groups of one parameter change: requires_grad is False for the updates that it is idle.
GROUPS: dict[str, Options] = {
    "fc.weight": {"learningRate": 0.004, "weightDecay": 0.2},
    "fc.bias": {"idle": 2, "weightDecay": 0.0},
    "scale": {"idle": 3, "learningRate": 0.03},
}
# The cases with these groups.
GROUPED: list[dict[str, Options]] = [
    {"sgd": {"momentum": 0.9, "nesterov": True, "weightDecay": 0.1}},
    {"sgd": {"momentum": 0.8, "dampening": 0.3}},
    {"adam": {"weightDecay": 0.1}},
    {"clip-by-global-norm": {"maxNorm": 0.5}, "adamw": {"weightDecay": 0.1}, "average-weights": {"decay": 0.8}},
    {"lion": {"weightDecay": 0.1}},
    {"nadam": {"momentumDecay": 0.1, "weightDecay": 0.1}},
    {"rmsprop": {"momentum": 0.9, "centered": True, "weightDecay": 0.1}},
    {"adagrad": {"weightDecay": 0.1}},
    {"adafactor": {"weightDecay": 0.1}},
    {"lamb": {"weightDecay": 0.1}},
    {"muon": {}},
]


def renamed(options: Options, defaults: Options) -> Options:
    """Options under PyTorch's names."""
    names = {"weightDecay": "weight_decay", "epsilon": "eps", "initialSum": "initial_accumulator_value"}
    return {names.get(name, name): value for name, value in {**defaults, **options}.items()}


def adam(options: Options, weight_decay: float) -> Options:
    beta1, beta2 = options.get("beta1", 0.9), options.get("beta2", 0.999)
    decay = options.get("weightDecay", weight_decay)
    return {"betas": (beta1, beta2), "eps": options.get("epsilon", 1e-8), "weight_decay": decay}


def block(name: str, shape: tuple[int, ...]) -> Tensor:
    return torch.from_numpy(lcg.uniform(name, shape)).double()


def numbers(tensor: Tensor) -> list[float]:
    return [rounded(value) for value in tensor.detach().flatten().tolist()]


# What follows an optimizer: the update after which averaging begins, how often, and PyTorch's function.
AVERAGES: dict[str, Callable[[Options], tuple[int, int, Any]]] = {
    "average-weights": lambda o: (1, 1, torch.optim.swa_utils.get_ema_multi_avg_fn(o["decay"])),
    "average-equally": lambda o: (o["start"], o["every"], torch.optim.swa_utils.get_swa_multi_avg_fn()),
}


def run(case: dict[str, Options], groups: dict[str, Options] = {}) -> list[Any]:
    """After each kept update: every parameter, and every average where the case keeps averages."""
    parameters = [nn.Parameter(block(f"optimizers.{name}", shape)) for name, shape in SHAPES.items()]
    [(kind, options)] = [(name, own) for name, own in case.items() if name in OPTIMIZERS]
    apart = [{"params": [p], **group(groups.get(name, {}))} for p, name in zip(parameters, SHAPES)]
    step_of = OPTIMIZERS[kind](apart if groups else parameters, options)
    [start, every, function] = next((AVERAGES[name](own) for name, own in case.items() if name in AVERAGES), (0, 0, None))
    model = nn.ParameterList(parameters)
    averaged = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=function)
    values = []
    for step in range(STEPS):
        for parameter, (name, shape) in zip(parameters, SHAPES.items()):
            idle = step < groups.get(name, {}).get("idle", 0)
            parameter.grad = None if idle else block(f"optimizers.{name}.gradient.{step}", shape)
        for name, own in case.items():
            if name in CLIPS:
                CLIPS[name](parameters, own)
        step_of.step()
        found = {"parameters": [numbers(parameter) for parameter in parameters]}
        if function is not None:
            past = step + 1 - start
            if past >= 0 and past % every == 0:
                averaged.update_parameters(model)
            # Before it begins, a run has no average but its weights.
            found["averages"] = [numbers(one) for one in (averaged.module if past >= 0 else model)]
        if step + 1 in KEPT:
            values.append(found)
    return values


def group(own: Options) -> Options:
    """The settings of a group under PyTorch's names, and under those of the classes here."""
    rate = {"lr": own["learningRate"]} if "learningRate" in own else {}
    return {**rate, **({"weight_decay": own["weightDecay"], "weightDecay": own["weightDecay"]} if "weightDecay" in own else {})}


def chain(case: dict[str, Options]) -> list[Options]:
    return [{"name": name, "options": own} for name, own in case.items()]


def main() -> None:
    # PyTorch keeps scalars of some optimizers in this type.
    torch.set_default_dtype(torch.float64)
    write_json(FILE, {
        "made": {"script": "scripts/oracles/optimizers.py", "torch": torch.__version__},
        "steps": STEPS, "kept": KEPT, "learningRate": RATE, "shapes": {name: list(shape) for name, shape in SHAPES.items()},
        "cases": [
            {"chain": chain(case), "values": run(case)} for case in CASES
        ] + [
            {"chain": chain(case), "grouped": True, "values": run(case, GROUPS)} for case in GROUPED
        ],
        "groups": GROUPS,
    })  # fmt: skip


if __name__ == "__main__":
    main()
