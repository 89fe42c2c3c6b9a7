"""Codecs, speech synthesis and recognition, and one more forecaster of transformers.

Codecs choose codes, which no gradient passes: here their decoders read what their encoders give. VITS draws durations and noise;
its text encoder, flow and vocoder are compared in one row without them.
"""

import torch
from torch import nn

from .hub_more import hub
from .language import LENGTH, VOCABULARY, tokens
from .registry import architecture


class Through(nn.Module):
    """A function of a model and tensors."""

    def __init__(self, model: nn.Module, path) -> None:
        super().__init__()
        self.model, self.path = model, path

    def forward(self, *values):
        return self.path(self.model, *values)


def through(name: str, family: str, make, path, inputs) -> None:
    @architecture(family, name)
    def build():
        import transformers

        return Through(make(transformers), path), inputs()


def sound(length: int):
    return lambda: (torch.randn(2, 1, length),)


through(
    "encodec",
    "signals",
    lambda t: t.EncodecModel(
        t.EncodecConfig(
            **{"hidden_size": 16, "num_filters": 4, "upsampling_ratios": [4, 2], "codebook_size": 16, "num_lstm_layers": 1},
            **{"kernel_size": 3, "last_kernel_size": 3, "target_bandwidths": [1.5]},
        )
    ),
    lambda m, x: m.decoder(m.encoder(x)),
    sound(64),
)
through(
    "dac",
    "signals",
    lambda t: t.DacModel(
        t.DacConfig(
            **{"encoder_hidden_size": 4, "downsampling_ratios": [2, 4], "decoder_hidden_size": 16, "n_codebooks": 2},
            **{"codebook_size": 16, "codebook_dim": 4, "hidden_size": 16},
        )
    ),
    lambda m, x: m.decoder(m.encoder(x)),
    sound(64),
)
through(
    "vits",
    "signals",
    lambda t: t.VitsModel(
        t.VitsConfig(
            **{"vocab_size": VOCABULARY, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "ffn_dim": 24},
            **{"flow_size": 16, "spectrogram_bins": 9, "upsample_initial_channel": 8, "upsample_rates": [4, 2]},
            **{"upsample_kernel_sizes": [8, 4], "resblock_kernel_sizes": [3], "resblock_dilation_sizes": [[1, 3]]},
            **{"prior_encoder_num_flows": 2, "prior_encoder_num_wavenet_layers": 2, "posterior_encoder_num_wavenet_layers": 2},
            **{"hidden_dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0, "layerdrop": 0.0},
        )
    ),
    lambda m, ids: _voice(m, ids),
    lambda: (tokens(),),
)


def _voice(model, ids):
    mask = torch.ones(ids.shape[0], LENGTH, 1)
    encoded = model.text_encoder(
        input_ids=ids, padding_mask=mask.to(model.text_encoder.embed_tokens.weight.dtype), return_dict=True
    )
    means, spread = encoded.prior_means.transpose(1, 2), encoded.prior_log_variances.transpose(1, 2)
    latents = model.flow(means, mask.transpose(1, 2).to(means.dtype), None, reverse=True)
    return model.decoder(latents), spread


through(
    "hifi-gan",
    "signals",
    lambda t: t.SpeechT5HifiGan(
        t.SpeechT5HifiGanConfig(
            **{"model_in_dim": 6, "upsample_initial_channel": 8, "upsample_rates": [4, 2], "upsample_kernel_sizes": [8, 4]},
            **{"resblock_kernel_sizes": [3], "resblock_dilation_sizes": [[1, 3]], "normalize_before": False},
        )
    ),
    lambda m, spectrogram: m(spectrogram),
    lambda: (torch.randn(2, 8, 6),),
)
hub(
    "moonshine",
    "signals",
    lambda t: t.MoonshineForConditionalGeneration(
        t.MoonshineConfig(
            **{"vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "encoder_num_hidden_layers": 1},
            **{"decoder_num_hidden_layers": 1, "encoder_num_attention_heads": 4, "decoder_num_attention_heads": 4},
            **{"max_position_embeddings": 32, "use_cache": False, "pad_token_id": 0},
        )
    ),
    "logits",
    {"use_cache": False},
    input_values=lambda: torch.randn(2, 2000),
    decoder_input_ids=tokens,
)
hub(
    "bark",
    "signals",
    lambda t: t.BarkSemanticModel(
        t.BarkSemanticConfig(
            **{"block_size": 16, "input_vocab_size": VOCABULARY, "output_vocab_size": VOCABULARY, "num_layers": 2},
            **{"num_heads": 4, "hidden_size": 32, "use_cache": False},
        )
    ),
    "logits",
    {"use_cache": False},
    input_ids=tokens,
    attention_mask=lambda: torch.ones(2, LENGTH, dtype=torch.long),
)
SPEECH_T5 = {
    **{"vocab_size": VOCABULARY, "hidden_size": 32, "encoder_layers": 1, "encoder_attention_heads": 4, "encoder_ffn_dim": 48},
    **{"encoder_layerdrop": 0.0, "decoder_layers": 1, "decoder_ffn_dim": 48, "decoder_attention_heads": 4, "num_mel_bins": 6},
    **{"decoder_layerdrop": 0.0, "positional_dropout": 0.0, "hidden_dropout": 0.0, "attention_dropout": 0.0},
    **{"activation_dropout": 0.0, "speech_decoder_prenet_units": 16, "speech_decoder_prenet_dropout": 0.0},
    **{"speech_decoder_postnet_layers": 2, "speech_decoder_postnet_units": 8, "speech_decoder_postnet_dropout": 0.0},
    **{"speaker_embedding_dim": 8, "max_speech_positions": 20, "max_text_positions": 20, "use_cache": False},
    **{"encoder_max_relative_position": 8},
}
hub(
    "speecht5",
    "signals",
    lambda t: t.SpeechT5ForTextToSpeech(t.SpeechT5Config(**SPEECH_T5)),
    "spectrogram",
    {"use_cache": False},
    input_ids=tokens,
    attention_mask=lambda: torch.ones(2, LENGTH, dtype=torch.long),
    decoder_input_values=lambda: torch.randn(2, 6, 6),
    speaker_embeddings=lambda: torch.randn(2, 8),
)
hub(
    "timesfm",
    "series",
    lambda t: t.TimesFmModel(
        t.TimesFmConfig(
            **{"patch_length": 4, "context_length": 16, "horizon_length": 4, "num_hidden_layers": 2, "hidden_size": 32},
            **{"intermediate_size": 48, "head_dim": 8, "num_attention_heads": 4, "use_positional_embedding": False},
        )
    ),
    "last_hidden_state",
    past_values=lambda: torch.randn(2, 16),
    past_values_padding=lambda: torch.zeros(2, 16),
    freq=lambda: torch.tensor([[0], [1]]),
)
