"""What data of language models usually leave out (src/data/token-columns.ts)."""

from __future__ import annotations

import numpy as np

from .contract import Array
from .data import Column, Dataset, Rows
from .losses import UNCOUNTED

_USUAL = ("attention_mask", "token_type_ids", "position_ids")


def is_usual(name: str) -> bool:
    """Whether data usually leave out an input of that name."""
    return name in _USUAL


def _tokens_of(dataset: Dataset) -> Column:
    by_name = {one.name: one for one in dataset.inputs}
    x = next((one for one in dataset.inputs if one.name.lower() == "x"), dataset.inputs[0])
    return by_name.get("input_ids", x)


def _attention_of(dataset: Dataset, rows: Rows, shape: tuple[int, ...]) -> Array:
    column = next((one for one in dataset.inputs if one.name == "attention_mask"), None)
    return column.read(rows).reshape(len(rows), *shape) if column else np.ones((len(rows), *shape), np.int64)


def usual_column(name: str, dataset: Dataset) -> Column | None:
    """`attention_mask` 1, `token_type_ids` 0, `position_ids` the place of each token that the attention mask counts."""
    tokens = _tokens_of(dataset)
    if not is_usual(name) or not 1 <= len(tokens.shape) <= 2 or tokens.is_float:
        return None

    def read(rows: Rows) -> Array:
        counts: Array = _attention_of(dataset, rows, tokens.shape) != 0
        if name == "attention_mask":
            return counts.astype(np.int64)
        if name == "token_type_ids":
            return np.zeros(counts.shape, np.int64)
        # Padding has place 1, as in Hugging Face's libraries.
        places: Array = np.where(counts, np.cumsum(counts, axis=-1) - 1, 1)
        return places

    return Column(name, tokens.shape, read, is_float=False)


def labels_of_tokens(name: str, dataset: Dataset) -> Column:
    """The tokens themselves, as labels of a causal language model; padding does not count."""
    tokens = _tokens_of(dataset)

    def read(rows: Rows) -> Array:
        counts: Array = _attention_of(dataset, rows, tokens.shape) != 0
        return np.where(counts, tokens.read(rows).reshape(counts.shape), UNCOUNTED)

    return Column(name, tokens.shape, read, is_float=False)
