"""Writes test/fixtures/hugging-face: small models of transformers, data as `datasets` writes them, and the losses of `Trainer`.

Needs accelerate, datasets and transformers beside scripts/requirements.txt. Run: python scripts/oracles/hugging_face.py
"""

import tempfile
import warnings
from typing import Any

import numpy as np
import onnx
import torch
import transformers as hf
from datasets import ClassLabel, Dataset, Features, Image, List, Value
from PIL import Image as Picture

from hugging_face_models import BATCH, FOLDER, LENGTH, TOKENS, bert, llama
from summary import rounded, write_json

SAMPLES, EPOCHS = 16, 3
random = np.random.default_rng(0)
lengths = [LENGTH, *random.integers(3, LENGTH + 1, SAMPLES - 1).tolist()]
ids = [random.integers(2, TOKENS, length).tolist() for length in lengths]
masks = [[1] * length for length in lengths]
kinds = ["bad", "fair", "good"]
tags = ["O", "B", "I"]

vit = hf.ViTConfig(
    hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=12, num_labels=2, image_size=8, patch_size=4,
    hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, attn_implementation="eager",
)  # fmt: skip


def write_model(name: str, model: Any, inputs: dict[str, torch.Tensor]) -> None:
    """In training form, as docs/from-hugging-face.md does: encoders by the older exporter, decoders by that of PyTorch 2.9 and newer."""
    path = FOLDER / name
    if name == "llama.onnx":
        batch, sequence = torch.export.Dim("batch"), torch.export.Dim("sequence")
        torch.onnx.export(
            model.train(), (), path, kwargs=inputs, output_names=["logits"], optimize=False, external_data=False,
            dynamic_shapes={one: {0: batch, 1: sequence} for one in inputs},
        )  # fmt: skip
        proto = onnx.load(path)
        # The source paths of every node are most of the file.
        for node in proto.graph.node:
            kept = [entry for entry in node.metadata_props if entry.key == "pkg.torch.onnx.name_scopes"]
            del node.metadata_props[:]
            node.metadata_props.extend(kept)
        del proto.graph.value_info[:]
        onnx.save(proto, path)
        return
    axes = {one: {0: "batch", 1: "sequence"} if value.dim() == 2 else {0: "batch"} for one, value in inputs.items()}
    torch.onnx.export(
        model.train(), tuple(inputs.values()), path, dynamo=False, input_names=list(inputs), output_names=["logits"],
        training=torch.onnx.TrainingMode.TRAINING, do_constant_folding=False, dynamic_axes={**axes, "logits": {0: "batch"}},
    )  # fmt: skip


def pictures() -> list[Picture.Image]:
    pixels = random.integers(0, 100, (SAMPLES, 8, 8, 3))
    pixels[np.arange(SAMPLES), :, :, 2 * (np.arange(SAMPLES) % 2)] += 100
    return [Picture.fromarray(one.astype(np.uint8)) for one in pixels]


