"""Makes official artifacts of the forward models that export.py wrote, trains them with official Python, and writes the
losses to FOLDER/official.json.

Usage: artifacts.py FOLDER
"""

import json
import os
import shutil
import sys
from pathlib import Path

import onnx
from official import CheckpointState, Module, Optimizer, artifacts
from onnx import helper

sys.path.insert(0, str(Path(__file__).parent.parent / "oracles"))
from lcg import labels, uniform  # noqa: E402

NETWORKS = ("mlp", "cnn", "residual")
STEPS = 20


def make(model, folder, frozen, optimizer):
    weights = [tensor.name for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT]
    stored = [name for name in weights if "running" in name or name in frozen]
    artifacts.generate_artifacts(
        model,
        requires_grad=[name for name in weights if name not in stored and not name.startswith("onnx::")],
        frozen_params=stored,
        loss=artifacts.LossType.CrossEntropyLoss,
        optimizer=optimizer and getattr(artifacts.OptimType, optimizer),
        artifact_directory=str(folder),
    )
    # For training-form BatchNorm, the builder writes an eval model that its own runtime refuses.
    if any(node.op_type == "BatchNormalization" for node in model.graph.node):
        (folder / "eval_model.onnx").unlink()


def batches(name, shape, count):
    for index in range(count):
        yield uniform(f"{name}/x/{index}", shape, 1.7), labels(f"{name}/y/{index}", shape[0], 5)


def open_run(folder, checkpoint):
    state = CheckpointState.load_checkpoint(str(checkpoint))
    module = Module(str(folder / "training_model.onnx"), state)
    return state, module, Optimizer(str(folder / "optimizer_model.onnx"), module)


def step(module, optimizer, x, y):
    loss = module(x, y)
    optimizer.step()
    module.lazy_reset_grad()
    return float(loss)


def train(name, folder, shape, rate, half):
    """Runs 20 steps; after 10, writes the checkpoint with the user's entries to `half`."""
    state, module, optimizer = open_run(folder, folder / "checkpoint")
    optimizer.set_learning_rate(rate)
    module.train()
    losses = []
    for index, (x, y) in enumerate(batches(name, shape, STEPS)):
        losses.append(step(module, optimizer, x, y))
        if index == 9 and half:
            state.properties["epoch"] = 3
            state.properties["best"] = 0.5
            state.properties["note"] = "half way"
            CheckpointState.save_checkpoint(state, str(half), include_optimizer_state=True)
    return losses


def alias(model):
    """Imitates exporters that write running_var as an Identity of an equal weight, or the reverse."""
    variance = next(tensor for tensor in model.graph.initializer if tensor.name == "b1.running_var")
    model.graph.initializer.remove(variance)
    model.graph.node.insert(0, helper.make_node("Identity", ["b1.weight"], ["b1.running_var"], "alias"))
    return model


def main(folder):
    shapes = json.loads((folder / "pytorch.json").read_text())
    losses = {}
    for name in NETWORKS:
        target = folder / name
        losses[name] = {}
        for optimizer, rate in (("SGD", 0.01), ("AdamW", 1e-3)):
            make(onnx.load(target / "forward.onnx"), target, (), optimizer)
            half = target / "checkpoint-10" if optimizer == "AdamW" else None
            losses[name][optimizer.lower()] = train(
                name, target, shapes["networks"][name]["shape"], rate, half
            )
            if optimizer == "SGD":
                shutil.copy(target / "optimizer_model.onnx", target / "optimizer_model_sgd.onnx")
    for name in shapes["cases"]:
        target = folder / name
        frozen = json.loads((target / "frozen.json").read_text())
        make(onnx.load(target / "forward.onnx"), target, frozen, None)
        (target / "eval_model.onnx").unlink(missing_ok=True)
    os.makedirs(folder / "aliased", exist_ok=True)
    make(alias(onnx.load(folder / "cnn" / "forward.onnx")), folder / "aliased", (), None)
    for surplus in ("eval_model.onnx", "checkpoint"):
        (folder / "aliased" / surplus).unlink(missing_ok=True)
    (folder / "official.json").write_text(json.dumps(losses))


main(Path(sys.argv[1]).resolve())
