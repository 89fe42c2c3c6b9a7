"""Small networks that are exported as fixtures, one for each form in which exporters write common layers.

`input_shape` is that of one sample; `folds` maps a layer to the BatchNorm that exporters fold into it.
"""

from math import prod, sqrt

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import lcg

CLASSES = 5


class Mlp(nn.Module):
    input_shape = (12,)

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(12, 20), nn.Linear(20, 16), nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x)))))


class LayerNormMlp(nn.Module):
    """Sequences [N, T, C]: Linear becomes MatMul + Add here, not Gemm."""

    input_shape = (6, 10)

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.norm1 = nn.Linear(10, 16), nn.LayerNorm(16)
        self.hidden, self.norm2 = nn.Linear(16, 16, bias=False), nn.LayerNorm(16)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(self.embed(x))
        y = y + F.gelu(self.hidden(y))
        return self.head(self.norm2(y).mean(1))


class Cnn(nn.Module):
    input_shape = (3, 8, 8)
    folds = {"conv1": "bn1", "conv2": "bn2"}

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 10, 3, padding=1), nn.BatchNorm2d(10)
        self.fc = nn.Linear(10, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        y = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 2)
        y = F.relu(self.bn2(self.conv2(y)))
        return self.fc(y.mean((2, 3)))


class Resnet(nn.Module):
    """A plain block and a strided one with a projection shortcut."""

    input_shape = (3, 8, 8)
    folds = {"stem": "bn", "conv1": "bn1", "conv2": "bn2", "short": "bn3"}

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.bn = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.conv1, self.bn1 = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8)
        self.short, self.bn3 = nn.Conv2d(8, 8, 1, stride=2, bias=False), nn.BatchNorm2d(8)
        self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn(self.stem(x)))
        y = y + F.relu(self.bn1(self.conv1(y)))
        y = F.relu(self.bn2(self.conv2(y)) + self.bn3(self.short(y)))
        return self.fc(torch.flatten(self.pool(y), 1))


class Mobilenet(nn.Module):
    """An inverted residual: expansion, strided depthwise convolution, projection, with ReLU6."""

    input_shape = (3, 10, 10)
    folds = {"stem": "bn0", "expand": "bn1", "depthwise": "bn2", "project": "bn3"}

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.bn0 = nn.Conv2d(3, 6, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(6)
        self.expand, self.bn1 = nn.Conv2d(6, 18, 1, bias=False), nn.BatchNorm2d(18)
        self.depthwise = nn.Conv2d(18, 18, 3, padding=1, groups=18, bias=False)
        self.bn2 = nn.BatchNorm2d(18)
        self.project, self.bn3 = nn.Conv2d(18, 6, 1, bias=False), nn.BatchNorm2d(6)
        self.act, self.fc = nn.ReLU6(), nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(4 * self.bn0(self.stem(x)))
        z = self.act(self.bn2(self.depthwise(self.act(self.bn1(self.expand(y))))))
        y = y + self.bn3(self.project(z))
        return self.fc(F.adaptive_avg_pool2d(y, 1).flatten(1))


class Densenet(nn.Module):
    """BatchNorm before the activation and the convolution, outputs joined along the channels."""

    input_shape = (4, 6, 6)

    def __init__(self) -> None:
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(4), nn.Conv2d(4, 6, 3, padding=1, bias=False)
        self.bn2, self.conv2 = nn.BatchNorm2d(10), nn.Conv2d(10, 6, 3, padding=1, bias=False)
        self.bn3, self.down = nn.BatchNorm2d(16), nn.Conv2d(16, 8, 1)
        self.fc = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([x, self.conv1(F.relu(self.bn1(x)))], 1)
        x = torch.cat([x, self.conv2(F.relu(self.bn2(x)))], 1)
        x = F.avg_pool2d(self.down(F.relu(self.bn3(x))), 2)
        return self.fc(F.relu(x).mean((2, 3)))


class Pointnet(nn.Module):
    """Shared layers on each point (Conv1d), the largest response over the points, a classifier."""

    input_shape = (3, 24)
    folds = {"conv1": "bn1", "conv2": "bn2", "fc1": "bn3"}

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv1d(3, 12, 1), nn.BatchNorm1d(12)
        self.conv2, self.bn2 = nn.Conv1d(12, 20, 1), nn.BatchNorm1d(20)
        self.fc1, self.bn3, self.fc2 = nn.Linear(20, 12), nn.BatchNorm1d(12), nn.Linear(12, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = torch.max(self.bn2(self.conv2(y)), 2)[0]
        return F.log_softmax(self.fc2(F.relu(self.bn3(self.fc1(y)))), 1)


class Grouped(nn.Module):
    """Grouped, dilated and strided convolutions, paddings of every kind of pooling, smooth activations."""

    input_shape = (4, 11, 11)

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(4, 8, 3, padding=2, dilation=2, groups=2)
        self.pool1 = nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=True)
        self.conv2 = nn.Conv2d(8, 12, (3, 1), stride=(1, 2), padding=(1, 0), groups=4)
        self.pool2 = nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True)
        self.conv3 = nn.Conv2d(12, 6, 1)
        self.pool3 = nn.AvgPool2d(2, stride=1, count_include_pad=False)
        self.fc = nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        y = self.pool1(F.gelu(self.conv1(x)))
        y = self.pool2(F.silu(self.conv2(y)))
        y = self.pool3(F.leaky_relu(self.conv3(y), 0.1))
        return self.fc(F.elu(y).mean((2, 3)))