class InOrder(hf.Trainer):
    """Takes the samples as they lie, and keeps the loss of every batch."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.losses: list[float] = []

    def _get_train_sampler(self, *_: Any) -> torch.utils.data.Sampler:
        return torch.utils.data.SequentialSampler(self.train_dataset)

    def training_step(self, *given: Any, **named: Any) -> torch.Tensor:
        loss = super().training_step(*given, **named)
        self.losses.append(rounded(loss.item()))
        return loss


def run(model: Any, data: Dataset, collator: Any, **options: Any) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        settings = hf.TrainingArguments(
            output_dir=folder, per_device_train_batch_size=BATCH, num_train_epochs=EPOCHS, use_cpu=True, report_to=[],
            save_strategy="no", disable_tqdm=True, logging_strategy="no", dataloader_drop_last=True, **options,
        )  # fmt: skip
        trainer = InOrder(model=model, args=settings, train_dataset=data, data_collator=collator)
        trainer.train()
    return {"losses": trainer.losses}


class Padding:
    """DataCollatorForTokenClassification without a tokenizer: 0 and −100 where a list ends."""

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        def padded(name: str, value: int) -> torch.Tensor:
            return torch.tensor([row[name] + [value] * (LENGTH - len(row[name])) for row in rows])

        both = {"input_ids": padded("input_ids", 0), "attention_mask": padded("attention_mask", 0)}
        if isinstance(rows[0]["labels"], list):
            return {**both, "labels": padded("labels", -100)}
        return {**both, "labels": torch.tensor([row["labels"] for row in rows])}


class Pixels:
    """ViTImageProcessor without resizing: (pixels / 255 − 0.5) / 0.5."""

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        pixels = np.stack([np.asarray(row["image"]) for row in rows]).transpose(0, 3, 1, 2)
        return {
            "pixel_values": torch.tensor((pixels / 255 - 0.5) / 0.5, dtype=torch.float32),
            "labels": torch.tensor([row["label"] for row in rows]),
        }


def main() -> None:
    warnings.simplefilter("ignore")
    FOLDER.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    tokens = {"input_ids": List(Value("int32")), "attention_mask": List(Value("int8"))}
    base = {"input_ids": ids, "attention_mask": masks}
    reviews = Dataset.from_dict(
        {**base, "idx": list(range(SAMPLES)), "labels": [one[0] % 3 for one in ids]},
        Features({**tokens, "idx": Value("int32"), "labels": ClassLabel(names=kinds)}),
    )
    words = [[f"w{token}" for token in one] for one in ids]
    tagged = Dataset.from_dict(
        {**base, "tokens": words, "labels": [[-100, *(token % 3 for token in one[1:])] for one in ids]},
        Features({**tokens, "tokens": List(Value("string")), "labels": List(Value("int64"))}),
    )
    story = Dataset.from_dict({**base, "labels": ids}, Features({**tokens, "labels": List(Value("int64"))}))
    pets = Dataset.from_dict(
        {"image": pictures(), "label": [i % 2 for i in range(SAMPLES)]},
        Features({"image": Image(), "label": ClassLabel(names=["cat", "dog"])}),
    )
    reviews.to_parquet(FOLDER / "reviews.parquet")
    tagged.to_parquet(FOLDER / "tags.parquet")
    story.to_parquet(FOLDER / "story.parquet")
    pets.to_parquet(FOLDER / "pets.parquet")
    ones = torch.ones(2, LENGTH, dtype=torch.long)
    inputs = {"input_ids": ones, "attention_mask": ones.clone()}
    models: dict[str, Any] = {
        "bert": hf.BertForSequenceClassification(bert),
        "tagger": hf.BertForTokenClassification(bert),
        "llama": hf.LlamaForCausalLM(llama),
        "vit": hf.ViTForImageClassification(vit),
    }
    for name, model in models.items():
        write_model(f"{name}.onnx", model, {"pixel_values": torch.rand(2, 3, 8, 8)} if name == "vit" else inputs)
    runs = {
        "bert": run(
            models["bert"], reviews, Padding(), learning_rate=5e-3, lr_scheduler_type="linear", warmup_steps=3,
            weight_decay=0.1, max_grad_norm=1.0, label_smoothing_factor=0.1,
        ),
        "tagger": run(
            models["tagger"], tagged.remove_columns("tokens"), Padding(), learning_rate=5e-3, lr_scheduler_type="cosine",
            weight_decay=0.1, max_grad_norm=0.5,
        ),
        "llama": run(
            models["llama"], story, Padding(), learning_rate=5e-3, lr_scheduler_type="constant", weight_decay=0.0,
            max_grad_norm=0.0, optim="sgd", optim_args="momentum=0.9",
        ),
        "vit": run(
            models["vit"], pets, Pixels(), learning_rate=5e-3, lr_scheduler_type="inverse_sqrt", warmup_steps=2, weight_decay=0.1,
            max_grad_norm=1.0, remove_unused_columns=False,
        ),
    }  # fmt: skip
    write_json(FOLDER / "runs.json", {"versions": {"torch": torch.__version__, "transformers": hf.__version__}, **runs})


if __name__ == "__main__":
    main()
