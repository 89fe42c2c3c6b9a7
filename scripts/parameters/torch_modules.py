"""Small PyTorch modules, each with another kind of parameters, and the inputs for their export."""

import timm.layers as timm
import torch
from modules import Net, Own, R, case, image, tokens
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.nn.utils import spectral_norm as old_spectral_norm
from torch.nn.utils import weight_norm as old_weight_norm
from torchvision.ops import FrozenBatchNorm2d


@case
def mlp():
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 1)), (R(2, 6),)


@case
def tokens_one_unit():
    return tokens(nn.Sequential(nn.GELU(), nn.Linear(4, 1), nn.Linear(1, 4, bias=False)))


@case
def conv1d():
    block = nn.Sequential(nn.Conv1d(3, 4, 3), nn.BatchNorm1d(4), nn.ReLU(), nn.ConvTranspose1d(4, 2, 2, bias=True))
    return nn.Sequential(block, nn.Flatten(), nn.Linear(14, 3)), (R(2, 3, 8),)


@case
def conv1d_one_step():
    return Own(lambda m, x: m.l(m.c(x.unsqueeze(-1)).squeeze(-1)), c=nn.Conv1d(6, 4, 1), l=nn.Linear(4, 3)), (R(2, 6),)


@case
def depthwise():
    return image(nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1), nn.PReLU(4)))


@case
def transposed():
    return image(nn.Sequential(nn.ConvTranspose2d(4, 6, 2, stride=2), nn.BatchNorm2d(6), nn.ReLU()), after=6)


@case
def squeeze_excite():
    return image(timm.SqueezeExcite(4, rd_channels=2))


@case
def frozen_batch_norm():
    """Detectors keep the scale, shift and statistics of their backbone's BatchNorm as buffers."""

    def frozen(width: int) -> nn.Module:
        norm = FrozenBatchNorm2d(width)
        norm.weight.copy_(torch.rand(width) + 0.5), norm.bias.copy_(R(width))
        return norm

    block = [nn.Conv2d(4, 6, 3, padding=1, bias=False), frozen(6), nn.ReLU(), nn.Conv2d(6, 4, 1, bias=False), frozen(4)]
    return image(nn.Sequential(*block))


@case
def affine_behind_conv():
    """A scale and a shift that are trained, in the form of a vector."""
    affine = Own(lambda m, x: x * m.scaling + m.shift, {"scaling": R(4, 1, 1), "shift": R(4, 1, 1)})
    return image(nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, bias=False), affine, nn.ReLU()))


@case
def dense_batch_norm():
    return nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Dropout(0.1), nn.Linear(5, 3)), (R(2, 6),)


@case
def pre_activation():
    return image(nn.Sequential(nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3)))


@case
def old_weight_norms():
    return Net(old_weight_norm(nn.Linear(4, 4)), old_weight_norm(nn.Linear(6, 4)), nn.Linear(4, 3)), (R(2, 5, 6),)


@case
def weight_norms():
    norm = parametrizations.weight_norm
    return Net(norm(nn.Linear(4, 4)), norm(nn.Linear(6, 4)), norm(nn.Linear(4, 3))), (R(2, 5, 6),)


@case
def weight_norm_conv():
    return image(parametrizations.weight_norm(nn.Conv2d(4, 4, 3)))


@case
def old_spectral_norms():
    return image(nn.Sequential(old_spectral_norm(nn.Conv2d(4, 4, 3)), nn.Flatten(2), old_spectral_norm(nn.Linear(16, 4)), nn.Unflatten(2, (2, 2))))


@case
def spectral_norms():
    norm = parametrizations.spectral_norm
    return image(nn.Sequential(norm(nn.Conv2d(4, 4, 3)), nn.Flatten(2), norm(nn.Linear(16, 4)), nn.Unflatten(2, (2, 2))))


@case
def scaled_std_conv():
    return image(timm.ScaledStdConv2d(4, 4, 3))


@case
def std_conv():
    return image(nn.Sequential(timm.StdConv2d(4, 4, 3), nn.GroupNorm(2, 4)))


@case
def tokens_and_positions():
    def forward(m: Own, x: Tensor) -> Tensor:
        x = m.patch(x).flatten(2).transpose(1, 2)
        cls = m.cls.expand(x.shape[0], -1, -1)
        return m.head((torch.cat((cls, m.dist_token.expand(x.shape[0], -1, -1), x), 1) + m.pos)[:, 0])

    parameters = {"cls": R(1, 1, 4), "dist_token": R(1, 1, 4), "pos": R(1, 6, 4)}
    return Own(forward, parameters, patch=nn.Conv2d(3, 4, 3, 3), head=nn.Linear(4, 3)), (R(2, 3, 6, 6),)


@case
def layer_scales():
    def forward(m: Own, x: Tensor) -> Tensor:
        x = x + m.gamma_1 * m.fc(x)
        return x + m.ls(m.fc2(x))

    return tokens(Own(forward, {"gamma_1": R(4)}, fc=nn.Linear(4, 4), fc2=nn.Linear(4, 4), ls=timm.LayerScale(4)))


@case
def layer_scale_2d():
    return image(Own(lambda m, x: x + m.gamma.reshape(1, -1, 1, 1) * m.c(x), {"gamma": R(4)}, c=nn.Conv2d(4, 4, 1)))


@case
def token_norms():
    class Rms(nn.Module):
        def __init__(self, width: int):
            super().__init__()
            self.g = nn.Parameter(torch.ones(width))

        def forward(self, x: Tensor) -> Tensor:
            return self.g * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)

    class Hand(nn.Module):
        def __init__(self, width: int):
            super().__init__()
            self.a_2, self.b_2 = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

        def forward(self, x: Tensor) -> Tensor:
            return self.a_2 * (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1e-6) + self.b_2

    return tokens(nn.Sequential(nn.LayerNorm(4), Rms(4), Hand(4), nn.LayerNorm(4, elementwise_affine=False)))


@case
def rms_norm():
    return tokens(nn.RMSNorm(4))


@case
def image_norms():
    class ResponseNorm(nn.Module):
        def __init__(self, channels: int):
            super().__init__()
            self.gamma, self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1)), nn.Parameter(torch.zeros(1, channels, 1, 1))

        def forward(self, x: Tensor) -> Tensor:
            size = x.norm(p=2, dim=(2, 3), keepdim=True)
            return x + self.gamma * (x * (size / (size.mean(1, keepdim=True) + 1e-6))) + self.beta

    norms = [nn.GroupNorm(2, 4), nn.InstanceNorm2d(4, affine=True), timm.LayerNorm2d(4), ResponseNorm(4)]
    return image(nn.Sequential(*norms, nn.InstanceNorm2d(4), nn.GroupNorm(2, 4, affine=False)))


@case
def activations():
    class Swish(nn.Module):
        def __init__(self):
            super().__init__()
            self.beta = nn.Parameter(torch.ones(1))

        def forward(self, x: Tensor) -> Tensor:
            return x * torch.sigmoid(self.beta * x)

    class Affine(nn.Module):
        def __init__(self, width: int):
            super().__init__()
            self.alpha, self.shift = nn.Parameter(torch.ones(1, 1, width)), nn.Parameter(torch.zeros(1, 1, width))

        def forward(self, x: Tensor) -> Tensor:
            return self.alpha * x + self.shift

    return tokens(nn.Sequential(nn.PReLU(), Swish(), Affine(4), nn.Linear(4, 4)))
