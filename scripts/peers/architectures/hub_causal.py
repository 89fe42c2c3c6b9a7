"""Decoders of transformers of other kinds than those in language.py: experts, state spaces, hybrids, and images beside the text."""

import torch

from .hub_more import hub, ones, pixels
from .language import CAUSAL, DROPOUTS, LENGTH, VOCABULARY, WIDTHS, tokens

IDS = {"input_ids": tokens, "attention_mask": ones(2, LENGTH)}
GROUPED = {**CAUSAL, "num_key_value_heads": 2}
ENDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


def causal(name: str, kind: str, **options) -> None:
    hub(
        name,
        "language",
        lambda t: getattr(t, f"{kind}ForCausalLM")(
            getattr(t, f"{kind.removesuffix('Text')}{'Text' if kind == 'Gemma3' else ''}Config")(**options)
        ),
        "logits",
        **IDS,
    )


LOCAL = {**GROUPED, **ENDS, "head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": 4}
causal("qwen3", "Qwen3", **GROUPED, head_dim=8)
causal("gemma2", "Gemma2", **LOCAL, layer_types=["sliding_attention", "full_attention"])
causal("gemma3", "Gemma3", **LOCAL, layer_types=["sliding_attention", "full_attention"])
EXPERTS = {**GROUPED, "num_experts_per_tok": 2, "experts_implementation": "batched_mm"}
causal("mixtral", "Mixtral", **EXPERTS, num_local_experts=4)
causal("olmoe", "Olmoe", **EXPERTS, **ENDS, num_experts=4)
causal("qwen3-moe", "Qwen3Moe", **EXPERTS, head_dim=8, num_experts=4, moe_intermediate_size=24)
causal(
    "deepseek-v3",
    "DeepseekV3",
    **{**EXPERTS, "num_key_value_heads": 4, "moe_intermediate_size": 24, "n_routed_experts": 4, "n_group": 2, "topk_group": 1},
    **{"kv_lora_rank": 8, "q_lora_rank": 12, "qk_rope_head_dim": 4, "qk_nope_head_dim": 8, "v_head_dim": 8},
    first_k_dense_replace=1,
)
causal("granite", "Granite", **GROUPED, **ENDS, logits_scaling=2.0, residual_multiplier=0.5)
causal("stablelm", "StableLm", **GROUPED, **ENDS)
causal("olmo2", "Olmo2", **GROUPED, **ENDS)
causal(
    "mamba2",
    "Mamba2",
    **{"vocab_size": VOCABULARY, "hidden_size": 16, "num_hidden_layers": 1, "state_size": 4, "num_heads": 4, "head_dim": 8},
    **{"n_groups": 2, "chunk_size": 4, "use_cache": False},
    **ENDS,
)
causal(
    "falcon-h1",
    "FalconH1",
    **{**GROUPED, **ENDS, "mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8, "mamba_d_state": 4, "mamba_chunk_size": 4},
    mamba_n_groups=2,
)
causal(
    "lfm2",
    "Lfm2",
    **{**GROUPED, **ENDS, "block_auto_adjust_ff_dim": False, "conv_L_cache": 3},
    layer_types=["conv", "full_attention"],
)
causal(
    "qwen3-next",
    "Qwen3Next",
    **{**EXPERTS, "head_dim": 8, "num_experts": 4, "moe_intermediate_size": 24, "shared_expert_intermediate_size": 24},
    **{"linear_key_head_dim": 8, "linear_value_head_dim": 8, "linear_num_key_heads": 2, "linear_num_value_heads": 4},
    layer_types=["linear_attention", "full_attention"],
)
causal(
    "jamba",
    "Jamba",
    **{**EXPERTS, **ENDS, "num_experts": 4, "attn_layer_period": 2, "attn_layer_offset": 1, "mamba_d_state": 4},
    **{"use_mamba_kernels": False, "mamba_dt_rank": 4},
)
hub(
    "rwkv",
    "language",
    lambda t: t.RwkvForCausalLM(
        t.RwkvConfig(
            **{"vocab_size": VOCABULARY, "context_length": LENGTH, "hidden_size": 32, "num_hidden_layers": 2, "rescale_every": 0},
            use_cache=False,
        )
    ),
    "logits",
    input_ids=tokens,
)
hub(
    "modernbert",
    "language",
    lambda t: t.ModernBertForMaskedLM(
        t.ModernBertConfig(
            **{**WIDTHS, "vocab_size": VOCABULARY, "max_position_embeddings": 32, "local_attention": 4},
            **{**ENDS, "cls_token_id": 1, "sep_token_id": 2, "layer_types": ["full_attention", "sliding_attention"]},
        )
    ),
    "logits",
    **IDS,
)
hub(
    "deberta-v2",
    "language",
    lambda t: t.DebertaV2ForMaskedLM(
        t.DebertaV2Config(
            **{**WIDTHS, **DROPOUTS, "vocab_size": VOCABULARY, "max_position_embeddings": 32, "relative_attention": True},
            **{"pos_att_type": ["p2c", "c2p"], "position_buckets": 4, "norm_rel_ebd": "layer_norm", "share_att_key": True},
        )
    ),
    "logits",
    **IDS,
)
hub(
    "xlnet",
    "language",
    lambda t: t.XLNetLMHeadModel(
        t.XLNetConfig(vocab_size=VOCABULARY, d_model=32, n_layer=2, n_head=4, d_inner=64, dropout=0.0, summary_last_dropout=0.0)
    ),
    "logits",
    {"use_mems": False},
    **IDS,
)
IMAGE = 3
VISION = {**WIDTHS, "image_size": 32, "patch_size": 16}


def captions(images: int):
    """Tokens whose first numbers stand for the patches of an image."""

    def draw() -> torch.Tensor:
        ids = torch.randint(IMAGE + 1, VOCABULARY, (2, LENGTH))
        ids[:, 1 : 1 + images] = IMAGE
        return ids

    return draw


TEXT = {**GROUPED, **ENDS, "model_type": "llama"}
hub(
    "llava",
    "images with texts",
    lambda t: t.LlavaForConditionalGeneration(
        t.LlavaConfig(
            vision_config={**VISION, "model_type": "clip_vision_model"},
            text_config=TEXT,
            **{"image_token_index": IMAGE, "image_seq_length": 4, "vision_feature_layer": -1},
        )
    ),
    "logits",
    {"use_cache": False},
    input_ids=captions(4),
    pixel_values=pixels(32),
    attention_mask=ones(2, LENGTH),
)
hub(
    "idefics3",
    "images with texts",
    lambda t: t.Idefics3ForConditionalGeneration(
        t.Idefics3Config(
            vision_config={**VISION, "patch_size": 8},
            text_config=TEXT,
            **{"image_token_id": IMAGE, "scale_factor": 2, "pad_token_id": 0, "use_cache": False},
        )
    ),
    "logits",
    {"use_cache": False},
    input_ids=captions(4),
    pixel_values=lambda: torch.randn(2, 1, 3, 32, 32),
    attention_mask=ones(2, LENGTH),
)
hub(
    "florence2",
    "images with texts",
    lambda t: t.Florence2ForConditionalGeneration(
        t.Florence2Config(
            vision_config={
                **{"depths": [1, 1, 1, 1], "embed_dim": [8, 16, 16, 32], "num_heads": [2, 2, 2, 4], "num_groups": [2, 2, 2, 4]},
                **{"window_size": 2, "drop_path_rate": 0.0, "projection_dim": 32, "max_position_embeddings": 8},
                "max_temporal_embeddings": 4,
            },
            text_config={
                **{"model_type": "bart", "vocab_size": VOCABULARY, "d_model": 32, "encoder_layers": 1, "decoder_layers": 1},
                **{"encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48},
                **{"max_position_embeddings": 32, "dropout": 0.0, **ENDS, "is_encoder_decoder": True},
            },
            image_token_id=IMAGE,
        )
    ),
    "logits",
    {"use_cache": False},
    input_ids=captions(5),
    pixel_values=pixels(64),
    attention_mask=ones(2, LENGTH),
    decoder_input_ids=tokens,
)
