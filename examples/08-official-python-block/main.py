import os
import sys

import onnx
from onnxruntime.training import artifacts, onnxblock

model = onnx.load(sys.argv[1])


class PenalizedCrossEntropy(onnxblock.Block):
    def __init__(self, weight):
        super().__init__()
        self.cross_entropy = onnxblock.loss.CrossEntropyLoss()
        self.times, self.plus = onnxblock.blocks.Mul(), onnxblock.blocks.Add()
        # blocks.Constant has the shape [1], whose gradient the builder cannot make beside scalars.
        self.weight = onnx.helper.make_tensor("penalty_weight", onnx.TensorProto.FLOAT, [], [weight])

    def build(self, logits, penalty):
        self.base.graph.initializer.append(self.weight)
        return self.plus(self.cross_entropy(logits), self.times(penalty, self.weight.name))


os.makedirs(sys.argv[2], exist_ok=True)
floats = [tensor.name for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT]
artifacts.generate_artifacts(
    model,
    requires_grad=[name for name in floats if "running" not in name],
    frozen_params=[name for name in floats if "running" in name],
    loss=PenalizedCrossEntropy(0.05),
    optimizer=artifacts.OptimType.AdamW,
    artifact_directory=sys.argv[2],
)
