"""Small PyTorch modules, each with another kind of parameters, and the inputs for their export."""

import math
from collections.abc import Callable

import timm.layers as timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations
from torch.nn.utils import spectral_norm as old_spectral_norm
from torch.nn.utils import weight_norm as old_weight_norm

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


@case
def embeddings():
    def forward(m: Own, i: Tensor) -> Tensor:
        return m.head(F.gelu(m.wte(i) + m.wpe.weight[: i.shape[1]]))

    modules = {"wte": nn.Embedding(7, 4), "wpe": nn.Embedding(9, 4), "head": nn.Linear(4, 7, bias=False)}
    return Own(forward, **modules), (torch.randint(0, 7, (2, 5)),)


@case
def tied_embedding():
    def build(m: Own, i: Tensor) -> Tensor:
        return m.head(torch.tanh(m.fc(m.wte(i))))

    net = Own(build, wte=nn.Embedding(7, 4), fc=nn.Linear(4, 4), head=nn.Linear(4, 7))
    net.head.weight = net.wte.weight
    return net, (torch.randint(0, 7, (2, 5)),)


@case
def lstm():
    return Own(lambda m, x: m.head(m.rnn(x)[0][:, -1]), rnn=nn.LSTM(3, 4, 2, batch_first=True, bidirectional=True), head=nn.Linear(8, 3)), (R(2, 5, 3),)


@case
def gru():
    return Own(lambda m, x: m.head(m.rnn(x)[0].mean(1)), rnn=nn.GRU(3, 4, batch_first=True), head=nn.Linear(4, 3)), (R(2, 5, 3),)


@case
def learned_state():
    def forward(m: Own, x: Tensor) -> Tensor:
        return m.head(m.rnn(x, m.h0.expand(-1, x.shape[0], -1).contiguous())[0][:, -1])

    return Own(forward, {"h0": R(1, 1, 4)}, rnn=nn.GRU(3, 4, batch_first=True), head=nn.Linear(4, 3)), (R(2, 5, 3),)


@case
def attention():
    return tokens(Own(lambda m, x: x + m.a(x, x, x, need_weights=False)[0], a=nn.MultiheadAttention(4, 2, batch_first=True)))


@case
def attention_bias_kv():
    attention = nn.MultiheadAttention(4, 2, batch_first=True, add_bias_kv=True)
    return tokens(Own(lambda m, x: x + m.a(x, x, x, need_weights=False)[0], a=attention))


@case
def encoder_layer():
    return tokens(nn.TransformerEncoderLayer(4, 2, 8, batch_first=True, dropout=0.1))


@case
def relative_bias():
    def forward(m: Own, x: Tensor) -> Tensor:
        q, k, v = m.qkv(x).reshape(2, 4, 3, 2, 3).permute(2, 0, 3, 1, 4)
        bias = m.relative_position_bias_table[m.relative_position_index.view(-1)].view(4, 4, -1).permute(2, 0, 1)
        scores = q @ k.transpose(-2, -1) * 3**-0.5 + bias.unsqueeze(0)
        return m.proj((scores.softmax(-1) @ v).transpose(1, 2).reshape(2, 4, 6))

    buffers = {"relative_position_index": torch.randint(0, 9, (4, 4))}
    modules = {"qkv": nn.Linear(6, 18), "proj": nn.Linear(6, 6)}
    return Own(forward, {"relative_position_bias_table": R(9, 2)}, buffers, **modules), (R(2, 4, 6),)


@case
def masked_attention():
    def forward(m: Own, x: Tensor) -> Tensor:
        q, k, v = m.qkv(x).chunk(3, -1)
        scores = (q @ k.transpose(-2, -1)) * m.temperature + m.attn_mask[None]
        scores = scores.masked_fill(m.tril == 0, -1e9) + m.offsets
        return m.proj(scores.softmax(-1) @ v)

    shifted = torch.zeros(4, 4)
    shifted[2:, :2] = -100.0
    alibi = -torch.arange(4.0)[:, None] * torch.tensor([0.5])
    buffers = {"attn_mask": shifted, "tril": torch.tril(torch.ones(4, 4)), "offsets": alibi.expand(4, 4).contiguous()}
    return Own(forward, {"temperature": R(1)}, buffers, qkv=nn.Linear(6, 18), proj=nn.Linear(6, 3)), (R(2, 4, 6),)


@case
def clip():
    def forward(m: Own, x: Tensor, y: Tensor) -> Tensor:
        a, b = F.normalize(m.image(x) @ m.proj, dim=-1), F.normalize(m.text(y), dim=-1)
        return m.logit_scale.exp() * a @ b.t() + m.logit_bias

    parameters = {"logit_scale": torch.tensor(math.log(10.0)), "logit_bias": torch.tensor(-1.3), "proj": R(5, 4)}
    net = Own(forward, parameters, image=nn.Linear(6, 5), text=nn.Linear(3, 4))
    net.stand_ins = lambda m: [m.logit_scale.exp()]
    return net, (R(2, 6), R(2, 3))


