"""Prepares networks for comparison: numbers that distinguish parameters, a loss, and PyTorch's results."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn

NORMALIZATIONS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
RATES = ("p", "drop_prob", "drop_rate", "dropout", "attn_dropout_p")


class WithLoss(nn.Module):
    """The mean squared distance of every float output from a target; targets are the inputs behind the network's own."""

    def __init__(self, net: nn.Module, inputs: int, undetached: bool = False) -> None:
        super().__init__()
        self.net, self.inputs, self.undetached = net, inputs, undetached

    def forward(self, *values: Tensor) -> Tensor:
        with without_detach() if self.undetached else nullcontext():
            outputs = float_outputs(self.net(*values[: self.inputs]))
        return sum(((y - t) ** 2).mean() for y, t in zip(outputs, values[self.inputs :], strict=True))


@contextmanager
def without_detach() -> Iterator[None]:
    """Lets gradients pass where a network calls detach."""
    with patch.object(Tensor, "detach", lambda tensor: tensor):
        yield


def float_outputs(result) -> list[Tensor]:
    if isinstance(result, Tensor):
        return [result] if result.is_floating_point() else []
    values = result.values() if isinstance(result, dict) else result if isinstance(result, (list, tuple)) else ()
    return [output for value in values for output in float_outputs(value)]


def without_dropout(net: nn.Module) -> nn.Module:
    """Sets every rate of dropout and stochastic depth to 0, in place."""
    for module in net.modules():
        for name in RATES:
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)
    return net


