"""Networks of effdet, diffusers and torch_geometric, from small configurations."""

import torch
from torch import Tensor, nn

from .registry import architecture


@architecture("detection")
def efficientdet():
    from effdet import EfficientDet, get_efficientdet_config

    config = get_efficientdet_config("tf_efficientdet_lite0")
    config.update(image_size=[64, 64], num_classes=3, fpn_channels=16, fpn_cell_repeats=1, box_class_repeats=1)
    config.backbone_args = {"drop_path_rate": 0.0}
    return EfficientDet(config, pretrained_backbone=False), (torch.randn(2, 3, 64, 64),)


class Diffuser(nn.Module):
    """A network of diffusers as a function of tensors, by position."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *values: Tensor) -> Tensor:
        return self.model(*values, return_dict=False)[0]


def diffuser(name: str, kind: str, inputs, **options) -> None:
    @architecture("generative", name)
    def build():
        import diffusers

        return Diffuser(getattr(diffusers, kind)(**options)), inputs()


def noisy(size: int = 16, channels: int = 3, text: bool = False):
    def draw() -> tuple[Tensor, ...]:
        values = (torch.randn(2, channels, size, size), torch.tensor([3, 40]))
        return (*values, torch.randn(2, 5, 16)) if text else values

    return draw


BLOCKS = {"block_out_channels": (8, 16), "layers_per_block": 1, "norm_num_groups": 4, "sample_size": 16}
CROSS = {
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "cross_attention_dim": 16,
    "attention_head_dim": 4,
}
diffuser(
    "unet-2d",
    "UNet2DModel",
    noisy(),
    **BLOCKS,
    down_block_types=("DownBlock2D", "AttnDownBlock2D"),
    up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    attention_head_dim=4,
)
diffuser("unet-2d-condition", "UNet2DConditionModel", noisy(channels=4, text=True), **BLOCKS, **CROSS)
diffuser(
    "autoencoder-kl",
    "AutoencoderKL",
    lambda: (torch.randn(2, 3, 16, 16),),
    **BLOCKS,
    down_block_types=("DownEncoderBlock2D",) * 2,
    up_block_types=("UpDecoderBlock2D",) * 2,
)


class WholeGraph(nn.Module):
    """A network of torch_geometric on one graph, as a function of its nodes and edges."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        return self.model(x, edges)


def whole_graph(name: str, kind: str, **options) -> None:
    @architecture("graph", name)
    def build():
        from torch_geometric.nn import models

        edges = torch.stack([torch.arange(10).repeat(3), torch.randint(0, 10, (30,))])
        return WholeGraph(getattr(models, kind)(4, 8, num_layers=2, out_channels=3, **options)), (torch.randn(10, 4), edges)


whole_graph("pyg-sage", "GraphSAGE")
whole_graph("pyg-gin", "GIN")
whole_graph("pyg-gcn", "GCN", add_self_loops=False, normalize=True)
whole_graph("pyg-gat", "GAT", heads=2, add_self_loops=False)
whole_graph("pyg-edge-cnn", "EdgeCNN")
