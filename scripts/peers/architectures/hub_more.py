"""More networks of transformers: detection, segmentation, depth, speech, images with texts, time series and text."""

import torch
from torch import Tensor, nn

from .language import DROPOUTS, LENGTH, VOCABULARY, WIDTHS, tokens
from .registry import architecture


class Named(nn.Module):
    """A model of transformers as a function of some of its inputs, by name, that gives some of its outputs, by name."""

    def __init__(self, model: nn.Module, inputs: tuple[str, ...], outputs: tuple[str, ...], fixed: dict) -> None:
        super().__init__()
        self.model, self.inputs, self.outputs, self.fixed = model, inputs, outputs, fixed

    def forward(self, *values: Tensor) -> tuple[Tensor, ...]:
        result = self.model(**dict(zip(self.inputs, values)), **self.fixed, return_dict=True)
        return tuple(result[name] for name in self.outputs)


def hub(name: str, family: str, make, outputs: str, fixed: dict | None = None, undetached: bool = False, **inputs) -> None:
    """`make` gets the package transformers and builds the model; inputs are functions that draw a value."""

    @architecture(family, name, undetached)
    def build():
        import transformers

        net = Named(make(transformers), tuple(inputs), tuple(outputs.split()), fixed or {})
        return net, tuple(draw() for draw in inputs.values())


def pixels(size: int = 64, batch: int = 2, channels: int = 3):
    return lambda: torch.randn(batch, channels, size, size)


def ones(*shape: int):
    return lambda: torch.ones(*shape, dtype=torch.long)


def small_resnet(t, stages=("stage2", "stage3", "stage4")):
    return t.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1], out_features=list(stages))


def small_swin(t):
    return t.SwinConfig(
        **{"image_size": 64, "patch_size": 4, "embed_dim": 16, "depths": [1, 1, 1, 1], "num_heads": [1, 2, 2, 4]},
        **{"window_size": 2, "drop_path_rate": 0.0, "out_features": ["stage1", "stage2", "stage3", "stage4"]},
    )


ALL = ("stage1", "stage2", "stage3", "stage4")
DETR = {
    **{"d_model": 32, "encoder_layers": 1, "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4},
    **{"encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "num_queries": 5, "num_labels": 4, "dropout": 0.0},
}


def no_timm(t, config: str, **options):
    return getattr(t, config)(backbone_config=small_resnet(t), use_timm_backbone=False, backbone=None, **DETR, **options)


boxes = "logits pred_boxes"
hub("detr", "detection", lambda t: t.DetrForObjectDetection(no_timm(t, "DetrConfig")), boxes, pixel_values=pixels())
hub(
    "conditional-detr",
    "detection",
    lambda t: t.ConditionalDetrForObjectDetection(no_timm(t, "ConditionalDetrConfig")),
    boxes,
    pixel_values=pixels(),
)
hub(
    "yolos",
    "detection",
    lambda t: t.YolosForObjectDetection(
        t.YolosConfig(**WIDTHS, **DROPOUTS, image_size=[32, 48], patch_size=8, num_detection_tokens=4, num_labels=3)
    ),
    boxes,
    pixel_values=lambda: torch.randn(2, 3, 32, 48),
)
hub(
    "owl-vit",
    "detection",
    lambda t: t.OwlViTForObjectDetection(
        t.OwlViTConfig(
            text_config={**WIDTHS, "vocab_size": VOCABULARY, "max_position_embeddings": LENGTH},
            vision_config={**WIDTHS, "image_size": 32, "patch_size": 8},
            projection_dim=32,
        )
    ),
    boxes,
    input_ids=tokens,
    pixel_values=pixels(32),
    attention_mask=ones(2, LENGTH),
)
hub(
    "maskformer",
    "segmentation",
    lambda t: t.MaskFormerForInstanceSegmentation(
        t.MaskFormerConfig(
            backbone_config=small_swin(t), decoder_config=t.DetrConfig(**DETR), fpn_feature_size=32, mask_feature_size=32
        )
    ),
    "class_queries_logits masks_queries_logits",
    pixel_values=pixels(),
)
hub(
    "segformer",
    "segmentation",
    lambda t: t.SegformerForSemanticSegmentation(
        t.SegformerConfig(
            **{"depths": [1, 1, 1, 1], "hidden_sizes": [8, 16, 24, 32], "num_attention_heads": [1, 2, 3, 4]},
            **{"decoder_hidden_size": 16, "num_labels": 4, "drop_path_rate": 0.0, "classifier_dropout_prob": 0.0},
        )
    ),
    "logits",
    pixel_values=pixels(),
)
hub(
    "upernet",
    "segmentation",
    lambda t: t.UperNetForSemanticSegmentation(
        t.UperNetConfig(
            backbone_config=small_resnet(t, ALL), hidden_size=16, auxiliary_in_channels=24, auxiliary_channels=8, num_labels=4
        )
    ),
    "logits",
    pixel_values=pixels(),
)
hub(
    "clipseg",
    "segmentation",
    lambda t: t.CLIPSegForImageSegmentation(
        t.CLIPSegConfig(
            text_config={**WIDTHS, "vocab_size": VOCABULARY, "max_position_embeddings": LENGTH, "eos_token_id": 1},
            vision_config={**WIDTHS, "num_hidden_layers": 3, "image_size": 32, "patch_size": 8},
            **{"projection_dim": 16, "reduce_dim": 16, "extract_layers": [0, 1, 2], "decoder_num_attention_heads": 2},
            decoder_intermediate_size=32,
        )
    ),
    "logits",
    input_ids=tokens,
    pixel_values=pixels(32),
)
hub(
    "depth-anything",
    "depth",
    lambda t: t.DepthAnythingForDepthEstimation(
        t.DepthAnythingConfig(
            backbone_config=t.Dinov2Config(
                **{**WIDTHS, "num_hidden_layers": 4, "image_size": 56, "patch_size": 14, "drop_path_rate": 0.0},
                **{"out_indices": [1, 2, 3, 4], "reshape_hidden_states": False, "apply_layernorm": True},
            ),
            **{"reassemble_hidden_size": 32, "patch_size": 14, "neck_hidden_sizes": [8, 12, 16, 16]},
            **{"fusion_hidden_size": 16, "head_hidden_size": 8, "reassemble_factors": [4, 2, 1, 0.5]},
        )
    ),
    "predicted_depth",
    pixel_values=pixels(56),
)
hub(
    "glpn",
    "depth",
    lambda t: t.GLPNForDepthEstimation(
        t.GLPNConfig(
            **{"depths": [1, 1, 1, 1], "hidden_sizes": [8, 16, 24, 32], "num_attention_heads": [1, 2, 3, 4]},
            **{"decoder_hidden_size": 16, "drop_path_rate": 0.0},
        )
    ),
    "predicted_depth",
    pixel_values=pixels(),
)
hub(
    "swin2sr",
    "generative",
    lambda t: t.Swin2SRForImageSuperResolution(
        t.Swin2SRConfig(
            **{"image_size": 16, "embed_dim": 16, "depths": [2], "num_heads": [2], "window_size": 4, "upscale": 2},
            drop_path_rate=0.0,
        )
    ),
    "reconstruction",
    pixel_values=pixels(16),
)
