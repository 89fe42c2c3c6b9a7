"""Exports architectures and writes PyTorch's gradients beside them.

Run: npm run peers, which calls this as: python scripts/peers/export.py FOLDER [NAME …]
For each architecture, into FOLDER:
  NAME.safetensors                  inputs, targets, parameters, float64 gradients in both modes; figures in its metadata
  NAME.<exporter>.<mode>.onnx       the network with its loss as output `loss`
One line of JSON on stdout for each architecture that is done: {"name", "family", "seconds", "versions": {package: version}, "exports": {<exporter>.<mode>: error or null}}
What is there already, made with the same versions, is not made again. What takes longer than LIMIT seconds is given up.
"""

import copy
import json
import logging
import os
import signal
import sys
import time
import warnings
import zlib
from pathlib import Path

import onnx
import torch
from safetensors.torch import save_file

from architectures import ARCHITECTURES, Architecture
from prepare import WithLoss, as_double, float_outputs, folded, gradients, parameters_of, scramble, without_dropout
from versions import made_before, versions_of

# The default exporter has no operator for the checks that transformers leaves in its graphs.
os.environ["TRANSFORMERS_DISABLE_TORCH_CHECK"] = "1"

EXPORTERS = ("script", "dynamo")
MODES = ("eval", "train")
# Where networks come from, beside torch.
SOURCES = ("torchvision", "timm", "transformers", "diffusers", "effdet", "torch_geometric")
# What the dynamo exporter notes of parameters, buffers and folded values, which the tool reads.
NOTES = (
    "pkg.onnxscript.optimizer.folded_from",
    "pkg.onnxscript.rewriter.rule_name",
    "pkg.torch.export.graph_signature.InputSpec.kind",
)
LIMIT = 300


def give_up(*_: object) -> None:
    raise TimeoutError(f"not done after {LIMIT} s")


def build(architecture: Architecture) -> tuple[WithLoss, tuple[torch.Tensor, ...]]:
    torch.manual_seed(zlib.crc32(architecture.name.encode()))
    net, inputs = architecture.build()
    net = without_dropout(net.float())
    scramble(net, inputs)
    with torch.no_grad():
        targets = tuple(torch.randn_like(output) for output in float_outputs(net.eval()(*inputs)))
    return WithLoss(net, len(inputs), architecture.undetached), (*inputs, *targets)


def packages_of(loss: WithLoss) -> list[str]:
    used = {type(module).__module__.partition(".")[0] for module in loss.modules()}
    return ["torch", "onnxscript", *(name for name in SOURCES if name in used)]


def names_of(loss: WithLoss, values: tuple[torch.Tensor, ...]) -> list[str]:
    return [f"input{i}" if i < loss.inputs else f"target{i - loss.inputs}" for i in range(len(values))]


def write_reference(path: Path, loss: WithLoss, values: tuple[torch.Tensor, ...], versions: dict[str, str]) -> None:
    tensors = {f"feed/{name}": value for name, value in zip(names_of(loss, values), values)}
    about: dict[str, object] = {"versions": versions, "undetached": loss.undetached}
    tensors |= {f"value/{name}": value for name, value in parameters_of(loss.net)}
    merged, about["standsFor"] = folded(loss, values)
    tensors |= {f"folded value/{name}": value for name, value in parameters_of(merged.net) if name in about["standsFor"]}
    for kind, net, train in (("eval", loss, False), ("train", loss, True), ("folded", merged, False)):
        exact, reference = gradients(net, values, train=train, double=True)
        single, own = gradients(net, values, train=train, double=False)
        with torch.no_grad():
            again = float(copy.deepcopy(net).double().train(train)(*as_double(values)))
        # A sum in another order changes the last bits; Dropout and other draws change far more.
        assert abs(again - exact) <= 1e-12 * abs(exact), (
            f"two runs in {kind} mode give the losses {exact} and {again}: something is random"
        )
        scale = max(float(g.abs().max()) for g in reference.values())
        about[kind] = {
            "loss": exact,
            "float32Loss": single,
            "scale": scale,
            # How far PyTorch's own float32 is from float64, per parameter: absolute, and the size of the gradient.
            "parameters": {
                name: [float(g.abs().max()), float((own[name].double() - g).abs().max())] for name, g in reference.items()
            },
        }
        wanted = about["standsFor"] if kind == "folded" else reference
        tensors |= {f"{kind} gradient/{name}": reference[name].float() for name in wanted if name in reference}
    assert abs(about["folded"]["loss"] / about["eval"]["loss"] - 1) < 1e-4, "folding changed the network"
    contiguous = {name: tensor.detach().contiguous().clone() for name, tensor in tensors.items()}
    save_file(contiguous, path, {"about": json.dumps(about)})


def export(path: Path, loss: WithLoss, values: tuple[torch.Tensor, ...], exporter: str, mode: str) -> None:
    loss = copy.deepcopy(loss).train(mode == "train")
    names = {"input_names": names_of(loss, values), "output_names": ["loss"], "verbose": False}
    temporary = path.with_suffix(".tmp")
    if exporter == "script":
        training = torch.onnx.TrainingMode.TRAINING if mode == "train" else torch.onnx.TrainingMode.EVAL
        torch.onnx.export(loss, values, temporary, dynamo=False, training=training, **names)
    else:
        torch.onnx.export(loss, values, temporary, dynamo=True, external_data=False, **names)
    model = onnx.load(temporary)
    # The dynamo exporter stores a stack of source files at every node, often more than everything else.
    for holder in (*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output):
        kept = {entry.key: entry.value for entry in holder.metadata_props if entry.key in NOTES}
        del holder.metadata_props[:]
        for key, value in kept.items():
            holder.metadata_props.add(key=key, value=value)
    for node in model.graph.node:
        node.doc_string = ""
    onnx.save(model, temporary)
    temporary.rename(path)


def short(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = next((line for line in lines if not line.startswith(("Failed to", "##", "-", "Summary"))), "") or type(error).__name__
    return f"{type(error).__name__}: {text}"[:300]


def main(folder: Path, names: list[str]) -> None:
    # Libraries write to file descriptor 1, below Python: stdout becomes stderr, and results keep the real one.
    results = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or ARCHITECTURES:
        architecture = ARCHITECTURES[name]
        start, exports, versions = time.perf_counter(), {}, versions_of(["torch"])
        reference = folder / f"{name}.safetensors"
        try:
            signal.alarm(LIMIT)
            loss, values = build(architecture)
            versions = versions_of(packages_of(loss))
            if not made_before(reference, versions, lambda metadata: json.loads(metadata["about"]).get("versions")):
                for stale in folder.glob(f"{name}.*.*.onnx"):
                    stale.unlink()
                write_reference(reference, loss, values, versions)
        except Exception as error:  # The report names it; the other architectures go on.
            exports = {f"{exporter}.{mode}": f"PyTorch: {short(error)}" for exporter in EXPORTERS for mode in MODES}
        for kind in () if exports else [f"{exporter}.{mode}" for exporter in EXPORTERS for mode in MODES]:
            path = folder / f"{name}.{kind}.onnx"
            exports[kind] = None
            try:
                signal.alarm(LIMIT)
                if not path.exists():
                    export(path, loss, values, *kind.split("."))
            except Exception as error:
                exports[kind] = short(error)
        signal.alarm(0)
        seconds = round(time.perf_counter() - start, 1)
        result = {"name": name, "family": architecture.family, "seconds": seconds, "versions": versions, "exports": exports}
        print(json.dumps(result), file=results, flush=True)


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    signal.signal(signal.SIGALRM, give_up)
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), sys.argv[2:])