@torch.no_grad()
def scramble(net: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    """Gives every parameter unique numbers, and statistics that fit the data but are not those of this batch.

    Untrained networks hold many equal tensors (scales of 1, biases of 0), which exporters store once, and zeros behind
    which no gradient flows. Afterwards no two numbers of all parameters are equal, so that a parameter is recognised in
    an export by its numbers, whatever its name and layout there.
    """
    for parameter in net.parameters():
        if parameter.numel() == 1 or parameter.std() < 1e-3:
            parameter.add_(0.1 * torch.randn_like(parameter))
        # Offsets of deformable attention begin at numbers that other constants hold too, such as 1 and 0.5.
        elif (parameter * 8 == (parameter * 8).round()).any():
            parameter.add_(0.01 * torch.randn_like(parameter))
    norms = [module for module in net.modules() if isinstance(module, NORMALIZATIONS) and module.track_running_stats]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    net.train()(*inputs)
    for norm, momentum in zip(norms, momenta):
        norm.momentum = momentum
        norm.running_mean.add_(0.05 * torch.randn_like(norm.running_mean))
        norm.running_var.mul_(1 + 0.2 * torch.rand_like(norm.running_var)).add_(1e-3)
    make_unique([parameter for parameter in net.parameters() if parameter.is_floating_point()])


def make_unique(tensors: list[Tensor]) -> None:
    """Changes duplicate numbers slightly until all are unique."""
    values = np.concatenate([tensor.detach().numpy().ravel() for tensor in tensors])
    random, step = np.random.default_rng(0), 1e-2 * values.std()
    while True:
        order = np.argsort(values, kind="stable")
        twins = order[1:][values[order][1:] == values[order][:-1]]
        if twins.size == 0:
            break
        values[twins] += (step * random.standard_normal(twins.size)).astype(np.float32)
    start = 0
    for tensor in tensors:
        tensor.copy_(torch.from_numpy(values[start : start + tensor.numel()]).view_as(tensor))
        start += tensor.numel()


def as_double(values: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(value.double() if value.is_floating_point() else value for value in values)


def gradients(loss: WithLoss, values: tuple[Tensor, ...], *, train: bool, double: bool) -> tuple[float, dict[str, Tensor]]:
    """The loss and the gradient of every parameter that it depends on, by the network's names."""
    loss = copy.deepcopy(loss).train(train)
    if double:
        loss, values = loss.double(), as_double(values)
    for parameter in loss.parameters():
        parameter.requires_grad_(True)
    result = loss(*values)
    result.backward()
    found = {name: p.grad for name, p in loss.net.named_parameters() if p.grad is not None}
    return float(result), found


def folded(loss: WithLoss, values: tuple[Tensor, ...]) -> tuple[WithLoss, dict[str, list[str]]]:
    """The network with every BatchNorm folded into the layer before it, as exporters do in inference mode.

    Also the parameters that each folded one stands for. Nothing is folded where others read the layer's output too.
    """
    loss = copy.deepcopy(loss).eval()
    pairs = pairs_of(loss, values)
    candidate, stands_for = with_folds(loss, pairs)
    if unchanged(loss, candidate, values):
        return candidate, stands_for
    kept = [pair for pair in pairs if unchanged(loss, with_folds(loss, [pair])[0], values)]
    return with_folds(loss, kept)


@torch.no_grad()
def unchanged(loss: WithLoss, other: WithLoss, values: tuple[Tensor, ...]) -> bool:
    before, after = float(loss(*values)), float(other(*values))
    return abs(after / before - 1) < 1e-5


@torch.no_grad()
def pairs_of(loss: WithLoss, values: tuple[Tensor, ...]) -> list[tuple[str, str]]:
    """Names of layers and of the BatchNorms that read their output."""
    names = {module: name for name, module in loss.net.named_modules()}
    makers: dict[int, nn.Module] = {}
    kept: list[Tensor] = []
    pairs: list[tuple[str, str]] = []

    def watch(module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:
        if not isinstance(module, NORMALIZATIONS):
            makers[id(output)] = module
            kept.append(output)
        elif module.track_running_stats and id(arguments[0]) in makers:
            pairs.append((names[makers[id(arguments[0])]], names[module]))

    watched = (*CONVOLUTIONS, nn.Linear, *NORMALIZATIONS)
    hooks = [module.register_forward_hook(watch) for module in names if isinstance(module, watched)]
    loss(*values)
    for hook in hooks:
        hook.remove()
    layers = [layer for layer, _ in pairs]
    return [(layer, norm) for layer, norm in pairs if layers.count(layer) == 1]


def with_folds(loss: WithLoss, pairs: list[tuple[str, str]]) -> tuple[WithLoss, dict[str, list[str]]]:
    loss = copy.deepcopy(loss)
    stands_for: dict[str, list[str]] = {}
    for path, norm_path in pairs:
        layer, norm = loss.net.get_submodule(path), loss.net.get_submodule(norm_path)
        merged = fuse(layer, norm)
        sources = [f"{name}.{p}" for name, m in ((path, layer), (norm_path, norm)) for p, _ in m.named_parameters()]
        stands_for |= {f"{path}.{parameter}": sources for parameter, _ in merged.named_parameters()}
        parent, _, name = path.rpartition(".")
        setattr(loss.net.get_submodule(parent), name, merged)
        neutralize(norm)
    return loss, stands_for


@torch.no_grad()
def fuse(layer: nn.Module, norm: nn.Module) -> nn.Module:
    """The layer with the following BatchNorm folded in, in the exporters' order of operations, equal to the last bit."""
    merged = copy.deepcopy(layer)
    scale = (1 if norm.weight is None else norm.weight) / torch.sqrt(norm.running_var + norm.eps)
    weight = layer.weight
    if getattr(layer, "transposed", False):
        # [inputs, outputs of a group, …], and the groups follow each other on the axis of inputs.
        blocks = weight.view(layer.groups, weight.shape[0] // layer.groups, weight.shape[1], -1)
        scaled = (blocks * scale.view(layer.groups, 1, -1, 1)).view_as(weight)
    else:
        scaled = weight * scale.view(-1, *[1] * (weight.ndim - 1))
    merged.weight = nn.Parameter(scaled)
    bias = 0 if layer.bias is None else layer.bias
    shift = 0 if norm.bias is None else norm.bias
    merged.bias = nn.Parameter((bias - norm.running_mean) * scale + shift)
    return merged


@torch.no_grad()
def neutralize(norm: nn.Module) -> None:
    """Turns a BatchNorm into an identity. It stays in place, because some modules also apply an activation."""
    norm.running_mean.zero_()
    norm.running_var.fill_(1 - norm.eps)
    if norm.affine:
        norm.weight.fill_(1)
        norm.bias.zero_()


def parameters_of(net: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for name, parameter in net.named_parameters():
        if parameter.is_floating_point():
            yield name, parameter.detach()
