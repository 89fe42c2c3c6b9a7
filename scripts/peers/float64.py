"""Runs a float32 model in float64: every float becomes a double, and onnx's reference evaluator computes.

Run: python float64.py MODEL.onnx REFERENCE.safetensors OUTPUTS.safetensors
Reads inputs from the `feed/…` tensors that export.py wrote. Tells what a graph computes from how float32 rounds it. Convolutions and poolings are PyTorch's, for speed.
"""

import sys

import numpy as np
import onnx
import torch
from onnx import AttributeProto, TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from safetensors.numpy import load_file, save_file
from torch.nn import functional as F


class Conv(OpRun):
    def _run(self, x, w, b=None, auto_pad=None, dilations=None, group=None, kernel_shape=None, pads=None, strides=None):
        rank = x.ndim - 2
        assert auto_pad in (None, "NOTSET")
        options = {"stride": strides or [1] * rank, "dilation": dilations or [1] * rank, "groups": group or 1}
        convolve = (F.conv1d, F.conv2d, F.conv3d)[rank - 1]
        padded = padding(tensor_of(x), pads or [0] * 2 * rank, 0)
        bias = None if b is None else tensor_of(b)
        return (convolve(padded, tensor_of(w), bias, **options).numpy(),)


class ConvTranspose(OpRun):
    def _run(self, x, w, b=None, auto_pad=None, dilations=None, group=None, kernel_shape=None, output_padding=None, output_shape=None, pads=None, strides=None):
        rank = x.ndim - 2
        assert auto_pad in (None, "NOTSET") and not output_shape
        options = {"stride": strides or [1] * rank, "dilation": dilations or [1] * rank, "groups": group or 1}
        convolve = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[rank - 1]
        whole = convolve(tensor_of(x), tensor_of(w), None, **options)
        # Negative padding crops; output padding crops less, or adds zeros.
        pads, more = pads or [0] * 2 * rank, output_padding or [0] * rank
        cut = [-p for p in pads[:rank]] + [m - p for m, p in zip(more, pads[rank:])]
        y = padding(whole, cut, 0)
        return ((y if b is None else y + tensor_of(b).view(-1, *[1] * rank)).numpy(),)


class MaxPool(OpRun):
    def _run(self, x, auto_pad=None, ceil_mode=None, dilations=None, kernel_shape=None, pads=None, storage_order=None, strides=None):
        rank = x.ndim - 2
        assert auto_pad in (None, "NOTSET") and len(self.onnx_node.output) == 1
        pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[rank - 1]
        padded = padding(tensor_of(x), pads or [0] * 2 * rank, -np.inf)
        strides, dilations = strides or [1] * rank, dilations or [1] * rank
        return (pool(padded, kernel_shape, strides, 0, dilations, bool(ceil_mode)).numpy(),)


class AveragePool(OpRun):
    def _run(self, x, auto_pad=None, ceil_mode=None, count_include_pad=None, dilations=None, kernel_shape=None, pads=None, strides=None):
        rank = x.ndim - 2
        pads, strides = pads or [0] * 2 * rank, strides or [1] * rank
        assert auto_pad in (None, "NOTSET") and all(d == 1 for d in dilations or [])
        # A strip behind the last window is cut by the pooling's own rounding; windows over the edge count what is inside.
        for axis in range(rank if ceil_mode else 0):
            size = x.shape[axis + 2] + pads[axis] + pads[rank + axis] - kernel_shape[axis]
            assert size % strides[axis] == 0, "ceil_mode that adds a window"
        pool = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[rank - 1]
        mean = lambda values: pool(padding(values, pads, 0), kernel_shape, strides)
        y, inside = mean(tensor_of(x)), mean(torch.ones_like(tensor_of(x)))
        return ((y if count_include_pad else y / inside).numpy(),)


class Pad(OpRun):
    def _run(self, x, pads, constant_value=None, axes=None, mode=None):
        axes = range(x.ndim) if axes is None else [int(axis) % x.ndim for axis in axes]
        amounts = np.zeros((x.ndim, 2), np.int64)
        for axis, before, after in zip(axes, pads[: len(axes)], pads[len(axes) :]):
            amounts[axis] = before, after
        # NumPy does not cut: negative amounts are slices.
        cut = [slice(max(0, -before), size - max(0, -after)) for (before, after), size in zip(amounts, x.shape)]
        options = {"constant_values": 0 if constant_value is None else constant_value} if mode == "constant" else {}
        return (np.pad(x[tuple(cut)], amounts.clip(0), mode=mode or "constant", **options),)


class GatherElements(OpRun):
    def _run(self, x, indices, axis=None):
        axis = axis or 0
        return (np.take_along_axis(x, np.where(indices < 0, indices + x.shape[axis], indices), axis),)


class Erf(OpRun):
    def _run(self, x):
        return (torch.erf(tensor_of(x)).numpy(),)


def tensor_of(x: np.ndarray) -> torch.Tensor:
    # PyTorch accepts neither negative strides nor views of read-only memory.
    return torch.from_numpy(np.array(x))


def padding(x: torch.Tensor, pads: list[int], value: float) -> torch.Tensor:
    """ONNX's order is all beginnings, then all ends; PyTorch's is pairs from the last axis on."""
    rank = len(pads) // 2
    pairs = [amount for axis in reversed(range(rank)) for amount in (pads[axis], pads[rank + axis])]
    return F.pad(x, pairs, value=value)


def as_double(tensor: TensorProto) -> None:
    if tensor.data_type == TensorProto.FLOAT:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), tensor.name))


def convert(graph: onnx.GraphProto) -> None:
    for tensor in graph.initializer:
        as_double(tensor)
    for value in (*graph.input, *graph.output):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = TensorProto.DOUBLE
    del graph.value_info[:]
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.TENSOR:
                as_double(attribute.t)
            elif attribute.type == AttributeProto.GRAPH:
                convert(attribute.g)
            elif attribute.name in ("value_float", "value_floats"):
                single = attribute.type == AttributeProto.FLOAT
                numbers = np.array(attribute.f if single else list(attribute.floats), np.float64)
                attribute.CopyFrom(onnx.helper.make_attribute("value", numpy_helper.from_array(numbers)))
            elif attribute.name in ("to", "dtype") and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.DOUBLE


def main(path: str, reference: str, outputs: str) -> None:
    model = onnx.load(path)
    convert(model.graph)
    inputs = {value.name for value in model.graph.input}
    values = {name.removeprefix("feed/"): x for name, x in load_file(reference).items()}
    values = {
        name: x.astype(np.float64) if x.dtype == np.float32 else x for name, x in values.items() if name in inputs
    }
    evaluator = ReferenceEvaluator(model, new_ops=[Conv, ConvTranspose, MaxPool, AveragePool, Pad, GatherElements, Erf])
    results = evaluator.run(None, values)
    names = [output.name for output in model.graph.output]
    save_file({name: np.array(result, order="C") for name, result in zip(names, results)}, outputs)


if __name__ == "__main__":
    main(*sys.argv[1:])
