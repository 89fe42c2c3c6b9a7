"""Autoencoders, generators, diffusion; fields and equations; tables."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .registry import architecture


class Vae(nn.Module):
    """The noise of the reparameterization is an input."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Sequential(nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU())
        self.moments, self.expand = nn.Linear(16 * 49, 16), nn.Linear(8, 16 * 49)
        self.decode = nn.Sequential(
            nn.ConvTranspose2d(16, 8, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(8, 1, 4, 2, 1), nn.Sigmoid()
        )

    def forward(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.moments(self.encode(x).flatten(1)).chunk(2, 1)
        z = mean + noise * (0.5 * log_variance).exp()
        divergence = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum(1)
        return self.decode(self.expand(z).view(-1, 16, 7, 7)), divergence


class Generator(nn.Module):
    """DCGAN's generator."""

    def __init__(self) -> None:
        super().__init__()
        widths = [16, 32, 16, 8]
        layers: list[nn.Module] = []
        for i, (inputs, outputs) in enumerate(zip(widths, widths[1:])):
            stride, padding = (1, 0) if i == 0 else (2, 1)
            layers += [
                nn.ConvTranspose2d(inputs, outputs, 4, stride, padding, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
            ]
        self.net = nn.Sequential(*layers, nn.ConvTranspose2d(8, 3, 4, 2, 1), nn.Tanh())

    def forward(self, z: Tensor) -> Tensor:
        return self.net(z.view(-1, 16, 1, 1))


class Discriminator(nn.Module):
    """Spectrally plain discriminator with leaky units, instance normalization and minibatch deviation."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(3, 8, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(8, 16, 4, 2, 1),
            nn.InstanceNorm2d(16, affine=True),
            nn.LeakyReLU(0.2),
        )
        self.head = nn.Conv2d(17, 1, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = self.net(x)
        deviation = (h.var(0, unbiased=False) + 1e-6).sqrt().mean().expand(h.shape[0], 1, *h.shape[2:])
        return self.head(torch.cat([h, deviation], 1))


class AttentionBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.qkv, self.out = nn.GroupNorm(4, width), nn.Conv2d(width, 3 * width, 1), nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        batch, width, height, breadth = x.shape
        q, k, v = self.qkv(self.norm(x)).view(batch, 3, width, height * breadth).unbind(1)
        weights = (q.transpose(1, 2) @ k / math.sqrt(width)).softmax(-1)
        return x + self.out((v @ weights.transpose(1, 2)).view(batch, width, height, breadth))


class ResidualBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(4, inputs), nn.Conv2d(inputs, outputs, 3, padding=1)
        self.time = nn.Linear(32, outputs)
        self.norm2, self.conv2 = nn.GroupNorm(4, outputs), nn.Conv2d(outputs, outputs, 3, padding=1)
        self.skip = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x))) + self.time(time)[:, :, None, None]
        return self.skip(x) + self.conv2(F.silu(self.norm2(h)))


class DiffusionUnet(nn.Module):
    """Predicts noise; the time step enters by sines and cosines."""

    def __init__(self) -> None:
        super().__init__()
        self.time = nn.Sequential(nn.Linear(16, 32), nn.SiLU(), nn.Linear(32, 32))
        self.enter, self.down = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 16, 3, 2, 1)
        self.block1, self.block2, self.block3 = ResidualBlock(16, 16), ResidualBlock(16, 32), ResidualBlock(48, 16)
        self.attention, self.leave = AttentionBlock(32), nn.Conv2d(16, 3, 3, padding=1)

    def forward(self, x: Tensor, step: Tensor) -> Tensor:
        rates = torch.exp(-math.log(1e4) * torch.arange(8) / 8)
        angles = step[:, None] * rates
        time = self.time(torch.cat([angles.sin(), angles.cos()], 1))
        a = self.block1(self.enter(x), time)
        b = self.attention(self.block2(self.down(a), time))
        up = F.interpolate(b, scale_factor=2, mode="nearest")
        return self.leave(self.block3(torch.cat([up, a], 1), time))


class SuperResolution(nn.Module):
    """Sub-pixel convolution with learned slopes on a bicubic base."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.act, self.conv2 = nn.Conv2d(3, 16, 3, padding=1), nn.PReLU(16), nn.Conv2d(16, 12, 3, padding=1)
        self.shuffle = nn.PixelShuffle(2)

    def forward(self, x: Tensor) -> Tensor:
        base = F.interpolate(x, scale_factor=2, mode="bicubic", align_corners=False)
        return base + self.shuffle(self.conv2(self.act(self.conv1(x))))


class SpatialTransformer(nn.Module):
    """Predicts an affine map and resamples the image by it."""

    def __init__(self) -> None:
        super().__init__()
        self.locate = nn.Sequential(nn.Conv2d(1, 4, 5, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.affine, self.head = nn.Linear(16, 6), nn.Linear(256, 10)

    def forward(self, x: Tensor) -> Tensor:
        theta = self.affine(self.locate(x)).view(-1, 2, 3) * 0.1 + torch.eye(2, 3)
        grid = F.affine_grid(theta, [x.shape[0], 1, 16, 16], align_corners=False)
        return self.head(F.grid_sample(x, grid, align_corners=False).flatten(1))


class Siren(nn.Module):
    """A field of sines over coordinates."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(2, 32), nn.Linear(32, 32), nn.Linear(32, 3)])

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = torch.sin(5 * layer(x))
        return self.layers[-1](x)


class HeatEquation(nn.Module):
    """A physics-informed network: the residual u_t − u_xx by central differences of its own outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 24), nn.Tanh(), nn.Linear(24, 24), nn.Tanh(), nn.Linear(24, 1))

    def forward(self, points: Tensor) -> Tensor:
        h = 0.1
        right, later = torch.tensor([h, 0.0]), torch.tensor([0.0, h])
        u = self.net
        rate = (u(points + later) - u(points - later)) / (2 * h)
        curvature = (u(points + right) - 2 * u(points) + u(points - right)) / h**2
        return rate - curvature


class Nerf(nn.Module):
    """Positional encoding, density and colour, composited along rays by a cumulative sum."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.density, self.colour = nn.Linear(24, 32), nn.Linear(32, 1), nn.Linear(32, 3)

    def forward(self, points: Tensor) -> Tensor:
        scaled = torch.cat([points * 2**i for i in range(4)], -1)
        h = F.relu(self.trunk(torch.cat([scaled.sin(), scaled.cos()], -1)))
        depth = F.softplus(self.density(h)).squeeze(-1) * 0.1
        reached = torch.exp(depth - torch.cumsum(depth, 1))
        weights = reached * (1 - torch.exp(-depth))
        return (weights.unsqueeze(-1) * self.colour(h).sigmoid()).sum(1)


class FeatureTokenizer(nn.Module):
    """FT-Transformer: a token per column of a table."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(6, 16)), nn.Parameter(torch.randn(6, 16))
        self.category, self.cls_token = nn.Embedding(10, 16), nn.Parameter(torch.randn(1, 1, 16))
        layer = nn.TransformerEncoderLayer(16, 2, 32, 0.0, batch_first=True, norm_first=True, activation="gelu")
        self.encoder, self.head = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(16, 2)

    def forward(self, numbers: Tensor, categories: Tensor) -> Tensor:
        tokens = numbers.unsqueeze(-1) * self.weight + self.bias
        cls = self.cls_token.expand(numbers.shape[0], -1, -1)
        return self.head(self.encoder(torch.cat([cls, tokens, self.category(categories)], 1))[:, 0])


class DeepFm(nn.Module):
    """Factorization machine beside a deep network over embedded categories."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.factors = nn.Embedding(30, 1), nn.Embedding(30, 6)
        self.deep = nn.Sequential(nn.Linear(24, 16), nn.ReLU(), nn.Linear(16, 1))

    def forward(self, features: Tensor) -> Tensor:
        v = self.factors(features)
        pairs = 0.5 * (v.sum(1) ** 2 - (v**2).sum(1)).sum(1, keepdim=True)
        return torch.sigmoid(self.linear(features).sum(1) + pairs + self.deep(v.flatten(1)))


@architecture("generative")
def vae():
    return Vae(), (torch.rand(2, 1, 28, 28), torch.randn(2, 8))


@architecture("generative")
def dcgan_generator():
    return Generator(), (torch.randn(4, 16),)


@architecture("generative")
def gan_discriminator():
    return Discriminator(), (torch.randn(4, 3, 16, 16),)


@architecture("generative")
def diffusion_unet():
    return DiffusionUnet(), (torch.randn(2, 3, 16, 16), torch.tensor([3.0, 40.0]))


@architecture("generative")
def super_resolution():
    return SuperResolution(), (torch.randn(2, 3, 12, 12),)


@architecture("generative")
def spatial_transformer():
    return SpatialTransformer(), (torch.randn(2, 1, 20, 20),)


@architecture("fields and equations")
def siren():
    return Siren(), (torch.rand(20, 2) * 2 - 1,)


@architecture("fields and equations")
def heat_equation():
    return HeatEquation(), (torch.rand(20, 2),)


@architecture("fields and equations")
def nerf():
    return Nerf(), (torch.rand(4, 8, 3),)


@architecture("tables")
def ft_transformer():
    return FeatureTokenizer(), (torch.randn(4, 6), torch.randint(0, 10, (4, 2)))


@architecture("tables")
def deep_fm():
    return DeepFm(), (torch.randint(0, 30, (4, 4)),)
