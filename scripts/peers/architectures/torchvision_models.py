"""Networks of torchvision: classification, segmentation, detection, video. Depth and width are cut where they can be."""

import torch
from torch import Tensor, nn
from torchvision import models as tv
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet
from torchvision.models.segmentation.deeplabv3 import DeepLabHead
from torchvision.models.segmentation.fcn import FCN, FCNHead
from torchvision.models.video.resnet import BasicBlock as VideoBlock
from torchvision.models.video.resnet import BasicStem, Conv3DSimple, VideoResNet
from torchvision.ops import roi_align

from .registry import architecture

CLASSES = 10


def images(size: int = 64, batch: int = 4) -> tuple[Tensor]:
    return (torch.randn(batch, 3, size, size),)


def classifier(name: str, size: int = 64, **options) -> None:
    """A network that torchvision's own constructor builds."""
    construct = getattr(tv, name.replace("-", "_"))

    @architecture("image classification", name)
    def build():
        return construct(weights=None, num_classes=CLASSES, **options), images(size)


classifier("resnet18")
classifier("squeezenet1-1")
classifier("densenet121")
classifier("googlenet", aux_logits=False, init_weights=False)
classifier("inception-v3", size=96, aux_logits=False, init_weights=False)
classifier("mobilenet-v2", width_mult=0.5, dropout=0.0)
classifier("mobilenet-v3-small", dropout=0.0)
classifier("efficientnet-b0", stochastic_depth_prob=0.0, dropout=0.0)
classifier("shufflenet-v2-x0-5")
classifier("mnasnet0-5", dropout=0.0)
classifier("regnet-y-400mf")


@architecture("image classification")
def resnext():
    return ResNet(Bottleneck, [1, 1, 1, 1], CLASSES, groups=32, width_per_group=4), images()


@architecture("image classification")
def wide_resnet():
    return ResNet(Bottleneck, [1, 1, 1, 1], CLASSES, width_per_group=128), images()


@architecture("image classification")
def vgg11_bn():
    net = tv.vgg11_bn(weights=None, dropout=0.0)
    net.avgpool = nn.AdaptiveAvgPool2d(1)
    net.classifier = nn.Sequential(nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, CLASSES))
    return net, images()


@architecture("image classification")
def alexnet():
    net = tv.alexnet(weights=None, dropout=0.0)
    net.avgpool = nn.AdaptiveAvgPool2d(1)
    net.classifier = nn.Sequential(nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, CLASSES))
    return net, images(96)


@architecture("image classification")
def efficientnet_v2():
    from torchvision.models.efficientnet import EfficientNet, FusedMBConvConfig, MBConvConfig

    blocks = [
        FusedMBConvConfig(1, 3, 1, 16, 16, 1),
        FusedMBConvConfig(4, 3, 2, 16, 32, 2),
        MBConvConfig(4, 3, 2, 32, 48, 2),
        MBConvConfig(6, 3, 1, 48, 64, 2),
    ]
    return EfficientNet(blocks, 0.0, 0.0, CLASSES, last_channel=128), images()


@architecture("image classification")
def convnext():
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt

    blocks = [CNBlockConfig(24, 48, 2), CNBlockConfig(48, 96, 2), CNBlockConfig(96, None, 2)]
    return ConvNeXt(blocks, 0.0, 1e-6, CLASSES), images()


@architecture("image classification")
def vit():
    return tv.VisionTransformer(32, 8, 3, 4, 64, 128, num_classes=CLASSES), images(32)


def swin(block: str):
    from torchvision.models import swin_transformer as s

    blocks = {"v1": (s.SwinTransformerBlock, s.PatchMerging), "v2": (s.SwinTransformerBlockV2, s.PatchMergingV2)}
    kind, downsample = blocks[block]
    options = {"block": kind, "downsample_layer": downsample, "stochastic_depth_prob": 0.0}
    return s.SwinTransformer([4, 4], 24, [2, 2], [2, 4], [4, 4], num_classes=CLASSES, **options), images()


