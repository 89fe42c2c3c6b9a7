"""The same for tables, sequences and attention, and for parameters of a network's own."""

import math

import torch
from modules import Net, Own, R, case, image, tokens
from torch import Tensor, nn
from torch.nn import functional as F


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
