"""Writes test/fixtures/language/opset23.onnx, a small decoder as torch's exporter writes it in opset 23 (Attention,
RMSNormalization), and the losses of 20 training steps of it in PyTorch.

Run: npm run python -- scripts/oracles/opset23.py
"""

import warnings
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lcg import labels, uniform
from summary import rounded, write_json

FOLDER = Path(__file__).parents[2] / "test" / "fixtures" / "language"
TOKENS, WIDTH, HEADS, LAYERS = 12, 8, 2, 2
SAMPLES, LENGTH, STEPS, RATE = 4, 6, 20, 0.01


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.norm2 = nn.RMSNorm(WIDTH), nn.RMSNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH, bias=False), nn.Linear(WIDTH, WIDTH, bias=False)
        self.gate, self.up = nn.Linear(WIDTH, 2 * WIDTH, bias=False), nn.Linear(WIDTH, 2 * WIDTH, bias=False)
        self.down = nn.Linear(2 * WIDTH, WIDTH, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        batch, length, _ = x.shape
        heads = self.qkv(self.norm(x)).view(batch, length, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        query, key = (one * cos + turned(one) * sin for one in heads[:2])
        seen = F.scaled_dot_product_attention(query, key, heads[2], is_causal=True)
        x = x + self.out(seen.transpose(1, 2).reshape(batch, length, WIDTH))
        inner = self.norm2(x)
        return x + self.down(F.silu(self.gate(inner)) * self.up(inner))


def turned(x: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    return torch.cat([-x[..., half:], x[..., :half]], -1)


class Decoder(nn.Module):
    """A Llama in miniature."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.norm = nn.Embedding(TOKENS, WIDTH), nn.RMSNorm(WIDTH)
        self.layers, self.head = nn.ModuleList(Layer() for _ in range(LAYERS)), nn.Linear(WIDTH, TOKENS, bias=False)
        size = WIDTH // HEADS
        angles = torch.outer(torch.arange(LENGTH).float(), 1 / 10000 ** (torch.arange(0, size, 2) / size))
        angles = torch.cat([angles, angles], -1)
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())

    def forward(self, input_ids: Tensor) -> Tensor:
        x = self.tokens(input_ids)
        for layer in self.layers:
            x = layer(x, self.cos, self.sin)
        return self.head(self.norm(x))


def main() -> None:
    model = Decoder()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            own = torch.from_numpy(uniform(f"opset23.{name}", list(parameter.shape), 0.5))
            parameter.copy_(1 + own / 4 if parameter.dim() == 1 else own)
    ids = torch.from_numpy(labels("opset23.tokens", SAMPLES * LENGTH, TOKENS)).reshape(SAMPLES, LENGTH)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            model, (ids,), dynamo=True, opset_version=23, input_names=["input_ids"], output_names=["logits"], verbose=False
        )
    program.model.graph.metadata_props.clear()
    for node in program.model.graph:
        node.metadata_props.clear()
    program.save(FOLDER / "opset23.onnx")
    model = model.double()
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    losses = []
    for _ in range(STEPS):
        logits = model(ids)
        loss = F.cross_entropy(logits[:, :-1].reshape(-1, TOKENS), ids[:, 1:].reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(rounded(loss.item()))
    write_json(FOLDER / "opset23.json", {"rate": RATE, "losses": losses})


if __name__ == "__main__":
    main()
