"""The networks of test/fixtures/official: small ones, and one for each case in which a wrong gradient is easily chosen.

forward(x) returns the logits, responses(x) the logits and the responses that SOM acts on, in the order of the layers.
Weights and data come from scripts/oracles/lcg.py, so that the tests make the same batches without a file.
"""

import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

sys.path.insert(0, str(Path(__file__).parent.parent / "oracles"))
from lcg import labels, uniform  # noqa: E402

CLASSES = 5


class Network(nn.Module):
    shape: tuple[int, ...]
    frozen: tuple[str, ...] = ()

    def forward(self, x):
        return self.responses(x)[0]

    def fill(self, name):
        """Gives every parameter its own weights, and running statistics that are neither 0 nor 1."""
        for key, value in self.state_dict().items():
            if key.endswith("num_batches_tracked"):
                continue
            block = torch.tensor(uniform(f"{name}/{key}", value.shape, 0.4))
            spread = "running_var" in key or (value.dim() == 1 and key.endswith("weight"))
            value.copy_(1 + 0.5 * block if spread else block)
        return self


class Mlp(Network):
    shape = (16, 20)

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(20, 16), nn.Linear(16, 12), nn.Linear(12, CLASSES)

    def responses(self, x):
        y1 = self.a(x)
        y2 = self.b(F.relu(y1))
        y3 = self.c(F.relu(y2))
        return y3, [y1, y2, y3]


class Cnn(Network):
    shape = (8, 3, 8, 8)

    def __init__(self):
        super().__init__()
        self.c1, self.b1 = nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.c2, self.b2 = nn.Conv2d(6, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.f = nn.Linear(8, CLASSES)

    def responses(self, x):
        y1 = self.c1(x)
        y2 = self.c2(F.max_pool2d(F.relu(self.b1(y1)), 2))
        y3 = self.f(F.adaptive_avg_pool2d(F.relu(self.b2(y2)), 1).flatten(1))
        return y3, [y1, y2, y3]


class Residual(Network):
    """The first convolution has three readers; the gate is x·sigmoid(x), which the official tool fuses."""

    shape = (8, 3, 8, 8)

    def __init__(self):
        super().__init__()
        self.c1, self.c2 = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.b2, self.c3, self.f = nn.BatchNorm2d(6), nn.Conv2d(6, 6, 1), nn.Linear(6, CLASSES)

    def responses(self, x):
        y1 = self.c1(x)
        y2 = self.c2(F.relu(y1))
        h = F.relu(self.b2(y2) + y1) + 0.1 * torch.sigmoid(y1)
        y3 = self.c3(h)
        y4 = self.f(F.adaptive_avg_pool2d(h + y3 * torch.sigmoid(y3), 1).flatten(1))
        return y4, [y1, y2, y3, y4]


class Shared(Network):
    """Two layers that share a weight."""

    shape = (6, 8)

    def __init__(self):
        super().__init__()
        self.a, self.c = nn.Linear(8, 8), nn.Linear(8, CLASSES)

    def responses(self, x):
        y1 = self.a(x)
        y2 = self.a(F.relu(y1))
        y3 = self.c(torch.tanh(y2))
        return y3, [y1, y2, y3]


class FrozenFirst(Mlp):
    shape = (6, 20)
    frozen = ("a.weight", "a.bias")


class FrozenMiddle(Mlp):
    shape = (6, 20)
    frozen = ("b.weight", "b.bias")


class BiasOnly(Mlp):
    shape = (6, 20)
    frozen = ("a.weight", "b.weight", "c.weight")


class Transposed(Network):
    """Gemm with alpha and beta, both operands transposed."""

    shape = (6, 8)

    def __init__(self):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.empty(8, 7)), nn.Parameter(torch.empty(7))
        self.c = nn.Linear(7, CLASSES)

    def responses(self, x):
        y1 = torch.addmm(self.bias, x, self.weight, beta=0.5, alpha=2.0)
        y2 = self.c(torch.relu(y1))
        return y2, [y1, y2]


class MatMulAdd(Network):
    """Linear layers on sequences: MatMul and Add."""

    shape = (4, 3, 8)

    def __init__(self):
        super().__init__()
        self.a, self.c = nn.Linear(8, 7), nn.Linear(7, CLASSES)

    def responses(self, x):
        y1 = self.a(x)
        y2 = self.c(torch.relu(y1).mean(1))
        return y2, [y1, y2]


class Gelu(Network):
    """The official tool fuses the operators of an exported GELU."""

    shape = (6, 8)

    def __init__(self):
        super().__init__()
        self.a, self.c = nn.Linear(8, 7), nn.Linear(7, CLASSES)

    def responses(self, x):
        y1 = self.a(x)
        y2 = self.c(F.gelu(y1))
        return y2, [y1, y2]


class QuickGelu(Gelu):
    def responses(self, x):
        y1 = self.a(x)
        y2 = self.c(y1 * torch.sigmoid(1.702 * y1))
        return y2, [y1, y2]


class Twice(Gelu):
    """A node that reads the same value twice."""

    def responses(self, x):
        y1 = self.a(x)
        y2 = self.c(y1 * y1)
        return y2, [y1, y2]


class Auxiliary(Gelu):
    """A second head on an inner layer."""

    def __init__(self):
        super().__init__()
        self.d = nn.Linear(7, CLASSES)

    def responses(self, x):
        y1 = self.a(x)
        y2, y3 = self.c(torch.relu(y1)), self.d(y1)
        return y2 + 0.3 * y3, [y1, y2, y3]


NETWORKS = {"mlp": Mlp, "cnn": Cnn, "residual": Residual}
CASES = {
    "shared": Shared,
    "frozen-first": FrozenFirst,
    "frozen-middle": FrozenMiddle,
    "bias-only": BiasOnly,
    "transposed": Transposed,
    "matmul-add": MatMulAdd,
    "gelu": Gelu,
    "quick-gelu": QuickGelu,
    "twice": Twice,
    "auxiliary": Auxiliary,
}


def batch(name, shape, index):
    """Batch number `index` of a network: x as float64, labels."""
    x = torch.tensor(uniform(f"{name}/x/{index}", shape, 1.7), dtype=torch.float64)
    return x, torch.tensor(labels(f"{name}/y/{index}", shape[0], CLASSES))


def som(y, channels_first):
    """SOM with its default options (lambda1 100, lambda2 1, gamma 10, mean), as src/penalties/som-reference.ts."""
    rows = y.movedim(1, -1) if channels_first else y
    t = torch.tanh(10 * rows.reshape(-1, rows.shape[-1]))
    gram = t.T @ t
    energy = gram.diagonal()
    inverse = (energy > 1e-6) / torch.sqrt(energy + 1e-6)
    cosines = gram * inverse[:, None] * inverse[None, :]
    units = len(energy)
    pairs = cosines[~torch.eye(units, dtype=torch.bool)]
    return 100 * pairs.mean() ** 2 + pairs.square().mean()
