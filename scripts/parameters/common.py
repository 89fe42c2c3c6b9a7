"""Shared by the scripts of this folder: shrinks files, and finds initializers by their numbers."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

#: Keys of the exporters' notes that the tool reads.
NOTES = (
    "pkg.torch.onnx.name_scopes",
    "pkg.onnxscript.optimizer.folded_from",
    "pkg.torch.export.graph_signature.InputSpec.kind",
)


def compact(path: Path) -> onnx.ModelProto:
    """Removes parts of a file that no test reads, mainly the paths of source files."""
    model = onnx.load(path)
    constants = {tensor.name for tensor in model.graph.initializer}
    for node in model.graph.node:
        node.doc_string = ""
    for holder in (*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output):
        kept = [(entry.key, entry.value) for entry in holder.metadata_props if entry.key in NOTES]
        del holder.metadata_props[:]
        for key, value in kept:
            holder.metadata_props.add(key=key, value=value)
    infos = [info for info in model.graph.value_info if info.name in constants and info.metadata_props]
    del model.graph.value_info[:]
    model.graph.value_info.extend(infos)
    del model.metadata_props[:]
    model.graph.ClearField("metadata_props")
    model.doc_string = model.graph.doc_string = ""
    onnx.save(model, path)
    return model


@dataclasses.dataclass
class Numbers:
    """The numbers of a network, by their role in the framework."""

    trained: dict[str, np.ndarray]
    constant: dict[str, np.ndarray]
    #: Values that exporters compute from parameters and write instead of them.
    computed: list[np.ndarray]


def constants_of(graph: onnx.GraphProto) -> Iterator[tuple[str, np.ndarray]]:
    for tensor in graph.initializer:
        yield tensor.name, numpy_helper.to_array(tensor)
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.name == "value":
                yield node.output[0], numpy_helper.to_array(attribute.t)
            elif node.op_type == "Constant" and attribute.name in ("value_float", "value_floats"):
                yield node.output[0], np.array(attribute.floats or [attribute.f], np.float32)
            if attribute.HasField("g"):
                yield from constants_of(attribute.g)


def expected(model: onnx.ModelProto, numbers: Numbers) -> dict[str, object]:
    """The initializers that hold the numbers of trained parameters, in any layout, and the parameters that no initializer holds."""
    sources: dict[float, str] = {}
    for name, array in numbers.trained.items():
        sources |= {float(number): name for number in array.astype(np.float32).ravel()}
    common = {float(number) for array in numbers.constant.values() for number in array.astype(np.float32).ravel()}
    trained: dict[str, list[str]] = {}
    constant: list[str] = []
    for name, array in constants_of(model.graph):
        if array.dtype.kind != "f" or array.size == 0:
            continue
        flat = [float(number) for number in array.astype(np.float32).ravel()]
        # Exporters pad with zeros if an operator takes more numbers than the layer has.
        flat = [number for number in flat if number != 0] or flat
        hits = [sources[number] for number in flat if number in sources and number not in common]
        stands = any(
            array.size == other.size and np.allclose(np.sort(array.ravel()), np.sort(other.ravel()), rtol=1e-4, atol=1e-5)
            for other in numbers.computed
        )
        if len(hits) >= 0.6 * len(flat):
            trained[name] = sorted(set(hits))
        elif stands:
            trained[name] = []
        else:
            constant.append(name)
    found = {source for names in trained.values() for source in names}
    return {"trained": trained, "constant": constant, "missing": sorted(set(numbers.trained) - found)}
