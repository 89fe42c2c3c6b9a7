"""What PyTorch modules for the export are made of, and the table of them."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

MODULES: dict[str, Callable[[], tuple[nn.Module, tuple[Tensor, ...]]]] = {}


def case(build: Callable[[], tuple[nn.Module, tuple[Tensor, ...]]]):
    MODULES[build.__name__.replace("_", "-")] = build
    return build


class Own(nn.Module):
    """A module of single parameters and buffers, and a function of them."""

    def __init__(self, forward: Callable[..., Tensor], parameters: dict[str, Tensor] = {}, buffers: dict[str, Tensor] = {}, **modules: nn.Module):
        super().__init__()
        for name, value in parameters.items():
            setattr(self, name, nn.Parameter(value))
        for name, value in buffers.items():
            self.register_buffer(name, value)
        for name, module in modules.items():
            setattr(self, name, module)
        self.function = forward

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(self, *inputs)


class Net(nn.Module):
    """A module between two linear layers, at a path that is usual in networks."""

    def __init__(self, block: nn.Module, first: nn.Module, head: nn.Module):
        super().__init__()
        self.stem, self.blocks, self.head = first, nn.Sequential(block), head

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(x)))


def tokens(block: nn.Module, width: int = 4, out: int = 3):
    """[batch 2, 5 tokens, 6 features]."""
    return Net(block, nn.Linear(6, width), nn.Linear(out if out != 3 else width, 3)), (torch.randn(2, 5, 6),)


def image(block: nn.Module, channels: int = 4, after: int = 4):
    """[batch 2, 3 channels, 6 × 6]."""
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(after, 3))
    return Net(block, nn.Conv2d(3, channels, 3, padding=1), head), (torch.randn(2, 3, 6, 6),)


R = torch.randn