@case
def constants():
    """Buffers and literals of every kind, between two layers."""

    def forward(m: Own, x: Tensor) -> Tensor:
        x = m.conv((x - m.mean) / m.std).flatten(2).transpose(1, 2)
        x = x + m.pe[:, : x.shape[1]]
        x = x * torch.linspace(1, 2, 4) + m.grid
        x = torch.cat((x, (x[..., :1] * m.inv_freq).sin()), -1)
        return m.head(x) * m.anchors

    position, scale = torch.arange(36.0)[:, None], torch.exp(torch.arange(0, 4, 2) * -2.3)
    pe = torch.zeros(1, 36, 4)
    pe[0, :, 0::2], pe[0, :, 1::2] = torch.sin(position * scale), torch.cos(position * scale)
    buffers = {
        "mean": torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1),
        "std": torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1),
        "pe": pe,
        "grid": torch.stack(torch.meshgrid(torch.arange(6.0), torch.arange(6.0), indexing="ij"), -1).reshape(1, 36, 2).repeat(1, 1, 2),
        "inv_freq": 1.0 / 10000 ** (torch.arange(0, 4, 1).float() / 4),
        "anchors": torch.tensor([10.0, 13.0, 16.0]),
    }
    return Own(forward, {}, buffers, conv=nn.Conv2d(3, 4, 1), head=nn.Linear(8, 3)), (R(2, 3, 6, 6),)


@case
def rotary():
    def forward(m: Own, x: Tensor) -> Tensor:
        q, k = m.q(x), m.k(x)
        turn = lambda t: t * m.cos_cached + torch.cat((-t[..., 2:], t[..., :2]), -1) * m.sin_cached
        return m.o((turn(q) @ turn(k).transpose(1, 2)).softmax(-1) @ m.v(x))

    angles = torch.outer(torch.arange(5.0), torch.tensor([1.0, 0.1])).repeat(1, 2)
    modules = {name: nn.Linear(6, 4) for name in "qkv"}
    return Own(forward, {}, {"cos_cached": angles.cos(), "sin_cached": angles.sin()}, **modules, o=nn.Linear(4, 3)), (R(2, 5, 6),)


@case
def own_names():
    def forward(m: Own, x: Tensor) -> Tensor:
        x = m.l(x * m.theta + m.delta)
        return torch.maximum(x - m.shift, m.floor) / m.width

    parameters = {"theta": R(6), "delta": R(6), "shift": R(4), "floor": R(4), "width": R(4) + 3}
    return Net(Own(forward, parameters, l=nn.Linear(6, 4)), nn.Linear(6, 6), nn.Linear(4, 3)), (R(2, 6),)


@case
def einsum():
    def forward(m: Own, x: Tensor) -> Tensor:
        return torch.einsum("nth,hk->ntk", torch.einsum("nti,iho->nth", x, m.w), m.v) + m.b

    return tokens(Own(forward, {"w": R(4, 4, 2), "v": R(4, 4), "b": R(4)}))


@case
def lora():
    return tokens(Own(lambda m, x: m.l(x) + (x @ m.lora_A.t()) @ m.lora_B.t() * 0.5, {"lora_A": R(2, 4), "lora_B": R(4, 2)}, l=nn.Linear(4, 4)))


@case
def latents():
    def forward(m: Own, x: Tensor) -> Tensor:
        q = m.q(m.latents).expand(x.shape[0], -1, -1)
        return m.o((q @ m.k(x).transpose(1, 2)).softmax(-1) @ m.v(x))

    modules = {"q": nn.Linear(4, 4), "k": nn.Linear(6, 4), "v": nn.Linear(6, 4), "o": nn.Linear(4, 3)}
    net = Own(forward, {"latents": R(3, 4)}, **modules)
    net.stand_ins = lambda m: [m.q(m.latents).expand(2, -1, -1)]
    return net, (R(2, 5, 6),)


@case
def fourier_features():
    def forward(m: Own, x: Tensor) -> Tensor:
        x = x @ m.frequencies
        return m.l(torch.cat((x.sin(), x.cos()), -1))

    return Own(forward, {}, {"frequencies": R(3, 4)}, l=nn.Linear(8, 3)), (R(2, 3),)


@case
def bilinear():
    return Own(lambda m, x, y: m.head(m.b(x, y)), b=nn.Bilinear(3, 4, 5), head=nn.Linear(5, 3)), (R(2, 3), R(2, 4))


@case
def shared_layer():
    linear = nn.Linear(4, 4)
    return tokens(nn.Sequential(linear, nn.ReLU(), linear))


@case
def channel_attention():
    class Eca(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv1d(1, 1, 3, padding=1, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            y = self.conv(x.mean((2, 3))[:, None])
            return x * y.transpose(1, 2)[..., None].sigmoid()

    return image(nn.Sequential(Eca(), Own(lambda m, x: x * m.g[:, None, None] + m.h.view(1, -1, 1, 1), {"g": R(4), "h": R(4)})))


@case
def quantized_codebook():
    def forward(m: Own, x: Tensor) -> Tensor:
        x = m.l(x)
        distance = x.pow(2).sum(-1, keepdim=True) - 2 * x @ m.codebook.weight.t() + m.codebook.weight.pow(2).sum(-1)
        return m.head(distance.softmax(-1) @ m.codebook.weight)

    return Own(forward, l=nn.Linear(6, 4), codebook=nn.Embedding(5, 4), head=nn.Linear(4, 3)), (R(2, 6),)
