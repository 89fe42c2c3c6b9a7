"""Writes test/fixtures/language: a small decoder with a cache, as exporters of language models write it, and 50 training
steps of it in PyTorch for causal and for masked language modelling.

Run: npm run python -- scripts/oracles/language.py
"""

import warnings
from copy import deepcopy
from math import sqrt
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from summary import rounded, write_json

FOLDER = Path(__file__).parents[2] / "test" / "fixtures" / "language"
TOKENS, WIDTH, HEADS, LAYERS, PLACES = 12, 8, 2, 2, 16
SAMPLES, LENGTH, STEPS, RATE = 6, 7, 50, 0.01
MASK_TOKEN = 1


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH)

    def forward(self, x: Tensor, mask: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        batch, length, _ = x.shape
        heads = self.qkv(self.norm(x)).view(batch, length, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        key = torch.cat([key, heads[1]], dim=2)
        value = torch.cat([value, heads[2]], dim=2)
        scores = heads[0] @ key.transpose(-1, -2) / sqrt(WIDTH // HEADS) + mask
        seen = (torch.softmax(scores, -1) @ value).permute(0, 2, 1, 3).reshape(batch, length, WIDTH)
        x = x + self.out(seen)
        return x + self.down(F.gelu(self.up(self.norm2(x)))), key, value


class Decoder(nn.Module):
    """A GPT-2 in miniature: embeddings of tokens and places, pre-normalization, the output tied to the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(TOKENS, WIDTH), nn.Embedding(PLACES, WIDTH)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, position_ids: Tensor, *past: Tensor) -> tuple[Tensor, ...]:
        length, total = input_ids.shape[1], attention_mask.shape[1]
        later = torch.ones(length, total, dtype=torch.bool).triu(total - length + 1)
        hidden = later[None, None] | (attention_mask[:, None, None, :] == 0)
        mask = torch.zeros(hidden.shape, dtype=self.norm.weight.dtype).masked_fill(hidden, -1e9)
        x = self.tokens(input_ids) + self.places(position_ids)
        present = []
        for layer, key, value in zip(self.layers, past[::2], past[1::2]):
            x, *pair = layer(x, mask, key, value)
            present += pair
        return self.norm(x) @ self.tokens.weight.T, *present


def empty(batch: int, past: int = 0, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    return [torch.zeros(batch, HEADS, past, WIDTH // HEADS, dtype=dtype) for _ in range(2 * LAYERS)]


def export(model: Decoder) -> None:
    """As optimum exports decoders: symbolic lengths, the cache in and out."""
    cache = [f"past_key_values.{i}.{kind}" for i in range(LAYERS) for kind in ("key", "value")]
    present = [name.replace("past_key_values", "present") for name in cache]
    axes = {name: {0: "batch_size", 1: "sequence_length"} for name in ("input_ids", "position_ids", "logits")}
    axes["attention_mask"] = {0: "batch_size", 1: "past_sequence_length + sequence_length"}
    axes |= {name: {0: "batch_size", 2: "past_sequence_length"} for name in cache}
    axes |= {name: {0: "batch_size", 2: "past_sequence_length + sequence_length"} for name in present}
    ids = torch.zeros(2, 3, dtype=torch.long)
    inputs = (ids, torch.ones(2, 5, dtype=torch.long), ids, *empty(2, 2, torch.float32))
    torch.onnx.export(
        *(model, inputs, FOLDER / "decoder.onnx"),
        input_names=["input_ids", "attention_mask", "position_ids", *cache],
        output_names=["logits", *present],
        dynamic_axes=axes,
        opset_version=17,
        dynamo=False,
    )


def train(start: Decoder, labels: Tensor, ids: Tensor, attention: Tensor, shift: bool) -> list[float]:
    """The loss of every step, from the weights that were exported: AdamW over all samples at once."""
    model = deepcopy(start).double()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)
    places = (attention.cumsum(-1) - 1).masked_fill(attention == 0, 1)
    losses = []
    for _ in range(STEPS):
        logits = model(ids, attention, places, *empty(len(ids)))[0]
        given, wanted = (logits[:, :-1], labels[:, 1:]) if shift else (logits, labels)
        loss = F.cross_entropy(given.reshape(-1, TOKENS), wanted.reshape(-1), ignore_index=-100)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(rounded(loss.item()))
    return losses


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    torch.manual_seed(5)
    model = Decoder()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        export(model)
    ids = torch.randint(2, TOKENS, (SAMPLES, LENGTH))
    attention = torch.ones_like(ids)
    attention[1, 5:] = 0
    attention[4, 3:] = 0
    ids = ids.masked_fill(attention == 0, 0)
    causal = ids.masked_fill(attention == 0, -100)
    chosen = (torch.rand(ids.shape) < 0.3) & (attention == 1)
    masked = ids.masked_fill(chosen, MASK_TOKEN)
    labels = ids.masked_fill(~chosen, -100)
    # Labels that leave out more than padding does: a prompt.
    prompt = causal.clone()
    prompt[:, :3] = -100
    write_json(
        FOLDER / "language.json",
        {
            "tokens": TOKENS,
            "rate": RATE,
            "input_ids": ids.tolist(),
            "attention_mask": attention.tolist(),
            "masked_ids": masked.tolist(),
            "masked_labels": labels.tolist(),
            "prompt_labels": prompt.tolist(),
            "causal": train(model, causal, ids, attention, shift=True),
            "prompt": train(model, prompt, ids, attention, shift=True),
            "masked": train(model, labels, masked, attention, shift=False),
        },
    )


if __name__ == "__main__":
    main()
