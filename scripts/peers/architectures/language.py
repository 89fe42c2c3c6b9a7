"""Transformers for text and other data, from the package transformers and from PyTorch's own layers."""

import torch
from torch import Tensor, nn

from .registry import architecture

VOCABULARY, LENGTH = 50, 8
WIDTHS = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
CAUSAL = {**WIDTHS, "vocab_size": VOCABULARY, "max_position_embeddings": 32, "use_cache": False}
DROPOUTS = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


class Tokens(nn.Module):
    """A model of the package transformers as a function of token numbers; only its first output is compared."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *tokens: Tensor) -> Tensor:
        # Without masks, decoders look for packed sequences by an operator that the TorchScript exporter lacks.
        masks = ("attention_mask", "decoder_attention_mask")
        named = dict(zip(("input_ids", "decoder_input_ids"), tokens)) | {m: torch.ones_like(t) for m, t in zip(masks, tokens)}
        return self.model(**named, use_cache=False, return_dict=False)[0]


class Encoded(Tokens):
    """The same for encoders, which keep no cache."""

    def forward(self, *tokens: Tensor) -> Tensor:
        return self.model(input_ids=tokens[0], return_dict=False)[0]


def tokens() -> Tensor:
    """The first numbers mark padding, ends and the like; PyTorch gives the embedding of padding no gradient."""
    return torch.randint(3, VOCABULARY, (2, LENGTH))


def hub_model(name: str, family: str, model: str, config: str, wrap=Tokens, inputs: int = 1, **options) -> None:
    """A class of transformers and its configuration; loaded only when it is built."""

    @architecture(family, name)
    def build():
        import transformers

        net = getattr(transformers, model)._from_config(getattr(transformers, config)(**options))
        return wrap(net), tuple(tokens() for _ in range(inputs))


grouped = {**CAUSAL, "num_key_value_heads": 2}
hub_model(
    "gpt2",
    "language",
    "GPT2LMHeadModel",
    "GPT2Config",
    **{"vocab_size": VOCABULARY, "n_positions": 32, "n_embd": 32, "n_layer": 2, "n_head": 4},
    **{"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0},
)
hub_model("llama", "language", "LlamaForCausalLM", "LlamaConfig", **grouped)
hub_model("mistral", "language", "MistralForCausalLM", "MistralConfig", **grouped, sliding_window=4)
hub_model("qwen2", "language", "Qwen2ForCausalLM", "Qwen2Config", **grouped, tie_word_embeddings=True)
hub_model("gemma", "language", "GemmaForCausalLM", "GemmaConfig", **grouped, head_dim=8)
hub_model("phi", "language", "PhiForCausalLM", "PhiConfig", **CAUSAL)
hub_model(
    "gpt-neox", "language", "GPTNeoXForCausalLM", "GPTNeoXConfig", **CAUSAL, attention_dropout=0.0, hidden_dropout=0.0
)
hub_model(
    "opt",
    "language",
    "OPTForCausalLM",
    "OPTConfig",
    **{"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "ffn_dim": 64},
    **{"max_position_embeddings": 32, "word_embed_proj_dim": 32, "dropout": 0.0},
)
hub_model(
    "mamba",
    "language",
    "MambaForCausalLM",
    "MambaConfig",
    **{"vocab_size": VOCABULARY, "hidden_size": 16, "num_hidden_layers": 1, "state_size": 4},
)
encoder = {**WIDTHS, **DROPOUTS, "vocab_size": VOCABULARY, "max_position_embeddings": 32}
hub_model("bert", "language", "BertForMaskedLM", "BertConfig", wrap=Encoded, **encoder)
hub_model("albert", "language", "AlbertModel", "AlbertConfig", wrap=Encoded, **encoder, embedding_size=16)
hub_model("roberta", "language", "RobertaModel", "RobertaConfig", wrap=Encoded, **encoder)
hub_model("electra", "language", "ElectraModel", "ElectraConfig", wrap=Encoded, **encoder, embedding_size=16)
hub_model(
    "distilbert",
    "language",
    "DistilBertModel",
    "DistilBertConfig",
    wrap=Encoded,
    **{"vocab_size": VOCABULARY, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64},
    **{"dropout": 0.0, "attention_dropout": 0.0, "max_position_embeddings": 32},
)
hub_model(
    "t5",
    "language",
    "T5ForConditionalGeneration",
    "T5Config",
    inputs=2,
    **{"vocab_size": VOCABULARY, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4},
    **{"dropout_rate": 0.0, "decoder_start_token_id": 0, "attn_implementation": "eager"},
)
hub_model(
    "bart",
    "language",
    "BartForConditionalGeneration",
    "BartConfig",
    inputs=2,
    **{"vocab_size": VOCABULARY, "d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "dropout": 0.0},
    **{"encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64},
    **{"max_position_embeddings": 32},
)


@architecture("language")
def clip():
    from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPVisionConfig

    text = CLIPTextConfig(**CAUSAL, eos_token_id=VOCABULARY - 1, bos_token_id=0, pad_token_id=1)
    vision = CLIPVisionConfig(**WIDTHS, image_size=32, patch_size=8)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = CLIPModel(CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=16))

        def forward(self, ids: Tensor, pixels: Tensor) -> Tensor:
            return self.model(input_ids=ids, pixel_values=pixels, return_dict=False)[0]

    return Net(), (tokens(), torch.randn(2, 3, 32, 32))


class CharacterModel(nn.Module):
    """A causal character model with rotary positions and SwiGLU, its output tied to its embedding."""

    def __init__(self, width: int = 32, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.embed = nn.Embedding(VOCABULARY, width)
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.gate, self.up = nn.Linear(width, 2 * width, bias=False), nn.Linear(width, 2 * width, bias=False)
        self.down, self.norm1, self.norm2 = nn.Linear(2 * width, width, bias=False), nn.RMSNorm(width), nn.RMSNorm(width)

    @staticmethod
    def rotate(x: Tensor) -> Tensor:
        half = x.shape[-1] // 2
        angles = torch.arange(x.shape[-2])[:, None] * 100.0 ** (-torch.arange(half) / half)
        a, b = x[..., :half], x[..., half:]
        return torch.cat([a * angles.cos() - b * angles.sin(), a * angles.sin() + b * angles.cos()], -1)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed(ids)
        batch, length, width = x.shape
        split = self.qkv(self.norm1(x)).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        q, k, v = split.unbind(0)
        attended = nn.functional.scaled_dot_product_attention(self.rotate(q), self.rotate(k), v, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).reshape(batch, length, width))
        h = self.norm2(x)
        x = x + self.down(nn.functional.silu(self.gate(h)) * self.up(h))
        return x @ self.embed.weight.T


@architecture("language")
def character_model():
    return CharacterModel(), (tokens(),)


@architecture("language")
def transformer_encoder():
    layer = nn.TransformerEncoderLayer(32, 4, 64, 0.0, batch_first=True)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), (torch.randn(2, LENGTH, 32),)


@architecture("language")
def transformer():
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.source, self.target = nn.Embedding(VOCABULARY, 32), nn.Embedding(VOCABULARY, 32)
            self.core = nn.Transformer(32, 4, 1, 1, 64, 0.0, batch_first=True)
            self.head = nn.Linear(32, VOCABULARY)
            self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(LENGTH))

        def forward(self, source: Tensor, target: Tensor) -> Tensor:
            return self.head(self.core(self.source(source), self.target(target), tgt_mask=self.mask, tgt_is_causal=True))

    return Net(), (tokens(), tokens())


class Perceiver(nn.Module):
    """Learned latents that attend to the input."""

    def __init__(self) -> None:
        super().__init__()
        self.latent_embed = nn.Parameter(torch.randn(1, 4, 32))
        self.cross, self.inner = (nn.MultiheadAttention(32, 4, batch_first=True) for _ in range(2))
        self.head = nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        latents = self.latent_embed.expand(x.shape[0], -1, -1)
        latents = latents + self.cross(latents, x, x, need_weights=False)[0]
        latents = latents + self.inner(latents, latents, latents, need_weights=False)[0]
        return self.head(latents.mean(1))


@architecture("language")
def perceiver():
    return Perceiver(), (torch.randn(2, LENGTH, 32),)


class MixtureOfExperts(nn.Module):
    """Every expert runs; the two best of each token are kept by a mask."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(16, 4)
        self.experts = nn.ModuleList([nn.Sequential(nn.Linear(16, 32), nn.GELU("tanh"), nn.Linear(32, 16)) for _ in range(4)])

    def forward(self, x: Tensor) -> Tensor:
        best, index = self.gate(x).topk(2, -1)
        weights = x.new_zeros(*x.shape[:-1], 4).scatter(-1, index, best.softmax(-1))
        return sum(weights[..., i : i + 1] * expert(x) for i, expert in enumerate(self.experts))


@architecture("language")
def mixture_of_experts():
    return MixtureOfExperts(), (torch.randn(2, 6, 16),)
