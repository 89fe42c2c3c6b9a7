"""Speech and other one-dimensional signals."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .registry import architecture


class WaveNet(nn.Module):
    """Gated dilated causal convolutions with skip connections."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Conv1d(1, 12, 1)
        self.gates = nn.ModuleList([nn.Conv1d(12, 24, 2, dilation=2**i) for i in range(4)])
        self.skips = nn.ModuleList([nn.Conv1d(12, 12, 1) for _ in range(4)])
        self.leave = nn.Conv1d(12, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        x, total = self.enter(x), 0
        for i, (gate, skip) in enumerate(zip(self.gates, self.skips)):
            a, b = gate(F.pad(x, (2**i, 0))).chunk(2, 1)
            h = skip(torch.tanh(a) * torch.sigmoid(b))
            x, total = x + h, total + h
        return self.leave(F.relu(total))


class Conformer(nn.Module):
    """Half feed-forward, attention, gated depthwise convolution, half feed-forward."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.feed1, self.feed2 = self.feed(width), self.feed(width)
        self.norm1, self.norm2, self.norm3 = nn.LayerNorm(width), nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.enter, self.depthwise = nn.Conv1d(width, 2 * width, 1), nn.Conv1d(width, width, 5, padding=2, groups=width)
        self.batch_norm, self.leave = nn.BatchNorm1d(width), nn.Conv1d(width, width, 1)
        self.head = nn.Linear(width, 6)

    @staticmethod
    def feed(width: int) -> nn.Module:
        return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.SiLU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + 0.5 * self.feed1(x)
        h = self.norm1(x)
        x = x + self.attention(h, h, h, need_weights=False)[0]
        h = F.glu(self.enter(self.norm2(x).transpose(1, 2)), 1)
        x = x + self.leave(F.silu(self.batch_norm(self.depthwise(h)))).transpose(1, 2)
        return self.head(self.norm3(x + 0.5 * self.feed2(x)))


class TemporalConvolution(nn.Module):
    """Residual dilated convolutions with layer-wise cropping."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv1d(4 if i == 0 else 12, 12, 3, dilation=2**i, padding=2 * 2**i) for i in range(3)])
        self.enter, self.head = nn.Conv1d(4, 12, 1), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        skip = self.enter(x)
        for i, layer in enumerate(self.layers):
            x = F.relu(layer(x)[..., : -2 * 2**i])
        return self.head((x + skip).mean(2))


class SpeechUnet(nn.Module):
    """A one-dimensional U-Net: strided and transposed convolutions, GLU."""

    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2 = nn.Conv1d(1, 16, 8, 4), nn.Conv1d(8, 32, 8, 4)
        self.up2, self.up1 = nn.ConvTranspose1d(16, 8, 8, 4), nn.ConvTranspose1d(8, 1, 8, 4)

    def forward(self, x: Tensor) -> Tensor:
        a = F.glu(self.down1(x), 1)
        b = F.glu(self.down2(a), 1)
        c = F.relu(self.up2(b))
        return self.up1(c + a[..., : c.shape[-1]])


@architecture("signals")
def wavenet():
    return WaveNet(), (torch.randn(2, 1, 40),)


@architecture("signals")
def conformer():
    return Conformer(), (torch.randn(2, 12, 16),)


@architecture("signals")
def temporal_convolution():
    return TemporalConvolution(), (torch.randn(2, 4, 24),)


@architecture("signals")
def speech_unet():
    return SpeechUnet(), (torch.randn(2, 1, 164),)


@architecture("signals")
def whisper_encoder():
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    sizes = {"d_model": 32, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 64}
    config = WhisperConfig(num_mel_bins=16, max_source_positions=20, dropout=0.0, **sizes)
    return WhisperEncoder(config), (torch.randn(2, 16, 40),)


@architecture("signals")
def wav2vec2():
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    features = {"conv_dim": (16, 16), "conv_stride": (5, 2), "conv_kernel": (10, 3)}
    positions = {"num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 4}
    off = {name: 0.0 for name in ("hidden_dropout", "attention_dropout", "feat_proj_dropout", "layerdrop")}
    config = Wav2Vec2Config(**sizes, **features, **positions, **off, mask_time_prob=0.0, apply_spec_augment=False)
    return Wav2Vec2Model(config), (torch.randn(2, 400),)
