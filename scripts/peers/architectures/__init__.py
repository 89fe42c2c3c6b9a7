from . import generative, language, points, recurrent, signals, timm_more, timm_vision, torchvision_models
from .registry import ARCHITECTURES, Architecture

__all__ = ["ARCHITECTURES", "Architecture"]
