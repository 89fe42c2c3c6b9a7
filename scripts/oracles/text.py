"""Writes test/fixtures/text: small tokenizers, texts, the tokens that Hugging Face's tokenizers make of them, and a small
classifier of texts.

Run: npm run python -- scripts/oracles/text.py
"""

import csv
import json
import warnings
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor, nn

from summary import write_json

FOLDER = Path(__file__).parents[2] / "test" / "fixtures" / "text"
LENGTH = 8
GOOD, BAD = ["warm", "kind", "bright", "lovely"], ["cold", "dull", "grey", "awful"]
THINGS = ["day", "film", "song", "café", "road", "book"]


def sentences() -> list[tuple[str, str]]:
    rows = []
    for i in range(24):
        thing, words = THINGS[i % 6], GOOD if i % 2 == 0 else BAD
        first, second = words[i % 4], words[(i // 4 + 1) % 4]
        text = f"What a {first} {thing}, so {second}!" if i % 3 else f"The {thing} was {first}"
        rows.append((text, "good" if i % 2 == 0 else "bad"))
    return rows


def word_pieces(texts: list[str]) -> Tokenizer:
    """As BERT's: [CLS] text [SEP], padded with [PAD]."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=70, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    save(tokenizer, "word-pieces", {"pad_token": "[PAD]", "mask_token": "[MASK]", "model_max_length": LENGTH})
    return tokenizer


def byte_pairs(texts: list[str]) -> Tokenizer:
    """As GPT-2's: bytes, no token that starts a text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    save(tokenizer, "byte-pairs", {"eos_token": "<|endoftext|>"})
    return tokenizer


def save(tokenizer: Tokenizer, name: str, config: dict[str, object]) -> None:
    (FOLDER / name).mkdir(parents=True, exist_ok=True)
    content = json.loads(tokenizer.to_str())
    (FOLDER / name / "tokenizer.json").write_text(json.dumps(content, ensure_ascii=False) + "\n")
    (FOLDER / name / "tokenizer_config.json").write_text(json.dumps(config) + "\n")


def pairs_of(tokenizer: Tokenizer, texts: list[str]) -> dict[str, list[dict[str, list[int]]]]:
    """Each text with the next one, cut to 9 or 24 tokens in each way."""
    found = {}
    for strategy in ("longest_first", "only_first", "only_second"):
        tokenizer.enable_truncation(24 if strategy != "longest_first" else 9, strategy=strategy)
        tokenizer.enable_padding(length=24 if strategy != "longest_first" else 9, pad_id=0, pad_token="[PAD]")
        encoded = [tokenizer.encode(*pair) for pair in zip([" ".join(texts[:2]), *texts[1:6]], [" ".join(texts[6:8]), *texts[1:6]])]
        found[strategy.replace("_", "-")] = [
            {"ids": one.ids, "attention": one.attention_mask, "types": one.type_ids} for one in encoded
        ]
    return found


class Classifier(nn.Module):
    """The mean of embeddings where the attention mask is 1, and two layers."""

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.word_embeddings, self.token_type_embeddings = nn.Embedding(tokens, 8), nn.Embedding(2, 8)
        self.dense, self.classifier = nn.Linear(8, 8), nn.Linear(8, 2)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        counts = attention_mask.unsqueeze(-1).float()
        x = (self.word_embeddings(input_ids) + self.token_type_embeddings(token_type_ids)) * counts
        return self.classifier(torch.tanh(self.dense(x.sum(1) / counts.sum(1))))


def export(tokens: int) -> None:
    torch.manual_seed(1)
    names = ["input_ids", "attention_mask", "token_type_ids"]
    ids = torch.ones(2, 3, dtype=torch.long)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            *(Classifier(tokens), (ids, ids, ids * 0), FOLDER / "classifier.onnx"),
            input_names=names,
            output_names=["logits"],
            dynamic_axes={**{name: {0: "batch_size", 1: "sequence_length"} for name in names}, "logits": {0: "batch_size"}},
            opset_version=17,
            dynamo=False,
        )


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    rows = sentences()
    texts = [text for text, _ in rows]
    with (FOLDER / "reviews.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("text", "label"), *rows])
    story = "\n".join(texts[:12]) + "\n\n" + " ".join(texts[12:]) + "\n"
    (FOLDER / "story.txt").write_text(story)
    lines = story.splitlines(keepends=True)
    pieces, pairs = word_pieces(texts), byte_pairs(texts)

    def blocks(tokenizer: Tokenizer) -> list[list[int]]:
        ids = [token for line in lines for token in tokenizer.encode(line).ids]
        return [ids[at : at + LENGTH] for at in range(0, len(ids) - LENGTH + 1, LENGTH)]

    joined = {"word-pieces": blocks(pieces), "byte-pairs": blocks(pairs)}
    pieces.enable_truncation(LENGTH)
    pieces.enable_padding(length=LENGTH, pad_id=0, pad_token="[PAD]")
    padded = [pieces.encode(text) for text in texts]
    write_json(
        FOLDER / "tokens.json",
        {
            "length": LENGTH,
            "blocks": joined,
            "rows": [row.ids for row in padded],
            "attention": [row.attention_mask for row in padded],
            "pairs": pairs_of(pieces, texts),
        },
    )
    export(pieces.get_vocab_size())


if __name__ == "__main__":
    main()
