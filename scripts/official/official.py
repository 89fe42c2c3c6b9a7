"""Imports onnxruntime.training 1.19.2 without PyTorch, which the package imports but these scripts do not need."""

import importlib.machinery
import sys
import types


class Absent(types.ModuleType):
    __path__: list[str] = []

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


for module in ("torch", "torch.utils", "torch.utils.dlpack", "torch.utils.cpp_extension", "torch.nn", "torch.optim"):
    absent = Absent(module)
    absent.__spec__ = importlib.machinery.ModuleSpec(module, None)
    sys.modules[module] = absent
    parent, _, child = module.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, absent)

import onnxruntime  # noqa: E402
from onnxruntime.training import artifacts  # noqa: E402, F401
from onnxruntime.training.api import CheckpointState, Module, Optimizer  # noqa: E402, F401

onnxruntime.set_default_logger_severity(3)
