"""Writes test/fixtures/batch-norm: a network with BatchNorm as PyTorch exports it, folded, and PyTorch's figures for the recovered one.

The running statistics are those of the samples, so the scales and biases of its BatchNorm can be found again from the folded
file: the mean of a folded layer's result is the bias, its deviation the magnitude of the scale. PyTorch starts from these and takes ten
steps of SGD with momentum and of AdamW in float64, BatchNorm in training form.

Run: npm run python -- scripts/oracles/batch_norm.py
"""

import copy
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

import lcg
from summary import rounded, write_json

FOLDER = Path(__file__).parents[2] / "test" / "fixtures" / "batch-norm"
SAMPLES, BATCH, STEPS = 24, 8, 10
OPTIMIZERS = {"sgd": (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}), "adamw": (torch.optim.AdamW, {"lr": 0.01})}


def network() -> nn.Sequential:
    """A convolution without a bias, a depthwise one with a bias, and a classifier of three classes."""
    torch.manual_seed(0)
    depthwise = nn.Conv2d(4, 4, 3, groups=4)
    layers = [nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), depthwise, nn.BatchNorm2d(4), nn.ReLU()]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    for norm in (model[1], model[4]):
        # A negative scale too: folding moves its sign into the weights.
        norm.weight.data = torch.tensor([0.7, -1.2, 1.6, 0.9])
        norm.bias.data.normal_(0, 0.4)
    return model


def measured(model: nn.Sequential, x: Tensor, layer: int) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of a layer's result over all samples and positions."""
    y = model[: layer + 1](x)
    return y.mean((0, 2, 3)), y.var((0, 2, 3), unbiased=False)


def folded(model: nn.Sequential) -> nn.Sequential:
    """The network as the exporter's file has it."""
    changed = copy.deepcopy(model).eval()
    for layer in (0, 3):
        changed[layer] = fuse_conv_bn_eval(changed[layer], changed[layer + 1])
        changed[layer + 1] = nn.Identity()
    return changed


def recovered(model: nn.Sequential, x: Tensor) -> nn.Sequential:
    """The folded network with BatchNorm from its statistics on the samples; the layers have lost their biases."""
    changed = copy.deepcopy(model)
    for layer in (0, 3):
        mean, variance = measured(model, x, layer)
        norm = nn.BatchNorm2d(4).double()
        norm.running_mean, norm.running_var = mean - model[layer].bias, variance
        norm.weight.data, norm.bias.data = (variance + norm.eps).sqrt(), mean
        changed[layer].bias, changed[layer + 1] = None, norm
    return changed.requires_grad_()


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    x = torch.from_numpy(lcg.uniform("batch-norm.x", (SAMPLES, 2, 6, 6), 2)).double()
    labels = torch.arange(SAMPLES) % 3
    model = network().double()
    with torch.no_grad():
        for layer in (0, 3):
            norm = model[layer + 1].eval()
            norm.running_mean, norm.running_var = measured(model, x, layer)
    path = FOLDER / "folded.onnx"
    options = {"dynamic_axes": {"x": {0: "batch"}, "y": {0: "batch"}}, "input_names": ["x"], "output_names": ["y"]}
    torch.onnx.export(copy.deepcopy(model).float().eval(), (x[:2].float(),), path, dynamo=False, **options)
    loss = nn.CrossEntropyLoss()
    with torch.no_grad():
        base = folded(model)
        first = loss(copy.deepcopy(model).train()(x[:BATCH]), labels[:BATCH]).item()
        start = recovered(base, x)
    runs = {}
    for name, (make, settings) in OPTIMIZERS.items():
        trained = copy.deepcopy(start).train()
        optimizer, losses = make(trained.parameters(), **settings), []
        for step in range(STEPS):
            batch = slice(step % 3 * BATCH, step % 3 * BATCH + BATCH)
            optimizer.zero_grad()
            value = loss(trained(x[batch]), labels[batch])
            value.backward()
            optimizer.step()
            losses.append(rounded(value.item()))
        runs[name] = {**settings, "losses": losses}
    numbers = lambda tensor: [rounded(value) for value in tensor.tolist()]  # noqa: E731
    norms = [
        {"scale": numbers(model[i].weight), "bias": numbers(model[i].bias), "variance": numbers(model[i].running_var)}
        for i in (1, 4)
    ]
    figures = {"samples": SAMPLES, "batch": BATCH, "network": norms, "firstLoss": rounded(first), "runs": runs}
    write_json(FOLDER / "figures.json", figures)


if __name__ == "__main__":
    main()