class Activations(nn.Module):
    """The remaining usual activations, and adaptive pooling to more than one cell."""

    input_shape = (3, 8, 8)

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.act1 = nn.Conv2d(3, 6, 3), nn.Hardswish()
        self.conv2, self.act2 = nn.Conv2d(6, 8, 3, padding=1), nn.PReLU(8)
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.fc1, self.act3 = nn.Linear(32, 10), nn.Softplus()
        self.fc2, self.fc3, self.fc4 = nn.Linear(10, 10), nn.Linear(10, 8), nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        y = self.act2(self.conv2(self.act1(3 * self.conv1(x))))
        y = self.act3(self.fc1(self.pool(y).flatten(1)))
        y = torch.tanh(self.fc2(y))
        return self.fc4(torch.sigmoid(3 * self.fc3(y)))


NETWORKS: dict[str, type[nn.Module]] = {
    "mlp": Mlp,
    "layernorm": LayerNormMlp,
    "cnn": Cnn,
    "resnet": Resnet,
    "mobilenet": Mobilenet,
    "densenet": Densenet,
    "pointnet": Pointnet,
    "grouped": Grouped,
    "activations": Activations,
}


def build(name: str, fresh: bool = False) -> nn.Module:
    """The network with every parameter and statistic from the block `<network>.<parameter>` (see lcg.py).

    `fresh` leaves the vectors of normalization layers as PyTorch makes them, zeros and ones.
    """
    net = NETWORKS[name]()
    for key, value in net.state_dict().items():
        if value.dtype == torch.float32 and not (fresh and ("bn" in key or "norm" in key)):
            value.copy_(torch.from_numpy(initial(name, key, tuple(value.shape))))
    return net


def initial(net: str, key: str, shape: tuple[int, ...]) -> np.ndarray:
    """Matrices and kernels within ±√(3 / fan-in); scales and variances around 1; biases and means around 0."""
    block = f"{net}.{key}"
    if len(shape) > 1:
        return lcg.uniform(block, shape, sqrt(3 / prod(shape[1:])))
    centre = 0.25 if "act" in key else 1 if key.endswith("var") or is_scale(key) else 0
    return lcg.uniform(block, shape, 0.2) + np.float32(centre)


def is_scale(key: str) -> bool:
    """Whether a vector called `weight` is a scale (BatchNorm, LayerNorm)."""
    return key.endswith("weight") and ("bn" in key or "norm" in key)
