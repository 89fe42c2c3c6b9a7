"""Exports the modules of torch_modules.py and torch_sequences.py with both exporters of PyTorch and writes what PyTorch trains beside them.

Run: python scripts/parameters/export_torch.py FOLDER [NAME …]
What is there already is not made again.
"""

import copy
import json
import logging
import sys
import warnings
import zlib
from pathlib import Path

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from common import Numbers, compact, expected
from modules import MODULES
import torch_modules  # noqa: F401, I001  They fill the table, in this order.
import torch_sequences  # noqa: F401

VARIANTS = ("dynamo", "dynamo-kept", "script", "script-plain", "script-train")


def scramble(net: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
    """Gives every parameter and running statistic unique numbers."""
    with torch.no_grad():
        net.train()
        for _ in range(3):
            net(*inputs)
        net.eval()
        for parameter in net.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.5 + (1.7 if parameter.dim() < 2 else 0))
        for name, buffer in net.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(torch.randn_like(buffer))
            if name.endswith("running_var"):
                buffer.copy_(torch.rand_like(buffer) + 0.5)


def stand_ins(net: nn.Module, inputs: tuple[torch.Tensor, ...]) -> list[torch.Tensor]:
    """Values that exporters write instead of parameters: normalized weights, and layers with folded BatchNorm."""
    found = []
    net = copy.deepcopy(net).eval()
    net(*inputs)  # Hooks compute weights of their parts.
    for module in net.modules():
        weight = getattr(module, "weight", None)
        buffer = "weight" in module._buffers
        if isinstance(weight, torch.Tensor) and not isinstance(weight, nn.Parameter) and not buffer:
            found.append(weight)
    leaves = [module for module in net.modules() if not list(module.children())]
    for module in net.modules():
        if hasattr(module, "stand_ins"):
            found += module.stand_ins(module)
        for first, second in zip(leaves, leaves[1:]) if module is net else ():
            if isinstance(second, nn.modules.batchnorm._BatchNorm):
                if isinstance(first, nn.modules.conv._ConvNd):
                    fused = fuse_conv_bn_eval(first, second, transpose=isinstance(first, nn.modules.conv._ConvTransposeNd))
                elif isinstance(first, nn.Linear):
                    fused = fuse_linear_bn_eval(first, second)
                else:
                    continue
                found += [fused.weight, fused.bias]
        if isinstance(getattr(module, "gain", None), nn.Parameter):
            found.append(module.gain * module.scale)
        if type(module).__name__ in ("ScaledStdConv2d", "StdConv2d"):
            seen = []
            original = torch.nn.functional.conv2d
            torch.nn.functional.conv2d = lambda x, w, *rest: seen.append(w) or original(x, w, *rest)
            module(torch.randn(1, 4, 6, 6))
            torch.nn.functional.conv2d = original
            found += seen
    return [tensor.detach() for tensor in found]


def export(path: Path, net: nn.Module, inputs: tuple[torch.Tensor, ...], variant: str) -> None:
    net = copy.deepcopy(net).eval()
    if variant.startswith("dynamo"):
        torch.onnx.export(net, inputs, path, dynamo=True, external_data=False, verbose=False, optimize=variant == "dynamo")
    elif variant == "script":
        torch.onnx.export(net, inputs, path, dynamo=False)
    else:
        mode = torch.onnx.TrainingMode.TRAINING if variant == "script-train" else torch.onnx.TrainingMode.PRESERVE
        torch.onnx.export(net.train(variant == "script-train"), inputs, path, dynamo=False, training=mode, do_constant_folding=False)


def main(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    index = []
    log = folder / "failed.txt"
    failed = log.read_text().split() if log.exists() else []
    for name in names or MODULES:
        torch.manual_seed(zlib.crc32(name.encode()))
        net, inputs = MODULES[name]()
        scramble(net, inputs)
        numbers = Numbers(
            trained={key: value.detach().numpy() for key, value in net.named_parameters()},
            constant={key: value.numpy() for key, value in net.named_buffers()},
            computed=[tensor.numpy() for tensor in stand_ins(net, inputs)],
        )
        for variant in VARIANTS:
            file = f"{name}.{variant}.onnx"
            try:
                if not (folder / file).exists() and file not in failed:
                    export(folder / file, net, inputs, variant)
            except Exception as error:  # Some exporters lack some operators; only what they write counts.
                print(file, type(error).__name__, str(error).splitlines()[0][:150], file=sys.stderr)
                (folder / file).unlink(missing_ok=True)
                failed.append(file)
                continue
            if not (folder / file).exists():
                continue
            index.append({"file": file, **expected(compact(folder / file), numbers)})
    log.write_text("\n".join(failed))
    (folder / "torch.json").write_text(json.dumps({"torch": torch.__version__, "models": index}, indent=1) + "\n")


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), sys.argv[2:])