@architecture("image classification")
def swin_v1():
    return swin("v1")


@architecture("image classification")
def swin_v2():
    return swin("v2")


@architecture("image classification")
def maxvit():
    options = {"stochastic_depth_prob": 0.0, "num_classes": CLASSES}
    return tv.MaxVit((64, 64), 16, 4, [16, 32], [1, 1], 8, **options), images()


def dilated_backbone() -> tuple[nn.Module, int]:
    net = ResNet(Bottleneck, [1, 1, 1, 1], width_per_group=16, replace_stride_with_dilation=[False, True, True])
    return tv._utils.IntermediateLayerGetter(net, {"layer4": "out"}), 2048


@architecture("segmentation")
def fcn():
    backbone, channels = dilated_backbone()
    return FCN(backbone, nn.Sequential(nn.Conv2d(channels, 64, 1), FCNHead(64, 5))), images()


@architecture("segmentation")
def deeplabv3_mobilenet():
    net = tv.segmentation.deeplabv3_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=5)
    return net, images()


@architecture("segmentation")
def lraspp_mobilenet():
    net = tv.segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=5)
    return net, images()


@architecture("segmentation")
def deeplab_head():
    """Atrous pyramid on a small stem: dilated convolutions and bilinear upsampling."""
    stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU())
    return nn.Sequential(stem, DeepLabHead(16, 5), nn.Upsample(scale_factor=2, mode="bilinear")), images(32)


class Unet(nn.Module):
    """Two levels down and up: max pooling, transposed convolution, concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2, self.bottom = self.block(3, 8), self.block(8, 16), self.block(16, 32)
        self.up2, self.join2 = nn.ConvTranspose2d(32, 16, 2, 2), self.block(32, 16)
        self.up1, self.join1 = nn.ConvTranspose2d(16, 8, 2, 2), self.block(16, 8)
        self.head, self.pool = nn.Conv2d(8, 2, 1), nn.MaxPool2d(2)

    @staticmethod
    def block(inputs: int, outputs: int) -> nn.Module:
        convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        a = self.down1(x)
        b = self.down2(self.pool(a))
        c = self.up2(self.bottom(self.pool(b)))
        d = self.up1(self.join2(torch.cat([c, b], 1)))
        return self.head(self.join1(torch.cat([d, a], 1)))


@architecture("segmentation")
def unet():
    return Unet(), images(32)


@architecture("detection")
def retinanet_head():
    """Feature pyramid and RetinaNet's heads, up to the scores and box offsets before suppression."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            resnet = ResNet(BasicBlock, [1, 1, 1, 1])
            layers = {"layer2": "0", "layer3": "1", "layer4": "2"}
            self.backbone = BackboneWithFPN(resnet, layers, [128, 256, 512], 32)
            self.head = RetinaNetHead(32, 3, 4)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return self.head(list(self.backbone(x).values()))

    return Net(), images()


@architecture("detection")
def roi_head():
    """A box head on pooled regions of interest."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU())
            self.head = nn.Linear(8 * 9, 5)

        def forward(self, x: Tensor, boxes: Tensor) -> Tensor:
            pooled = roi_align(self.stem(x), boxes, 3, spatial_scale=0.5, sampling_ratio=2)
            return self.head(pooled.flatten(1))

    corner = torch.rand(6, 2) * 8
    boxes = torch.cat([torch.randint(0, 2, (6, 1)).float(), corner, corner + 4 + torch.rand(6, 2) * 16], 1)
    return Net(), (*images(32, 2), boxes)


@architecture("video")
def r3d():
    return VideoResNet(VideoBlock, [Conv3DSimple] * 4, [1, 1, 1, 1], BasicStem, CLASSES), (
        torch.randn(2, 3, 8, 32, 32),
    )
