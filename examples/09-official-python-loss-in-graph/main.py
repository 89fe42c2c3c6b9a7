import os
import sys

import onnx
from onnxruntime.training import artifacts

model = onnx.load(sys.argv[1])
os.makedirs(sys.argv[2], exist_ok=True)
floats = [tensor.name for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT]
artifacts.generate_artifacts(
    model,
    requires_grad=[name for name in floats if "running" not in name],
    frozen_params=[name for name in floats if "running" in name],
    loss=None,
    optimizer=artifacts.OptimType.AdamW,
    artifact_directory=sys.argv[2],
)
