from . import generative, hub_more, hub_signals, language, packages_more, points, recurrent, signals, timm_more, timm_vision, torchvision_models
from .registry import ARCHITECTURES, Architecture

__all__ = ["ARCHITECTURES", "Architecture"]
