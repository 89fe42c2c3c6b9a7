"""Writes test/fixtures/embeddings: small encoders, and 20 training steps of each with losses of embeddings in PyTorch.

Run: npm run python -- scripts/oracles/embeddings.py
"""

import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from objectives import classes, floats, initialized
from summary import rounded, write_json

FOLDER = Path(__file__).parents[2] / "test" / "fixtures" / "embeddings"
STEPS, RATE, SAMPLES, LENGTH, TOKENS = 20, 0.05, 6, 4, 9


class Encoder(nn.Module):
    """Embeddings of tokens as encoders of texts give them: [N, T] -> [N, T, 5]"""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.mix, self.out = nn.Embedding(TOKENS, 6), nn.Linear(6, 6), nn.Linear(6, 5)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        x = self.tokens(input_ids)
        counts = attention_mask.to(x.dtype).unsqueeze(-1)
        others = (x * counts).sum(1, keepdim=True) / counts.sum(1, keepdim=True)
        return self.out(torch.tanh(self.mix(x) + others))


class Towers(nn.Module):
    """Two towers, as CLIP has them: [N, 5] and [N, 4] -> [N, 3] each"""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(5, 3), nn.Linear(4, 3)

    def forward(self, image: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        return torch.tanh(self.left(image)), torch.tanh(self.right(text))


def export(name: str, model: nn.Module, inputs: dict[str, Tensor], outputs: list[str]) -> None:
    axes = {key: {0: "batch"} for key in [*inputs, *outputs]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model, tuple(inputs.values()), FOLDER / f"{name}.onnx",
            input_names=list(inputs), output_names=outputs, dynamic_axes=axes, opset_version=18, dynamo=False,
        )  # fmt: skip


def train(model: nn.Module, loss: Callable[[nn.Module], Tensor]) -> list[float]:
    """Losses of 20 steps of plain SGD in float64."""
    model = initialized(model, type(model).__name__).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    found = []
    for _ in range(STEPS):
        value = loss(model)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        found.append(rounded(value.item()))
    return found


def info_nce(e: Tensor, temperature: float, symmetric: bool = False) -> Tensor:
    """e: [N, embeddings, units]: anchors, positives, negatives. MultipleNegativesRankingLoss of sentence-transformers."""
    e = F.normalize(e, dim=-1)
    candidates = torch.cat([e[:, place] for place in range(1, e.shape[1])])
    scores = e[:, 0] @ candidates.T / temperature
    own = torch.arange(len(e))
    loss = F.cross_entropy(scores, own)
    return (loss + F.cross_entropy(scores[:, : len(e)].T, own)) / 2 if symmetric else loss


def supervised(e: Tensor, y: Tensor, temperature: float) -> Tensor:
    """Supervised contrastive loss (arXiv 2004.11362, L_out)."""
    e = F.normalize(e, dim=-1)
    scores = e @ e.T / temperature
    losses = []
    for i in range(len(e)):
        others = [j for j in range(len(e)) if j != i]
        positives = [j for j in others if y[j] == y[i]]
        if positives:
            logs = scores[i] - torch.logsumexp(scores[i, others], 0)
            losses.append(-logs[positives].mean())
    return torch.stack(losses).mean()


def batch_all(e: Tensor, y: Tensor, margin: float) -> Tensor:
    """Every triplet of the batch that is above 0."""
    d = (e.unsqueeze(0) - e.unsqueeze(1)).norm(dim=-1)
    n = range(len(e))
    losses = [
        F.relu(d[a, p] - d[a, q] + margin)
        for a in n for p in n if p != a and y[p] == y[a] for q in n if y[q] != y[a]
    ]  # fmt: skip
    above = [value for value in losses if value > 1e-16]
    return torch.stack(above).mean()


def batch_hard(e: Tensor, y: Tensor, margin: float) -> Tensor:
    """The hardest positive and negative of each anchor, by the cosine."""
    e = F.normalize(e, dim=-1)
    d = 1 - e @ e.T
    same = y.unsqueeze(0) == y.unsqueeze(1)
    farthest = (d * (same & ~torch.eye(len(e), dtype=torch.bool))).amax(1)
    nearest = torch.where(same, d + d.amax(1, keepdim=True), d).amin(1)
    return F.relu(farthest - nearest + margin).mean()


def mean_of_tokens(tokens: Tensor, mask: Tensor) -> Tensor:
    counts = mask.to(tokens.dtype).unsqueeze(-1)
    return (tokens * counts).sum(1) / counts.sum(1)


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    n = SAMPLES
    ids = classes("tokens", TOKENS, n, 3, LENGTH)
    mask = (torch.arange(LENGTH) < (1 + classes("lengths", LENGTH, n, 3, 1))).long()
    image, text = floats("image", n, 5), floats("text", n, 4)
    y, score = classes("y", 3, n), floats("score", n)
    export("encoder", initialized(Encoder(), "Encoder"), {"input_ids": ids[:, 0], "attention_mask": mask[:, 0]}, ["tokens"])
    export("towers", initialized(Towers(), "Towers"), {"image": image, "text": text}, ["image_embeds", "text_embeds"])

    def texts(model: nn.Module, count: int, pooling: str = "mean") -> Tensor:
        """The embeddings of the first texts of each sample, [N, count, 5]."""
        flat, counts = ids[:, :count].reshape(-1, LENGTH), mask[:, :count].reshape(-1, LENGTH)
        tokens = model(flat, counts)
        pooled = tokens[:, 0] if pooling == "cls" else mean_of_tokens(tokens, counts)
        return pooled.reshape(n, count, -1)

    def towers(model: nn.Module) -> Tensor:
        return torch.stack(model(image.double(), text.double()), 1)

    def triplets(e: Tensor, margin: float, **options: bool) -> Tensor:
        return F.triplet_margin_loss(e[:, 0], e[:, 1], e[:, 2], margin=margin, **options)

    def cosine(a: Tensor, b: Tensor) -> Tensor:
        return 1 - F.cosine_similarity(a, b)

    cosine_triplet = nn.TripletMarginWithDistanceLoss(distance_function=cosine, margin=0.5, swap=True)
    cases: dict[str, tuple[type[nn.Module], Callable[[nn.Module], Tensor]]] = {
        "pairs": (Encoder, lambda m: info_nce(texts(m, 2), 0.05)),
        "pairs by cls": (Encoder, lambda m: info_nce(texts(m, 2, "cls"), 0.1)),
        "negatives, symmetric": (Encoder, lambda m: info_nce(texts(m, 3), 0.1, symmetric=True)),
        "two towers": (Towers, lambda m: info_nce(towers(m), 0.2, symmetric=True)),
        "classes": (Encoder, lambda m: supervised(texts(m, 1)[:, 0], y, 0.1)),
        "triplets": (Encoder, lambda m: triplets(texts(m, 3), 1.0)),
        "triplets by cosine": (Encoder, lambda m: cosine_triplet(*texts(m, 3).unbind(1))),
        "all triplets of classes": (Encoder, lambda m: batch_all(texts(m, 1)[:, 0], y, 0.3)),
        "hardest triplets of classes": (Encoder, lambda m: batch_hard(texts(m, 1)[:, 0], y, 0.2)),
        "scores": (Encoder, lambda m: F.mse_loss(F.cosine_similarity(*texts(m, 2).unbind(1)), score.double())),
    }
    write_json(FOLDER / "losses.json", {
        "rate": RATE,
        "ids": ids.tolist(), "mask": mask.tolist(),
        "losses": {case: train(kind(), loss) for case, (kind, loss) in cases.items()},
    })  # fmt: skip


if __name__ == "__main__":
    main()
