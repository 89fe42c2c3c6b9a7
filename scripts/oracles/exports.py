"""Writes test/fixtures/exports: small networks as PyTorch's two exporters write them, and their float64 gradients.

Run: npm run python -- scripts/oracles/exports.py
"""

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

import lcg
from networks import CLASSES, NETWORKS, build
from summary import summary, write_json

FOLDER = Path(__file__).parents[2] / "test" / "fixtures" / "exports"
BATCH = 4

# What an export looks like; torch 2.15's dynamo exporter writes inference-form BatchNorm whatever the module's mode.
# name: (exporter, mode, dynamic batch, keeps BatchNorm)
VARIANTS: dict[str, tuple[str, str, bool, bool]] = {
    "script-eval": ("script", "eval", False, False),
    "script-eval-dynamic": ("script", "eval", True, False),
    "script-kept": ("script", "eval", False, True),
    "script-train": ("script", "train", False, True),
    "script-train-dynamic": ("script", "train", True, True),
    "dynamo": ("dynamo", "eval", False, False),
    "dynamo-dynamic": ("dynamo", "eval", True, False),
    "dynamo-kept": ("dynamo", "eval", False, True),
}


# Both exporters store equal tensors once: in an untrained network scales and variances, biases and means are one.
FRESH = (("resnet", "script-kept"), ("densenet", "dynamo"))


def export(name: str, variant: str, fresh: bool = False) -> onnx.ModelProto:
    exporter, mode, dynamic, keeps = VARIANTS[variant]
    net = build(name, fresh).train(mode == "train")
    path = FOLDER / f"{name}{'-fresh' if fresh else ''}.{variant}.onnx"
    x = torch.from_numpy(lcg.uniform(f"{name}.x", (BATCH, *net.input_shape)))
    common = {"input_names": ["x"], "output_names": ["logits"], "verbose": False}
    if exporter == "script":
        modes = torch.onnx.TrainingMode
        training = modes.TRAINING if mode == "train" else modes.PRESERVE if keeps else modes.EVAL
        axes = {"dynamic_axes": {"x": {0: "batch"}, "logits": {0: "batch"}}} if dynamic else {}
        torch.onnx.export(net, (x,), path, dynamo=False, training=training, **axes, **common)
    else:
        shapes = {"dynamic_shapes": ({0: torch.export.Dim("batch", min=2)},)} if dynamic else {}
        torch.onnx.export(
            net, (x,), path, dynamo=True, external_data=False, optimize=not keeps, **shapes, **common
        )
    model = onnx.load(path)
    # The dynamo exporter stores a stack of source files at every node: three quarters of a small file.
    for holder in (*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output):
        del holder.metadata_props[:]
    del model.metadata_props[:], model.graph.metadata_props[:]
    for node in model.graph.node:
        node.doc_string = ""
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return model


def folded(name: str) -> nn.Module:
    """The network in inference mode with every BatchNorm folded into the layer before it, as exporters do."""
    net = build(name).eval()
    for layer, norm in getattr(net, "folds", {}).items():
        fuse = fuse_linear_bn_eval if isinstance(getattr(net, layer), nn.Linear) else fuse_conv_bn_eval
        setattr(net, layer, fuse(getattr(net, layer).double(), getattr(net, norm).double()))
        setattr(net, norm, nn.Identity())
    return net


def reference(name: str, net: nn.Module, prefix: str) -> tuple[float, dict[str, Any], dict[str, np.ndarray]]:
    """Float64 loss and gradients, and the parameters' values in float32."""
    net = net.double().requires_grad_()
    x = torch.from_numpy(lcg.uniform(f"{name}.x", (BATCH, *NETWORKS[name].input_shape))).double()
    loss = F.cross_entropy(net(x), torch.from_numpy(lcg.labels(f"{name}.labels", BATCH, CLASSES)))
    loss.backward()
    parameters = {prefix + key: value for key, value in net.named_parameters()}
    gradients = {key: summary(key, value.grad) for key, value in parameters.items()}
    return loss.item(), gradients, {key: value.detach().float().numpy() for key, value in parameters.items()}


def matches(initializer: np.ndarray, value: np.ndarray) -> str | None:
    """How an initializer holds a parameter: unchanged (perhaps in another shape), transposed, or not at all."""
    if initializer.size != value.size or initializer.size < 2:
        return None
    for form, candidate in (("same", value), ("transposed", value.T)):
        if np.allclose(initializer.reshape(-1), candidate.reshape(-1), rtol=1e-5, atol=1e-7):
            return form
    return None


def parameters_of(model: onnx.ModelProto, values: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    found = []
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        for key, value in values.items():
            form = matches(array, value) if array.dtype == np.float32 else None
            if form:
                found.append({"name": tensor.name, "reference": key, "transposed": form == "transposed"})
                break
    return found


def main() -> None:
    warnings.filterwarnings("ignore")
    FOLDER.mkdir(parents=True, exist_ok=True)
    references: dict[str, Any] = {}
    models: list[dict[str, Any]] = []
    for name, network in NETWORKS.items():
        values: dict[str, dict[str, np.ndarray]] = {}
        for mode in ("eval", "train") if has_batch_norm(name) else ("eval",):
            loss, gradients, values[mode] = reference(name, build(name).train(mode == "train"), "")
            if mode == "eval" and hasattr(network, "folds"):
                _, more, folds = reference(name, folded(name), "folded.")
                changed = [key for key in more if key.split(".")[1] in network.folds]
                gradients |= {key: more[key] for key in changed}
                values[mode] |= {key: folds[key] for key in changed}
            references[f"{name}.{mode}"] = {
                "input": {"block": f"{name}.x", "shape": [BATCH, *network.input_shape]},
                "labels": {"block": f"{name}.labels", "classes": CLASSES},
                "loss": loss,
                "gradients": gradients,
            }
        for variant, (exporter, mode, dynamic, keeps) in VARIANTS.items():
            if exporter == "script" and keeps and not has_batch_norm(name):
                continue
            model = export(name, variant)
            models.append({
                "file": f"{name}.{variant}.onnx", "network": name, "variant": variant, "exporter": exporter,
                "mode": mode, "batch": "dynamic" if dynamic else BATCH, "reference": f"{name}.{mode}",
                "opset": model.opset_import[0].version, "parameters": parameters_of(model, values[mode]),
            })  # fmt: skip
    shared = []
    for name, variant in FRESH:
        export(name, variant, fresh=True)
        loss, gradients, _ = reference(name, build(name, fresh=True).train(), "")
        references[f"{name}-fresh.train"] = {**references[f"{name}.train"], "loss": loss, "gradients": gradients}
        shared.append({"file": f"{name}-fresh.{variant}.onnx", "reference": f"{name}-fresh.train"})
    made = {"script": "scripts/oracles/exports.py", "torch": torch.__version__, "onnx": onnx.__version__}
    write_json(FOLDER / "index.json", {"made": made, "references": references, "models": models, "shared": shared})
    total = sum(path.stat().st_size for path in FOLDER.glob("*.onnx"))
    print(f"{len(models)} models, {total / 1000:.0f} kB", file=sys.stderr)


def has_batch_norm(name: str) -> bool:
    return any("running_mean" in key for key in build(name).state_dict())


if __name__ == "__main__":
    main()
