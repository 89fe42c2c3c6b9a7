"""What data of language models usually leave out (src/data/token-columns.ts)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from .contract import Array
from .data import Column, Dataset, Pass, Rows
from .losses import UNCOUNTED
from .random_streams import SampleStreams

_USUAL = ("attention_mask", "token_type_ids", "position_ids")


def is_usual(name: str) -> bool:
    """Whether data usually leave out an input of that name."""
    return name in _USUAL


def tokens_of(dataset: Dataset) -> Column:
    """The array `input_ids`, else the one that serves as x."""
    return next((one for one in dataset.inputs if one.name == "input_ids"), dataset.main)


def _attention_of(dataset: Dataset, rows: Rows, shape: tuple[int, ...]) -> Array:
    column = next((one for one in dataset.inputs if one.name == "attention_mask"), None)
    return column.read(rows).reshape(len(rows), *shape) if column else np.ones((len(rows), *shape), np.int64)


def usual_column(name: str, dataset: Dataset) -> Column | None:
    """`attention_mask` 1, `token_type_ids` 0, `position_ids` the place of each token that the attention mask counts."""
    tokens = tokens_of(dataset)
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
    tokens = tokens_of(dataset)

    def read(rows: Rows) -> Array:
        counts: Array = _attention_of(dataset, rows, tokens.shape) != 0
        return np.where(counts, tokens.read(rows).reshape(counts.shape), UNCOUNTED)

    return Column(name, tokens.shape, read, is_float=False)


_MASKED, _CHANGED = 0.8, 0.9
"""Shares of the chosen tokens: those that become the mask token, and those that become it or a token at random."""


def masked_tokens(name: str, dataset: Dataset, masking: Mapping[str, Any]) -> tuple[Column, Column]:
    """Tokens some of which are masked, and their labels, as the loss masked-lm makes them (src/losses/masked-lm.ts)."""
    tokens = tokens_of(dataset)

    def made(rows: Rows, turn: Pass | None) -> tuple[Array, Array]:
        found = tokens.rows(rows, turn).reshape(len(rows), -1).astype(np.int64)
        counts = _attention_of(dataset, rows, tokens.shape).reshape(found.shape) != 0
        free = counts & ~np.isin(found, masking["specialTokens"])
        purpose, keys = ("tokens", (turn.seed, turn.epoch)) if turn else ("tokens of an evaluation", ())
        streams = SampleStreams(purpose, *keys, samples=rows)
        labels = np.full(found.shape, UNCOUNTED, np.int64)
        for at in range(found.shape[1]):
            # The same numbers are drawn for every place, so that one token does not decide about those behind it.
            choice, kind, other = streams.float32(), streams.float32(), streams.below(masking["tokens"])
            chosen = (choice < masking["probability"]) & free[:, at]
            labels[:, at] = np.where(chosen, found[:, at], UNCOUNTED)
            put = np.where(kind < _MASKED, masking["maskToken"], np.where(kind < _CHANGED, other, found[:, at]))
            found[:, at] = np.where(chosen, put, found[:, at])
        shape = (len(rows), *tokens.shape)
        return found.reshape(shape), labels.reshape(shape)

    return (
        replace(tokens, read=lambda rows: made(rows, None)[0], changed=lambda rows, turn: made(rows, turn)[0]),
        Column(
            name, tokens.shape, lambda rows: made(rows, None)[1], is_float=False, changed=lambda rows, turn: made(rows, turn)[1]
        ),
    )
