"""The small models of scripts/oracles/hugging_face.py, and where their files lie."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import transformers as hf

FOLDER = Path(__file__).parents[2] / "test" / "fixtures" / "hugging-face"
TOKENS, LENGTH, BATCH = 24, 7, 4

sizes: Mapping[str, Any] = {"vocab_size": TOKENS, "max_position_embeddings": 16, "attn_implementation": "eager"}
bert = hf.BertConfig(
    **sizes, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=12, num_labels=3,
    hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
)  # fmt: skip
llama = hf.LlamaConfig(
    **sizes, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1, intermediate_size=12,
    use_cache=False, bos_token_id=0, eos_token_id=1, pad_token_id=0,
)  # fmt: skip
