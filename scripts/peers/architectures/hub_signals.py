"""Speech, time series, images with texts and further text models of transformers, from small configurations."""

import torch

from .hub_more import hub, ones, pixels
from .language import CAUSAL, DROPOUTS, LENGTH, VOCABULARY, WIDTHS, tokens

SPEECH = {
    **{"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "vocab_size": 12},
    **{"conv_dim": (16, 16), "conv_stride": (5, 2), "conv_kernel": (10, 3), "num_conv_pos_embeddings": 8},
    **{"num_conv_pos_embedding_groups": 4, "hidden_dropout": 0.0, "attention_dropout": 0.0, "feat_proj_dropout": 0.0},
    **{"layerdrop": 0.0, "final_dropout": 0.0, "activation_dropout": 0.0, "mask_time_prob": 0.0, "apply_spec_augment": False},
}
SERIES = {
    **{"prediction_length": 4, "context_length": 8, "lags_sequence": [1, 2], "num_time_features": 1, "d_model": 16},
    **{"encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2},
    **{"encoder_ffn_dim": 24, "decoder_ffn_dim": 24, "dropout": 0.0, "encoder_layerdrop": 0.0, "decoder_layerdrop": 0.0},
    **{"attention_dropout": 0.0, "activation_dropout": 0.0, "use_cache": False},
}
EOS = VOCABULARY - 1


def wave():
    return torch.randn(2, 400)


def past(lags: int = 2) -> dict:
    history = 8 + lags
    return {
        "past_values": lambda: torch.randn(2, history),
        "past_time_features": lambda: torch.randn(2, history, 1),
        "past_observed_mask": lambda: torch.ones(2, history),
        "future_values": lambda: torch.randn(2, 4),
        "future_time_features": lambda: torch.randn(2, 4, 1),
    }


def text_of(config: dict | None = None) -> dict:
    return {**WIDTHS, "vocab_size": VOCABULARY, "max_position_embeddings": LENGTH, **(config or {})}


IMAGE = {**WIDTHS, "image_size": 32, "patch_size": 8}
hub("wav2vec2-ctc", "signals", lambda t: t.Wav2Vec2ForCTC(t.Wav2Vec2Config(**SPEECH)), "logits", input_values=wave)
hub(
    "wav2vec2-conformer",
    "signals",
    lambda t: t.Wav2Vec2ConformerForCTC(t.Wav2Vec2ConformerConfig(**SPEECH, position_embeddings_type="relative")),
    "logits",
    input_values=wave,
)
hub("hubert", "signals", lambda t: t.HubertForCTC(t.HubertConfig(**SPEECH)), "logits", input_values=wave)
hub("wavlm", "signals", lambda t: t.WavLMForCTC(t.WavLMConfig(**SPEECH, num_buckets=8)), "logits", input_values=wave)
hub("sew", "signals", lambda t: t.SEWForCTC(t.SEWConfig(**SPEECH, squeeze_factor=2)), "logits", input_values=wave)
hub(
    "whisper",
    "signals",
    lambda t: t.WhisperForConditionalGeneration(
        t.WhisperConfig(
            **{"vocab_size": VOCABULARY, "d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2},
            **{"decoder_attention_heads": 2, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "num_mel_bins": 16, "dropout": 0.0},
            **{"max_source_positions": 20, "max_target_positions": 16, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2},
            **{"decoder_start_token_id": 1, "suppress_tokens": None, "begin_suppress_tokens": None, "use_cache": False},
        )
    ),
    "logits",
    input_features=lambda: torch.randn(2, 16, 40),
    decoder_input_ids=tokens,
)
hub(
    "audio-spectrogram",
    "signals",
    lambda t: t.ASTForAudioClassification(t.ASTConfig(**WIDTHS, **DROPOUTS, patch_size=8, max_length=32, num_mel_bins=16)),
    "logits",
    input_values=lambda: torch.randn(2, 32, 16),
)
for name, kind in {"time-series-transformer": "TimeSeriesTransformer", "informer": "Informer"}.items():
    hub(
        name,
        "series",
        lambda t, kind=kind: getattr(t, f"{kind}Model")(getattr(t, f"{kind}Config")(**SERIES)),
        "last_hidden_state",
        **past(),
    )
hub(
    "patch-tst",
    "series",
    lambda t: t.PatchTSTForPrediction(
        t.PatchTSTConfig(
            **{"num_input_channels": 2, "context_length": 16, "prediction_length": 4, "patch_length": 4, "patch_stride": 4},
            **{"d_model": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "ffn_dim": 24, "scaling": "std", "loss": "mse"},
            **{"attention_dropout": 0.0, "ff_dropout": 0.0, "head_dropout": 0.0, "norm_type": "layernorm"},
        )
    ),
    "prediction_outputs",
    past_values=lambda: torch.randn(2, 16, 2),
)
hub(
    "patch-tsmixer",
    "series",
    lambda t: t.PatchTSMixerForPrediction(
        t.PatchTSMixerConfig(
            **{"num_input_channels": 2, "context_length": 16, "prediction_length": 4, "patch_length": 4, "patch_stride": 4},
            **{"d_model": 8, "num_layers": 2, "dropout": 0.0, "head_dropout": 0.0, "scaling": "std"},
        )
    ),
    "prediction_outputs",
    past_values=lambda: torch.randn(2, 16, 2),
)
hub(
    "siglip",
    "images with texts",
    lambda t: t.SiglipModel(t.SiglipConfig(text_config=text_of(), vision_config=IMAGE)),
    "logits_per_image",
    input_ids=tokens,
    pixel_values=pixels(32),
)
hub(
    "blip",
    "images with texts",
    lambda t: t.BlipForConditionalGeneration(
        t.BlipConfig(
            text_config=text_of(
                {
                    "encoder_hidden_size": 32,
                    "bos_token_id": 0,
                    "eos_token_id": 1,
                    "hidden_dropout_prob": 0.0,
                    "attention_probs_dropout_prob": 0.0,
                }
            ),
            vision_config=IMAGE,
        )
    ),
    "logits",
    pixel_values=pixels(32),
    input_ids=tokens,
    attention_mask=ones(2, LENGTH),
)
hub(
    "layoutlm",
    "images with texts",
    lambda t: t.LayoutLMForTokenClassification(
        t.LayoutLMConfig(**text_of(), **DROPOUTS, max_2d_position_embeddings=32, num_labels=3)
    ),
    "logits",
    input_ids=tokens,
    bbox=lambda: torch.tensor([1, 2, 11, 20]).repeat(2, LENGTH, 1) + torch.arange(LENGTH)[None, :, None],
)
hub(
    "trocr",
    "images with texts",
    lambda t: t.VisionEncoderDecoderModel(
        encoder=t.ViTModel(t.ViTConfig(**IMAGE, **DROPOUTS), add_pooling_layer=False),
        decoder=t.TrOCRForCausalLM(
            t.TrOCRConfig(
                **{"vocab_size": VOCABULARY, "d_model": 32, "decoder_layers": 1, "decoder_attention_heads": 2, "dropout": 0.0},
                **{"decoder_ffn_dim": 48, "max_position_embeddings": 32, "cross_attention_hidden_size": 32, "use_cache": False},
                **{"add_cross_attention": True, "is_decoder": True},
            )
        ),
    ),
    "logits",
    pixel_values=pixels(32),
    decoder_input_ids=tokens,
)
hub(
    "video-mae",
    "video",
    lambda t: t.VideoMAEForVideoClassification(t.VideoMAEConfig(**IMAGE, **DROPOUTS, num_frames=4, num_labels=3)),
    "logits",
    pixel_values=lambda: torch.randn(2, 4, 3, 32, 32),
)
hub(
    "timesformer",
    "video",
    lambda t: t.TimesformerForVideoClassification(t.TimesformerConfig(**IMAGE, **DROPOUTS, num_frames=3, num_labels=3)),
    "logits",
    pixel_values=lambda: torch.randn(2, 3, 3, 32, 32),
)
hub(
    "vivit",
    "video",
    lambda t: t.VivitForVideoClassification(
        t.VivitConfig(**WIDTHS, **DROPOUTS, image_size=32, tubelet_size=[2, 8, 8], num_frames=4, num_labels=3)
    ),
    "logits",
    pixel_values=lambda: torch.randn(2, 4, 3, 32, 32),
)
ids = {"input_ids": tokens, "attention_mask": ones(2, LENGTH)}
SMALL = {**WIDTHS, "vocab_size": VOCABULARY, "max_position_embeddings": 32}
hub("mpnet", "language", lambda t: t.MPNetModel(t.MPNetConfig(**SMALL, **DROPOUTS)), "last_hidden_state", **ids)
hub(
    "roformer",
    "language",
    lambda t: t.RoFormerModel(t.RoFormerConfig(**SMALL, **DROPOUTS, embedding_size=32)),
    "last_hidden_state",
    **ids,
)
hub(
    "longformer",
    "language",
    lambda t: t.LongformerModel(t.LongformerConfig(**SMALL, **DROPOUTS, attention_window=[4, 4])),
    "last_hidden_state",
    **ids,
)
hub(
    "big-bird",
    "language",
    lambda t: t.BigBirdModel(t.BigBirdConfig(**SMALL, **DROPOUTS, attention_type="original_full")),
    "last_hidden_state",
    **ids,
)
hub("ibert", "language", lambda t: t.IBertModel(t.IBertConfig(**SMALL, **DROPOUTS)), "last_hidden_state", **ids)
hub(
    "esm",
    "language",
    lambda t: t.EsmForMaskedLM(
        t.EsmConfig(**SMALL, **DROPOUTS, pad_token_id=1, mask_token_id=2, position_embedding_type="rotary")
    ),
    "logits",
    **ids,
)
hub("tapas", "language", lambda t: t.TapasModel(t.TapasConfig(**SMALL, **DROPOUTS)), "last_hidden_state", **ids)
hub(
    "pegasus",
    "language",
    lambda t: t.PegasusForConditionalGeneration(
        t.PegasusConfig(
            vocab_size=VOCABULARY,
            d_model=32,
            encoder_layers=1,
            decoder_layers=1,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=48,
            decoder_ffn_dim=48,
            dropout=0.0,
            max_position_embeddings=32,
            use_cache=False,
        )
    ),
    "logits",
    **ids,
    decoder_input_ids=tokens,
)
hub(
    "gpt-neo",
    "language",
    lambda t: t.GPTNeoForCausalLM(
        t.GPTNeoConfig(
            vocab_size=VOCABULARY,
            hidden_size=32,
            num_layers=2,
            attention_types=[[["global", "local"], 1]],
            num_heads=4,
            window_size=4,
            max_position_embeddings=32,
            resid_dropout=0.0,
            embed_dropout=0.0,
            attention_dropout=0.0,
            use_cache=False,
        )
    ),
    "logits",
    **ids,
)
hub(
    "gptj",
    "language",
    lambda t: t.GPTJForCausalLM(
        t.GPTJConfig(
            vocab_size=VOCABULARY,
            n_embd=32,
            n_layer=2,
            n_head=4,
            rotary_dim=4,
            n_positions=32,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            use_cache=False,
        )
    ),
    "logits",
    **ids,
)
hub(
    "phi3",
    "language",
    lambda t: t.Phi3ForCausalLM(t.Phi3Config(**CAUSAL, pad_token_id=0, eos_token_id=1, bos_token_id=2)),
    "logits",
    **ids,
)
hub(
    "recurrent-gemma",
    "language",
    lambda t: t.RecurrentGemmaForCausalLM(
        t.RecurrentGemmaConfig(
            **{k: v for k, v in CAUSAL.items() if k != "max_position_embeddings"},
            lru_width=32,
            attention_window_size=8,
            block_types=["recurrent", "attention"],
            num_key_value_heads=1,
        )
    ),
    "logits",
    **ids,
)
hub(
    "decision-transformer",
    "series",
    lambda t: t.DecisionTransformerModel(
        t.DecisionTransformerConfig(
            state_dim=5,
            act_dim=3,
            hidden_size=32,
            n_layer=1,
            n_head=2,
            max_ep_len=16,
            n_positions=64,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
        )
    ),
    "state_preds action_preds return_preds",
    states=lambda: torch.randn(2, 4, 5),
    actions=lambda: torch.randn(2, 4, 3),
    rewards=lambda: torch.randn(2, 4, 1),
    returns_to_go=lambda: torch.randn(2, 4, 1),
    timesteps=lambda: torch.arange(4).repeat(2, 1),
    attention_mask=ones(2, 4),
)
