"""Makes official training artifacts of a forward model, for bench/browser: cross-entropy, AdamW, every weight trained.

Usage: official_artifacts.py MODEL FOLDER
"""

import sys
from pathlib import Path

import onnx

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts" / "official"))
from official import artifacts  # noqa: E402

model = onnx.load(sys.argv[1])
artifacts.generate_artifacts(
    model,
    requires_grad=[tensor.name for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT],
    loss=artifacts.LossType.CrossEntropyLoss,
    optimizer=artifacts.OptimType.AdamW,
    artifact_directory=sys.argv[2],
)
