"""Image networks of timm, cut by their own options."""

import timm
import torch
from timm.layers import GatedMlp, GroupNorm1
from timm.models.convmixer import ConvMixer
from timm.models.focalnet import FocalNet
from timm.models.metaformer import Attention, LayerNorm2dNoBias, LayerNormNoBias, MetaFormer, SepConv
from timm.models.mlp_mixer import Affine, MlpMixer, ResBlock, SpatialGatingBlock
from torch import nn

from .registry import architecture

CLASSES = 10


# PyTorch's dynamo exporter fails on scaled_dot_product_attention of some of these; written out, it does not.
timm.layers.set_fused_attn(False)


def classifier(name: str, model: str, size: int = 64, batch: int = 4, **options) -> None:
    @architecture("image classification (timm)", name)
    def build():
        net = timm.create_model(model, pretrained=False, num_classes=CLASSES, **options)
        return net, (torch.randn(batch, 3, size, size),)


def mixer(name: str, **options) -> None:
    @architecture("image classification (timm)", name)
    def build():
        net = MlpMixer(CLASSES, img_size=64, num_blocks=3, embed_dim=48, **options)
        return net, (torch.randn(4, 3, 64, 64),)


mixer("mlp-mixer")
mixer("resmlp", block_layer=ResBlock, norm_layer=Affine, mlp_ratio=4)
mixer("gmlp", block_layer=SpatialGatingBlock, mlp_layer=GatedMlp, mlp_ratio=4)
@architecture("image classification (timm)")
def convmixer():
    return ConvMixer(48, 4, kernel_size=5, num_classes=CLASSES), (torch.randn(4, 3, 64, 64),)


@architecture("image classification (timm)")
def focalnet():
    return FocalNet(num_classes=CLASSES, depths=(1, 1, 1, 1), embed_dim=16), (torch.randn(4, 3, 64, 64),)


def metaformer(name: str, **options) -> None:
    @architecture("image classification (timm)", name)
    def build():
        net = MetaFormer(num_classes=CLASSES, depths=(1, 1, 1, 1), dims=(16, 32, 32, 64), **options)
        return net, (torch.randn(4, 3, 64, 64),)


mixer_norm = {"norm_layers": GroupNorm1, "layer_scale_init_values": 1e-5, "res_scale_init_values": None}
metaformer("poolformer", downsample_norm=None, mlp_act=nn.GELU, mlp_bias=True, use_mlp_head=False, **mixer_norm)
caformer_norms = [LayerNorm2dNoBias] * 2 + [LayerNormNoBias] * 2
metaformer("caformer", token_mixers=[SepConv, SepConv, Attention, Attention], norm_layers=caformer_norms)

small = {"img_size": 64, "embed_dim": 48, "depth": 3, "num_heads": 3}
classifier("deit", "deit_tiny_patch16_224", **small)
classifier("deit-distilled", "deit_tiny_distilled_patch16_224", **small)
classifier("beit", "beit_base_patch16_224", **small)
classifier("eva02", "eva02_tiny_patch14_224", size=56, img_size=56, embed_dim=48, depth=3, num_heads=3)
classifier("cait", "cait_xxs24_224", img_size=64, embed_dim=48, depth=2, num_heads=4)
classifier("convit", "convit_tiny", **{**small, "num_heads": 4})
classifier("xcit", "xcit_nano_12_p16_224", img_size=64, embed_dim=32, depth=2, num_heads=4)
classifier("twins", "twins_svt_small", embed_dims=(16, 32, 32, 64), num_heads=(1, 2, 2, 4), depths=(1, 1, 2, 1), img_size=64)
classifier("pvt-v2", "pvt_v2_b0", depths=(1, 1, 1, 1))
classifier("coatnet", "coatnet_nano_rw_224", img_size=64)
classifier("mobilevit", "mobilevit_xxs")
classifier("mobilenet-v4", "mobilenetv4_conv_small_050")
classifier("efficientformer", "efficientformer_l1", size=224, batch=2, depths=(1, 1, 1, 2), embed_dims=(16, 24, 32, 48))
classifier("fastvit", "fastvit_t8", layers=(1, 1, 1, 1))
classifier("repvgg", "repvgg_a0")
classifier("ghostnet", "ghostnet_050")
classifier("hrnet", "hrnet_w18_small")
classifier("levit", "levit_128s", size=224, batch=2)
classifier("edgenext", "edgenext_xx_small")
classifier("nfnet", "nf_regnet_b0")
classifier("halonet", "halonet26t", size=256, batch=2)
classifier("botnet", "botnet26t_256", size=128, batch=2, img_size=128)
classifier("lambdanet", "lambda_resnet26t", size=128, batch=2, img_size=128)
classifier("resnest", "resnest14d")
classifier("res2net", "res2net50_26w_4s", layers=(1, 1, 1, 1))
classifier("sknet", "skresnet18")
classifier("inception-next", "inception_next_atto")
classifier("sequencer", "sequencer2d_s", img_size=64, layers=(1, 1, 1, 1), embed_dims=(24, 48, 48, 48), hidden_sizes=(6, 12, 12, 12))
classifier("rexnet", "rexnet_100", width_mult=0.5)
classifier("starnet", "starnet_s1")
