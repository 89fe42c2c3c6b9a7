"""The networks of the benchmark in PyTorch, each with one batch of data, all without random layers.

Usage: networks.py REQUESTS
REQUESTS is a JSON list of {"folder", "network", "batch", "size"}; size has the arguments of the network's function, {} for its usual size.
Exports each network in training form as folder/model.onnx, with its batch (x, labels: raw numbers) and a description (about.json).
"""

import json
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CLASSES = 10


@dataclass
class Network:
    """A network in training mode, and a batch; `labels` has one class for each row of the logits."""

    module: nn.Module
    title: str
    x: Tensor
    labels: Tensor


class Mlp(nn.Module):
    """Linear layers with ReLU between them."""

    def __init__(self, widths: list[int]) -> None:
        super().__init__()
        self.fc = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths, widths[1:]))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.fc[:-1]:
            x = F.relu(layer(x))
        return self.fc[-1](x)


class Cnn(nn.Module):
    """3×3 convolutions with BatchNorm and ReLU; 2×2 pooling after the second and third; mean over pixels."""

    def __init__(self, channels: list[int]) -> None:
        super().__init__()
        self.conv = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in zip(channels, channels[1:]))
        self.bn = nn.ModuleList(nn.BatchNorm2d(b) for b in channels[1:])
        self.fc = nn.Linear(channels[-1], CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        for i, (conv, norm) in enumerate(zip(self.conv, self.bn)):
            x = F.relu(norm(conv(x)))
            x = F.max_pool2d(x, 2) if i in (1, 2) else x
        return self.fc(x.mean((2, 3)))


class Block(nn.Module):
    """A block of a decoder: causal attention and a feed-forward part, each after LayerNorm."""

    def __init__(self, width: int, heads: int, length: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.register_buffer("mask", torch.full((length, length), float("-inf")).triu(1))

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        heads = self.qkv(self.norm1(x)).view(batch, length, 3, self.heads, width // self.heads)
        q, k, v = heads.permute(2, 0, 3, 1, 4)
        if torch.onnx.is_in_onnx_export():
            scores = q @ k.transpose(-2, -1) / (width // self.heads) ** 0.5
            attended = (scores + self.mask).softmax(-1) @ v
        else:
            # Its own kernel, which PyTorch's users call.
            attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).reshape(batch, length, width))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class Gpt(nn.Module):
    """A decoder that predicts the next token at every place."""

    def __init__(self, vocabulary: int, width: int, heads: int, layers: int, length: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.position = nn.Parameter(torch.randn(length, width) * 0.02)
        self.blocks = nn.ModuleList(Block(width, heads, length) for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary)

    def forward(self, x: Tensor) -> Tensor:
        h = self.embedding(x) + self.position
        for block in self.blocks:
            h = block(h)
        return self.head(self.norm(h)).flatten(0, 1)


class PointNet(nn.Module):
    """Layers shared by all points of a cloud, then the maximum over the points."""

    def __init__(self) -> None:
        super().__init__()
        sizes = [(3, 32), (32, 64), (64, 128)]
        self.conv = nn.ModuleList(nn.Conv1d(a, b, 1) for a, b in sizes)
        self.bn = nn.ModuleList(nn.BatchNorm1d(b) for _, b in sizes)
        self.fc = nn.Linear(128, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        for conv, norm in zip(self.conv, self.bn):
            x = F.relu(norm(conv(x)))
        return self.fc(x.max(-1).values)


class UNet(nn.Module):
    """Two levels down and up with transposed convolutions; the mean over pixels stands for one label of an image."""

    def __init__(self) -> None:
        super().__init__()

        def pair(a: int, b: int) -> nn.Sequential:
            layers = ([nn.Conv2d(n, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU()] for n in (a, b))
            return nn.Sequential(*(layer for three in layers for layer in three))

        self.down1, self.down2, self.middle = pair(3, 16), pair(16, 32), pair(32, 64)
        self.up2, self.up1 = nn.ConvTranspose2d(64, 32, 2, 2), nn.ConvTranspose2d(32, 16, 2, 2)
        self.back2, self.back1 = pair(64, 32), pair(32, 16)
        self.out = nn.Conv2d(16, CLASSES, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = self.down1(x)
        b = self.down2(F.max_pool2d(a, 2))
        c = self.middle(F.max_pool2d(b, 2))
        b = self.back2(torch.cat([self.up2(c), b], 1))
        return self.out(self.back1(torch.cat([self.up1(b), a], 1))).mean((2, 3))


class Lstm(nn.Module):
    """A recurrent layer; the last state is classified."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.fc = nn.LSTM(64, 128, batch_first=True), nn.Linear(128, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.lstm(x)[0][:, -1])


def images(pixels: int) -> Callable[[int], Tensor]:
    return lambda batch: torch.randn(batch, 3, pixels, pixels)


Made = tuple[nn.Module, Callable[[int], Tensor], str]


def mlp(inputs: int = 784, width: int = 512, depth: int = 2, halving: bool = True) -> Made:
    hidden = [max(width // 2**i, 1) if halving else width for i in range(depth)]
    widths = [inputs, *hidden, CLASSES]
    return Mlp(widths), lambda batch: torch.randn(batch, inputs), "MLP " + "-".join(map(str, widths))


def cnn(width: int = 32, depth: int = 3) -> Made:
    channels = [3, *(width * 2 ** min(i, 2) for i in range(depth))]
    return Cnn(channels), images(32), f"CNN {'-'.join(map(str, channels))} with BatchNorm, 32×32"


def resnet18() -> Made:
    from torchvision.models import resnet18

    return resnet18(num_classes=CLASSES), images(64), "ResNet-18, 64×64"


def mobilenet() -> Made:
    from torchvision.models import mobilenet_v2

    return mobilenet_v2(num_classes=CLASSES, dropout=0.0), images(64), "MobileNet-v2, 64×64"


def convnext() -> Made:
    import timm

    return timm.create_model("convnext_atto", num_classes=CLASSES), images(64), "ConvNeXt-atto, 64×64"


def efficientnet() -> Made:
    from torchvision.models import efficientnet_b0

    module = efficientnet_b0(num_classes=CLASSES, dropout=0.0, stochastic_depth_prob=0.0)
    return module, images(64), "EfficientNet-b0, 64×64"


def densenet() -> Made:
    from torchvision.models import densenet121

    return densenet121(num_classes=CLASSES), images(64), "DenseNet-121, 64×64"


def vit() -> Made:
    import timm

    module = timm.create_model("vit_tiny_patch16_224", img_size=64, patch_size=16, num_classes=CLASSES)
    return module, images(64), "ViT-tiny, patches of 16, 64×64"


def gpt(vocabulary: int = 256, width: int = 128, heads: int = 4, layers: int = 4, length: int = 32) -> Made:
    module = Gpt(vocabulary, width, heads, layers, length)
    title = f"GPT, {layers} layers, width {width}, {length} tokens"
    return module, lambda batch: torch.randint(0, vocabulary, (batch, length)), title


def pointnet() -> Made:
    return PointNet(), lambda batch: torch.randn(batch, 3, 1024), "PointNet 3-32-64-128, 1024 points"


def unet() -> Made:
    return UNet(), images(64), "U-Net 16-32-64, 64×64"


def lstm() -> Made:
    return Lstm(), lambda batch: torch.randn(batch, 50, 64), "LSTM 64-128, 50 steps"


MAKERS: dict[str, Callable[..., Made]] = {
    maker.__name__: maker
    for maker in (mlp, cnn, resnet18, mobilenet, convnext, efficientnet, densenet, vit, gpt, pointnet, unet, lstm)
}


class NoDropout(nn.Identity):
    """In place of a Dropout that drops nothing; attention reads its probability."""

    p = 0.0


def without_dropout(module: nn.Module) -> None:
    """Replaces layers that drop nothing, so that no framework spends time on them."""
    for name, child in module.named_children():
        if isinstance(child, nn.Dropout):
            assert child.p == 0, f"{name} drops at random, so that losses cannot be compared"
            setattr(module, name, NoDropout())
        else:
            without_dropout(child)


def build(name: str, batch: int, size: dict[str, int]) -> Network:
    """The network with the same weights and data on every call."""
    torch.manual_seed(0)
    module, data, title = MAKERS[name](**size)
    without_dropout(module)
    x = data(batch)
    tokens = x.dtype == torch.int64
    labels = torch.randint(0, int(x.max()) + 1 if tokens else CLASSES, (x.numel() if tokens else batch,))
    return Network(module.train(), f"{title}, batch {batch}", x, labels)


def export(folder: Path, network: Network) -> None:
    (folder / "x.bin").write_bytes(network.x.numpy().tobytes())
    (folder / "labels.bin").write_bytes(network.labels.int().numpy().tobytes())
    warnings.filterwarnings("ignore")
    torch.onnx.export(
        network.module,
        (network.x,),
        str(folder / "model.onnx"),
        dynamo=False,
        training=torch.onnx.TrainingMode.TRAINING,
        do_constant_folding=False,
        input_names=["x"],
        output_names=["logits"],
        opset_version=17,
    )
    about = {
        "title": network.title,
        "x": {"type": "int64" if network.x.dtype == torch.int64 else "float", "shape": list(network.x.shape)},
    }
    (folder / "about.json").write_text(json.dumps(about))


if __name__ == "__main__":
    for request in json.loads(sys.argv[1]):
        export(Path(request["folder"]), build(request["network"], request["batch"], request["size"]))
