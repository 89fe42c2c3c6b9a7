from . import generative, hub_causal, hub_more, hub_signals, hub_sound, hub_vision, language, packages_more, points, recurrent, signals, timm_more, timm_vision, torchvision_models
from .registry import ARCHITECTURES, Architecture

__all__ = ["ARCHITECTURES", "Architecture"]
