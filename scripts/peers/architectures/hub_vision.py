"""Detection, segmentation, depth and features of images: networks of transformers with deformable attention, prompts or masks."""

import torch

from .hub_more import hub, ones, pixels, small_resnet, small_swin
from .language import VOCABULARY, WIDTHS, tokens


def eager(model):
    """With the attention that the default exporter can write: it cannot view what PyTorch's own operator gives here."""
    model.set_attn_implementation("eager")
    return model


def sharp(model):
    """With scores so far apart that float32 and float64 choose the same queries."""
    with torch.no_grad():
        model.model.enc_score_head.weight.mul_(100)
    return model


QUERIES = {"num_queries": 5, "num_labels": 4, "hidden_dim": 32, "dim_feedforward": 48, "num_attention_heads": 4}
hub(
    "mask2former",
    "segmentation",
    lambda t: eager(
        t.Mask2FormerForUniversalSegmentation(
            t.Mask2FormerConfig(
                backbone_config=small_swin(t),
                **{**QUERIES, "feature_size": 32, "mask_feature_size": 32, "encoder_feedforward_dim": 48},
                **{"encoder_layers": 1, "decoder_layers": 3, "dropout": 0.0},
            )
        )
    ),
    "class_queries_logits masks_queries_logits",
    pixel_values=pixels(),
)
hub(
    "oneformer",
    "segmentation",
    lambda t: eager(
        t.OneFormerForUniversalSegmentation(
            t.OneFormerConfig(
                backbone_config=small_swin(t),
                **{**QUERIES, "conv_dim": 32, "mask_dim": 32, "encoder_feedforward_dim": 48, "encoder_layers": 1},
                **{"decoder_layers": 3, "query_dec_layers": 1, "dropout": 0.0, "task_seq_len": 7, "is_training": False},
            )
        )
    ),
    "class_queries_logits masks_queries_logits",
    pixel_values=pixels(),
    task_inputs=lambda: torch.randn(2, 7),
)
hub(
    "deformable-detr",
    "detection",
    lambda t: t.DeformableDetrForObjectDetection(
        t.DeformableDetrConfig(
            backbone_config=small_resnet(t),
            **{"d_model": 32, "encoder_layers": 1, "decoder_layers": 2, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48},
            **{"encoder_attention_heads": 4, "decoder_attention_heads": 4, "num_queries": 5, "num_labels": 4, "dropout": 0.0},
            **{"num_feature_levels": 3, "encoder_n_points": 2, "decoder_n_points": 2, "disable_custom_kernels": True},
        )
    ),
    "logits pred_boxes",
    undetached=True,
    pixel_values=pixels(),
)
PROMPTS = {
    "pixel_values": pixels(),
    "input_points": lambda: 64 * torch.rand(2, 1, 2, 2),
    "input_labels": lambda: torch.tensor([[[1, 0]], [[0, 1]]]),
}
PROMPT_ENCODER = {"hidden_size": 32, "image_size": 64, "patch_size": 16, "mask_input_channels": 8}
MASK_DECODER = {
    **{"hidden_size": 32, "mlp_dim": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "iou_head_hidden_dim": 32},
    **{"iou_head_depth": 2},
}
hub(
    "sam",
    "segmentation",
    lambda t: t.SamModel(
        t.SamConfig(
            vision_config={
                **{"hidden_size": 32, "output_channels": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "mlp_dim": 64},
                **{"image_size": 64, "patch_size": 16, "window_size": 2, "global_attn_indexes": [1], "num_pos_feats": 16},
                "initializer_range": 0.02,
            },
            prompt_encoder_config=PROMPT_ENCODER,
            mask_decoder_config=MASK_DECODER,
            initializer_range=0.2,
        )
    ),
    "iou_scores pred_masks",
    **PROMPTS,
)
hub(
    "sam2",
    "segmentation",
    lambda t: t.Sam2Model(
        t.Sam2Config(
            vision_config={
                "backbone_config": {
                    **{"model_type": "sam2_hiera_det_model", "hidden_size": 8, "num_attention_heads": 1, "image_size": [64, 64]},
                    **{"blocks_per_stage": [1, 1, 2, 1], "embed_dim_per_stage": [8, 16, 24, 32]},
                    **{"num_attention_heads_per_stage": [1, 2, 2, 4], "window_size_per_stage": [4, 2, 2, 2]},
                    **{"global_attention_blocks": [3], "window_positional_embedding_background_size": [4, 4]},
                },
                **{"backbone_channel_list": [32, 24, 16, 8], "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]]},
                "fpn_hidden_size": 32,
            },
            prompt_encoder_config=PROMPT_ENCODER,
            mask_decoder_config=MASK_DECODER,
            initializer_range=0.2,
        )
    ),
    "iou_scores pred_masks",
    **PROMPTS,
)
DETECTOR = {
    **{"encoder_hidden_dim": 32, "encoder_in_channels": [16, 24, 32], "encoder_ffn_dim": 48, "encoder_attention_heads": 4},
    **{"d_model": 32, "num_queries": 5, "decoder_in_channels": [32, 32, 32], "decoder_ffn_dim": 48, "decoder_layers": 2},
    **{"decoder_attention_heads": 4, "decoder_n_points": 2, "num_denoising": 0, "num_labels": 4, "hidden_expansion": 1.0},
    "freeze_backbone_batch_norms": False,
}


def real_time_backbone(t):
    return t.RTDetrResNetConfig(
        **{"embedding_size": 8, "hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1], "layer_type": "basic"},
        out_features=["stage2", "stage3", "stage4"],
    )


for name, kind in {"rt-detr": "RTDetr", "rt-detr-v2": "RTDetrV2"}.items():
    hub(
        name,
        "detection",
        lambda t, kind=kind: sharp(
            getattr(t, f"{kind}ForObjectDetection")(
                getattr(t, f"{kind}Config")(backbone_config=real_time_backbone(t), **DETECTOR)
            )
        ),
        "logits pred_boxes",
        undetached=True,
        pixel_values=pixels(),
    )
hub(
    "d-fine",
    "detection",
    lambda t: sharp(
        t.DFineForObjectDetection(
            t.DFineConfig(
                backbone_config=t.HGNetV2Config(
                    **{"embedding_size": 8, "hidden_sizes": [8, 16, 24, 32], "stem_channels": [3, 8, 8], "depths": [1, 1, 1, 1]},
                    **{"stage_in_channels": [8, 8, 16, 24], "stage_mid_channels": [8, 8, 8, 8]},
                    **{"stage_out_channels": [8, 16, 24, 32], "stage_num_blocks": [1, 1, 1, 1], "stage_numb_of_layers": [2] * 4},
                    out_features=["stage2", "stage3", "stage4"],
                ),
                **DETECTOR,
                **{"max_num_bins": 8, "lqe_hidden_dim": 8},
            )
        )
    ),
    "logits pred_boxes",
    undetached=True,
    pixel_values=pixels(),
)
hub(
    "grounding-dino",
    "detection",
    lambda t: eager(
        t.GroundingDinoForObjectDetection(
            t.GroundingDinoConfig(
                backbone_config=t.SwinConfig(
                    **{"image_size": 64, "patch_size": 4, "embed_dim": 16, "depths": [1, 1, 1, 1], "num_heads": [1, 2, 2, 4]},
                    **{"window_size": 2, "drop_path_rate": 0.0, "out_features": ["stage2", "stage3", "stage4"]},
                ),
                text_config={"model_type": "bert", **WIDTHS, "vocab_size": VOCABULARY, "max_position_embeddings": 32},
                **{"d_model": 32, "num_queries": 5, "encoder_layers": 1, "decoder_layers": 2, "encoder_ffn_dim": 48},
                **{"decoder_ffn_dim": 48, "encoder_attention_heads": 4, "decoder_attention_heads": 4, "num_feature_levels": 3},
                **{"encoder_n_points": 2, "decoder_n_points": 2, "dropout": 0.0, "fusion_droppath": 0.0, "max_text_len": 8},
                **{"disable_custom_kernels": True},
            )
        )
    ),
    "pred_boxes",
    undetached=True,
    pixel_values=pixels(),
    input_ids=tokens,
    attention_mask=ones(2, 8),
)
hub(
    "seggpt",
    "segmentation",
    lambda t: t.SegGptForImageSegmentation(
        t.SegGptConfig(
            **{"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "image_size": [32, 16], "patch_size": 4},
            **{"mlp_dim": 64, "drop_path_rate": 0.0, "pretrain_image_size": 16, "decoder_hidden_size": 8, "merge_index": 1},
            intermediate_hidden_state_indices=[1, 3],
        )
    ),
    "pred_masks",
    pixel_values=pixels(16),
    prompt_pixel_values=pixels(16),
    prompt_masks=pixels(16),
)
DEPTH = {
    **{"neck_hidden_sizes": [8, 12, 16, 16], "fusion_hidden_size": 16, "reassemble_factors": [4, 2, 1, 0.5]},
    **{"readout_type": "project"},
}
hub(
    "dpt",
    "depth",
    lambda t: t.DPTForDepthEstimation(
        t.DPTConfig(
            **{**WIDTHS, "num_hidden_layers": 4, "image_size": 32, "patch_size": 8, "backbone_out_indices": [0, 1, 2, 3]},
            **{**DEPTH, "is_hybrid": False},
        )
    ),
    "predicted_depth",
    pixel_values=pixels(32),
)
hub(
    "zoedepth",
    "depth",
    lambda t: eager(
        t.ZoeDepthForDepthEstimation(
            t.ZoeDepthConfig(
                backbone_config=t.BeitConfig(
                    **{**WIDTHS, "num_hidden_layers": 4, "image_size": 32, "patch_size": 8, "drop_path_rate": 0.0},
                    **{"use_relative_position_bias": True, "reshape_hidden_states": False, "layer_scale_init_value": 0.1},
                    out_features=["stage1", "stage2", "stage3", "stage4"],
                ),
                **{**DEPTH, "num_relative_features": 8, "bottleneck_features": 16, "num_attractors": [4, 2, 2, 1]},
                **{"bin_embedding_dim": 8, "bin_configurations": [{"n_bins": 8, "min_depth": 0.001, "max_depth": 10.0}]},
            )
        )
    ),
    "predicted_depth",
    pixel_values=pixels(32),
)
FEATURES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 32, "patch_size": 8}
hub(
    "dinov2",
    "image features",
    lambda t: t.Dinov2Model(t.Dinov2Config(**FEATURES)),
    "last_hidden_state",
    pixel_values=pixels(32),
)
hub(
    "dinov2-registers",
    "image features",
    lambda t: t.Dinov2WithRegistersModel(t.Dinov2WithRegistersConfig(**FEATURES, num_register_tokens=2)),
    "last_hidden_state",
    pixel_values=pixels(32),
)
hub(
    "dinov3",
    "image features",
    lambda t: t.DINOv3ViTModel(
        t.DINOv3ViTConfig(**FEATURES, intermediate_size=64, num_register_tokens=2, pos_embed_rescale=None)
    ),
    "last_hidden_state",
    pixel_values=pixels(32),
)
hub(
    "dinov3-convnext",
    "image features",
    lambda t: t.DINOv3ConvNextModel(t.DINOv3ConvNextConfig(hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1], image_size=64)),
    "last_hidden_state",
    pixel_values=pixels(),
)
hub(
    "vitpose",
    "image features",
    lambda t: t.VitPoseForPoseEstimation(
        t.VitPoseConfig(
            backbone_config=t.VitPoseBackboneConfig(
                **{**FEATURES, "image_size": [32, 32], "patch_size": [8, 8], "num_experts": 1, "part_features": 8},
                out_indices=[2],
            ),
            num_labels=4,
        )
    ),
    "heatmaps",
    pixel_values=pixels(32),
)
