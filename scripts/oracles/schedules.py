"""Writes test/fixtures/schedules.json: learning rates over whole runs by PyTorch's schedulers and those of Hugging Face's `TrainingArguments`.

Run: npm run python -- scripts/oracles/schedules.py
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from torch.optim import lr_scheduler as schedulers

import lcg
from summary import rounded, write_json

FIXTURE = Path(__file__).parents[2] / "test" / "fixtures" / "schedules.json"
STEPS, PER_EPOCH = 60, 10
LOSSES = [2.0, 1.5, 1.49999, 1.6, 1.4, 1.41, 1.42, 1.43, 1.2, 1.3, 1.31, 1.25, 1.26, 1.19, 1.21, 1.22, float("nan"), 1.23, 1.1, 1.1]
WARMUP = 8

Make = Callable[[torch.optim.Optimizer], Any]


def optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.zeros(1, dtype=torch.float64, requires_grad=True)], lr=1.0, momentum=0.9)


def rates(make: Make, *, every: int = 1, steps: int = STEPS) -> list[float]:
    """The rate of each step, when the scheduler steps once in `every` of them."""
    own = optimizer()
    scheduler = make(own)
    found = []
    for step in range(1, steps + 1):
        found.append(rounded(own.param_groups[0]["lr"]))
        own.step()
        if step % every == 0 and step < steps:
            scheduler.step()
    return found


def behind_warmup(make: Make) -> Make:
    def both(own: torch.optim.Optimizer) -> Any:
        rise = schedulers.LinearLR(own, start_factor=1 / WARMUP, total_iters=WARMUP - 1)
        return schedulers.SequentialLR(own, [rise, make(own)], milestones=[WARMUP])

    return both


def plateau(**options: Any) -> list[float]:
    """The rate of each epoch."""
    own = optimizer()
    scheduler = schedulers.ReduceLROnPlateau(own, eps=0, **options)
    found = []
    for loss in LOSSES:
        found.append(rounded(own.param_groups[0]["lr"]))
        scheduler.step(loss)
    return [*found, rounded(own.param_groups[0]["lr"])]


def one_cycle(**options: Any) -> Make:
    return lambda own: schedulers.OneCycleLR(own, max_lr=1.0, total_steps=STEPS, cycle_momentum=False, **options)


def momenta(make_optimizer: type[torch.optim.Optimizer], **options: Any) -> list[float]:
    """The momentum of each step, Adam's beta1."""
    own = make_optimizer([torch.zeros(1, dtype=torch.float64, requires_grad=True)], lr=1.0)
    scheduler = schedulers.OneCycleLR(own, max_lr=1.0, total_steps=STEPS, **options)
    found = []
    for step in range(1, STEPS + 1):
        group = own.param_groups[0]
        found.append(rounded(group["betas"][0] if "betas" in group else group["momentum"]))
        own.step()
        if step < STEPS:
            scheduler.step()
    return found


