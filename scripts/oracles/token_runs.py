"""Writes test/fixtures/hugging-face/token-runs.json: losses of two of the models there with Adafactor, with Lion, and with masked tokens.

Needs transformers beside scripts/requirements.txt. Run: python scripts/oracles/token_runs.py
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import torch
import transformers as hf

from hugging_face_models import BATCH, FOLDER, LENGTH, TOKENS, bert, llama
from summary import rounded, write_json

SAMPLES, EPOCHS, MASK = 8, 6, TOKENS - 1
random = np.random.default_rng(1)


class Lion:
    """Algorithm 2 of arXiv 2302.06675 in numpy, in float64."""

    def __init__(self, parameters: Any, rate: float, decay: float) -> None:
        self.parameters = list(parameters)
        self.rate, self.decay, self.beta1, self.beta2 = rate, decay, 0.9, 0.99
        self.m = [np.zeros(tuple(p.shape)) for p in self.parameters]

    def zero_grad(self) -> None:
        for p in self.parameters:
            p.grad = None

    def step(self) -> None:
        for i, p in enumerate(self.parameters):
            w, g = p.detach().numpy().astype(np.float64), p.grad.numpy().astype(np.float64)
            update = np.sign(self.beta1 * self.m[i] + (1 - self.beta1) * g)
            self.m[i] = self.beta2 * self.m[i] + (1 - self.beta2) * g
            with torch.no_grad():
                p.copy_(torch.from_numpy(w - self.rate * (update + self.decay * w)))


def model_of(name: str, made: Any) -> Any:
    """The model with the weights that its file has."""
    file = onnx.load(FOLDER / f"{name}.onnx")
    weights = {one.name: torch.from_numpy(onnx.numpy_helper.to_array(one).copy()) for one in file.graph.initializer}
    state = made.state_dict()
    made.load_state_dict({key: weights[key] for key in state if key in weights}, strict=False)
    assert all(key in weights for key, _ in made.named_parameters())
    return made.train()


def losses(model: Any, data: dict[str, np.ndarray], make: Callable[[Any], Any]) -> list[float]:
    optimizer = make(model.parameters())
    found = []
    for first in list(range(0, SAMPLES, BATCH)) * EPOCHS:
        rows = {key: torch.from_numpy(value[first : first + BATCH]) for key, value in data.items()}
        labels = rows.pop("labels")
        logits = model(**rows).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(rounded(loss.item()))
    return found


def main() -> None:
    ids = random.integers(2, MASK, (SAMPLES, LENGTH))
    attention = (np.arange(LENGTH) < random.integers(4, LENGTH + 1, (SAMPLES, 1))).astype(np.int64)
    tagged = {"input_ids": ids, "attention_mask": attention, "labels": np.where(attention == 1, ids % 3, -100)}
    # Fixed masks: the token at a masked place is the label, and no other place counts.
    masked = (random.random((SAMPLES, LENGTH)) < 0.3) & (attention == 1)
    masked[:, 0] = True
    hidden = {**tagged, "input_ids": np.where(masked, MASK, ids), "labels": np.where(masked, ids, -100)}
    tagger = hf.BertForTokenClassification
    runs = {
        "adafactor": losses(model_of("tagger", tagger(bert)), tagged, lambda p: torch.optim.Adafactor(p, lr=1e-2)),
        "lion": losses(model_of("tagger", tagger(bert)), tagged, lambda p: Lion(p, 1e-3, 0.1)),
        "masked": losses(
            model_of("llama", hf.LlamaForCausalLM(llama)), hidden, lambda p: torch.optim.AdamW(p, lr=5e-3, weight_decay=0.01)
        ),
    }
    data = {
        name: {key: value.flatten().tolist() for key, value in one.items()}
        for name, one in (("tagged", tagged), ("hidden", hidden))
    }
    write_json(
        FOLDER / "token-runs.json",
        {"versions": {"torch": torch.__version__, "transformers": hf.__version__}, "data": data, **runs},
    )


if __name__ == "__main__":
    main()