def cycled(name: str) -> list[float]:
    """Losses of 24 updates while the momentum moves."""
    start, target = lcg.uniform("cycled", [6], 1), lcg.uniform("cycled.target", [6], 1)
    weight = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    makes = {
        "sgd": lambda: torch.optim.SGD([weight], lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
        "adam": lambda: torch.optim.Adam([weight], lr=0.1),
        "adamw": lambda: torch.optim.AdamW([weight], lr=0.1),
    }
    own = makes[name]()
    scheduler = schedulers.OneCycleLR(own, max_lr=0.1, total_steps=24, base_momentum=0.7)
    found = []
    for step in range(24):
        own.zero_grad()
        loss = ((weight - torch.tensor(target, dtype=torch.float64)) ** 2).mean()
        loss.backward()
        own.step()
        if step < 23:
            scheduler.step()
        found.append(rounded(loss.item()))
    return found


def hugging_face(kind: str, warmup: int = WARMUP, **options: Any) -> Make:
    return lambda own: transformers.get_scheduler(kind, own, warmup, STEPS, scheduler_specific_kwargs=options)


def main() -> None:
    rest = STEPS - WARMUP
    by_step: dict[str, Make] = {
        "constant:warmup=8": behind_warmup(lambda own: schedulers.ConstantLR(own, factor=1)),
        "warmup:steps=8": lambda own: schedulers.LinearLR(own, start_factor=1 / WARMUP, total_iters=WARMUP - 1),
        "cosine:floor=0.1": lambda own: schedulers.CosineAnnealingLR(own, T_max=STEPS, eta_min=0.1),
        "cosine:warmup=8": behind_warmup(lambda own: schedulers.CosineAnnealingLR(own, T_max=rest)),
        "cosine-restarts:period=7": lambda own: schedulers.CosineAnnealingWarmRestarts(own, T_0=7),
        "cosine-restarts:period=10%,growth=2,floor=0.05": lambda own: schedulers.CosineAnnealingWarmRestarts(own, T_0=6, T_mult=2, eta_min=0.05),
        "cosine-restarts:period=1ep,growth=3,warmup=8": behind_warmup(lambda own: schedulers.CosineAnnealingWarmRestarts(own, T_0=10, T_mult=3)),
        "one-cycle": one_cycle(),
        "one-cycle:anneal=linear,pct-start=0.25,div-factor=10,final-div-factor=100": one_cycle(anneal_strategy="linear", pct_start=0.25, div_factor=10, final_div_factor=100),
        "one-cycle:three-phase=true,pct-start=0.35": one_cycle(three_phase=True, pct_start=0.35),
        "polynomial:power=2": lambda own: schedulers.PolynomialLR(own, total_iters=STEPS, power=2),
        "polynomial:power=0.5,steps=25,warmup=8": behind_warmup(lambda own: schedulers.PolynomialLR(own, total_iters=25, power=0.5)),
        "linear": lambda own: transformers.get_linear_schedule_with_warmup(own, 0, STEPS),
        "linear:warmup=8": behind_warmup(lambda own: transformers.get_linear_schedule_with_warmup(own, 0, rest)),
        "linear:floor=0.2": lambda own: schedulers.LinearLR(own, start_factor=1.0, end_factor=0.2, total_iters=STEPS),
        "exponential:factor=0.97,every=1": lambda own: schedulers.ExponentialLR(own, gamma=0.97),
        "step:every=7,factor=0.5": lambda own: schedulers.StepLR(own, step_size=7, gamma=0.5),
        "step:every=7,factor=0.5,warmup=8": behind_warmup(lambda own: schedulers.StepLR(own, step_size=7, gamma=0.5)),
        "milestones:at=12/30/31,factor=0.3": lambda own: schedulers.MultiStepLR(own, milestones=[12, 30, 31], gamma=0.3),
        "milestones:at=12/30,warmup=8": behind_warmup(lambda own: schedulers.MultiStepLR(own, milestones=[12, 30])),
        "linear:warmup=8,warmup-start=0": hugging_face("linear"),
        "cosine:warmup=8,warmup-start=0": hugging_face("cosine"),
        "cosine-restarts:period=26,warmup=8,warmup-start=0": hugging_face("cosine_with_restarts", num_cycles=2),
        "cosine:warmup=8,warmup-start=0,floor=0.1": hugging_face("cosine_with_min_lr", min_lr_rate=0.1),
        "polynomial:floor=1e-7,warmup=8,warmup-start=0": hugging_face("polynomial"),
        "constant:warmup=8,warmup-start=0": hugging_face("constant_with_warmup"),
        "constant:warmup=8,warmup-start=0.25": lambda own: schedulers.LinearLR(own, start_factor=0.25, total_iters=WARMUP),
        "inverse-sqrt:warmup=8,warmup-start=0": hugging_face("inverse_sqrt"),
        "inverse-sqrt:warmup=8,warmup-start=0,timescale=20": hugging_face("inverse_sqrt", timescale=20),
        "inverse-sqrt": hugging_face("inverse_sqrt", warmup=0),
        "stable-decay:decay=15,warmup=8,warmup-start=0": hugging_face("warmup_stable_decay", num_decay_steps=15, decay_type="linear"),
        "stable-decay:decay=25%,curve=cosine,floor=0.1": hugging_face("warmup_stable_decay", warmup=0, num_decay_steps=15, min_lr_ratio=0.1),
        "stable-decay:decay=15,curve=1-sqrt,floor=0.1": hugging_face("warmup_stable_decay", warmup=0, num_decay_steps=15, decay_type="1-sqrt", min_lr_ratio=0.1),
    }  # fmt: skip
    by_epoch: dict[str, Make] = {
        "exponential:factor=0.8": lambda own: schedulers.ExponentialLR(own, gamma=0.8),
        "step:every=2ep,factor=0.5": lambda own: schedulers.StepLR(own, step_size=2, gamma=0.5),
        "milestones:at=1ep/4ep": lambda own: schedulers.MultiStepLR(own, milestones=[1, 4]),
    }
    plateaus: dict[str, dict[str, Any]] = {
        "plateau:patience=1": {"patience": 1},
        "plateau:patience=0,factor=0.5,cooldown=2": {"patience": 0, "factor": 0.5, "cooldown": 2},
        "plateau:patience=1,threshold=0.05,floor=0.03": {"patience": 1, "threshold": 0.05, "min_lr": 0.03},
        "plateau:patience=2,threshold=0.05,threshold-mode=abs": {"patience": 2, "threshold": 0.05, "threshold_mode": "abs"},
        "plateau:mode=max,patience=1": {"mode": "max", "patience": 1},
        "plateau:mode=max,patience=0,threshold=0.05,factor=0.5": {"mode": "max", "patience": 0, "threshold": 0.05, "factor": 0.5},
        "plateau:mode=max,patience=1,threshold=0.05,threshold-mode=abs,cooldown=1": {"mode": "max", "patience": 1, "threshold": 0.05, "threshold_mode": "abs", "cooldown": 1},
        "plateau:patience=2,threshold=0": {"patience": 2, "threshold": 0.0},
    }  # fmt: skip
    fixture = {
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "steps": STEPS,
        "stepsPerEpoch": PER_EPOCH,
        "factors": {
            **{name: rates(make) for name, make in by_step.items()},
            **{name: rates(make, every=PER_EPOCH) for name, make in by_epoch.items()},
        },
        "momenta": {
            "one-cycle:cycle-momentum=true": momenta(torch.optim.SGD),
            "one-cycle:cycle-momentum=true,anneal=linear,base-momentum=0.7,max-momentum=0.99,pct-start=0.25": momenta(
                torch.optim.Adam, anneal_strategy="linear", base_momentum=0.7, max_momentum=0.99, pct_start=0.25
            ),
            "one-cycle:cycle-momentum=true,three-phase=true": momenta(torch.optim.SGD, three_phase=True),
        },
        "cycled": {name: cycled(name) for name in ("sgd", "adam", "adamw")},
        "losses": [None if loss != loss else loss for loss in LOSSES],
        "plateaus": {name: plateau(**options) for name, options in plateaus.items()},
    }
    write_json(FIXTURE, fixture)


if __name__ == "__main__":
    main()
