"""Writes test/fixtures/quantized: small networks with quantized and half-precision bases, and PyTorch's figures for them.

Each network has a branch of low rank beside every product with a frozen weight. PyTorch computes in float64 with the weights that
the file's numbers stand for; activations that the file rounds pass `torch.fake_quantize_per_tensor_affine`, whose gradient is
the straight-through estimator.

Run: npm run python -- scripts/oracles/quantized.py
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer
from torch.nn import functional as F

from summary import write_json

FOLDER = Path(__file__).parents[2] / "test" / "fixtures" / "quantized"
BATCH, STEPS, RATE = 8, 20, 0.01
SIZES = {"fc1": (32, 24), "fc2": (24, 6)}
RANK = 2


def numbers(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Normal numbers; the name seeds them."""
    return np.random.default_rng(list(name.encode())).normal(size=shape).astype(np.float32)


def weights() -> dict[str, np.ndarray]:
    found = {}
    for layer, (fan_in, units) in SIZES.items():
        found[f"{layer}.weight"] = numbers(f"{layer}.weight", (fan_in, units)) / np.float32(fan_in**0.5)
        found[f"{layer}.bias"] = numbers(f"{layer}.bias", (units,)) / 5
        found[f"{layer}.lora_A"] = numbers(f"{layer}.lora_A", (fan_in, RANK)) / np.float32(fan_in**0.5)
        found[f"{layer}.lora_B"] = numbers(f"{layer}.lora_B", (RANK, units)) / 3
    return found


def network(base: Any = None, opset: int = 21) -> onnx.ModelProto:
    """The network; `base(name, weight)` gives the nodes and initializers that make the value `name` of a weight."""
    nodes, inits, x = [], [], "x"
    values = weights()
    for layer in SIZES:
        weight = f"{layer}.weight"
        made = base(weight, values[weight]) if base else ([], [numpy_helper.from_array(values[weight], weight)])
        nodes += made[0]
        inits += made[1]
        inits += [numpy_helper.from_array(values[f"{layer}.{part}"], f"{layer}.{part}") for part in ("bias", "lora_A", "lora_B")]
        for op, inputs, output in [
            ("MatMul", [x, weight], f"{layer}/base"),
            ("MatMul", [x, f"{layer}.lora_A"], f"{layer}/down"),
            ("MatMul", [f"{layer}/down", f"{layer}.lora_B"], f"{layer}/up"),
            ("Add", [f"{layer}/base", f"{layer}/up"], f"{layer}/sum"),
            ("Add", [f"{layer}/sum", f"{layer}.bias"], "logits" if layer == "fc2" else f"{layer}/out"),
        ]:
            nodes.append(helper.make_node(op, inputs, [output], name=f"{output}_node"))
        if layer == "fc1":
            nodes.append(helper.make_node("Relu", ["fc1/out"], ["hidden"], name="relu"))
            x = "hidden"
    graph = helper.make_graph(
        nodes,
        "mlp",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [BATCH, SIZES["fc1"][0]])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [BATCH, SIZES["fc2"][1]])],
        inits,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def image_network() -> onnx.ModelProto:
    """Conv, Relu, MaxPool, Conv with a stride, and a Gemm, for quantizers."""
    values = {
        "conv1.weight": numbers("conv1.weight", (4, 2, 3, 3)) / 4,
        "conv1.bias": numbers("conv1.bias", (4,)) / 5,
        "conv2.weight": numbers("conv2.weight", (6, 4, 3, 3)) / 6,
        "conv2.bias": numbers("conv2.bias", (6,)) / 5,
        "fc.weight": numbers("fc.weight", (6, 24)) / 5,
        "fc.bias": numbers("fc.bias", (6,)) / 5,
    }
    nodes = [
        helper.make_node("Conv", ["x", "conv1.weight", "conv1.bias"], ["c1"], name="conv1", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"], name="relu1"),
        helper.make_node("MaxPool", ["r1"], ["p1"], name="pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["p1", "conv2.weight", "conv2.bias"], ["c2"], name="conv2", pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["c2"], ["r2"], name="relu2"),
        helper.make_node("Flatten", ["r2"], ["flat"], name="flatten"),
        helper.make_node("Gemm", ["flat", "fc.weight", "fc.bias"], ["logits"], name="fc", transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "cnn",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [BATCH, 2, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [BATCH, 6])],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def stored(name: str, kind: int, shape: tuple[int, ...], raw: bytes) -> onnx.TensorProto:
    return helper.make_tensor(name, kind, shape, raw, raw=True)


def half(kind: int) -> Any:
    def base(name: str, weight: np.ndarray) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
        dtype = torch.float16 if kind == TensorProto.FLOAT16 else torch.bfloat16
        raw = torch.from_numpy(weight).to(dtype).view(torch.int16).numpy().tobytes()
        node = helper.make_node("Cast", [f"{name}.half"], [name], name=f"{name}_cast", to=TensorProto.FLOAT)
        return [node], [stored(f"{name}.half", kind, weight.shape, raw)]

    return base


def channels(name: str, weight: np.ndarray) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """int8 with one scale for each column."""
    scale = np.abs(weight).max(axis=0) / 127
    levels = np.clip(np.round(weight / scale), -127, 127).astype(np.int8)
    node = helper.make_node("DequantizeLinear", [f"{name}.levels", f"{name}.scale"], [name], name=f"{name}_dq", axis=1)
    return [node], [numpy_helper.from_array(levels, f"{name}.levels"), numpy_helper.from_array(scale, f"{name}.scale")]


BASES = ["fc1/base_node", "fc2/base_node"]
BRANCHES = [f"{layer}/{part}_node" for layer in SIZES for part in ("down", "up", "sum", "base")]


def in_blocks(bits: int, symmetric: bool, form: QuantFormat) -> onnx.ModelProto:
    config = DefaultWeightOnlyQuantConfig(block_size=16, is_symmetric=symmetric, bits=bits, quant_format=form, accuracy_level=4)
    quantizer = MatMulNBitsQuantizer(network(), nodes_to_exclude=[name for name in BRANCHES if name not in BASES], algo_config=config)
    quantizer.process()
    return quantizer.model.model


class Samples(CalibrationDataReader):
    def __init__(self, x: np.ndarray) -> None:
        self.left = [{"x": x * 0.8}]  # so that some numbers of the batch lie outside of the range

    def get_next(self) -> dict[str, np.ndarray] | None:
        return self.left.pop() if self.left else None


def by_onnxruntime(model: onnx.ModelProto, quantize: Any, **options: Any) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory() as folder:
        onnx.save(model, f"{folder}/float.onnx")
        quantize(f"{folder}/float.onnx", f"{folder}/quantized.onnx", **options)
        return onnx.load(f"{folder}/quantized.onnx")


def statically(model: onnx.ModelProto, x: np.ndarray, form: QuantFormat, kind: QuantType, **options: Any) -> onnx.ModelProto:
    return by_onnxruntime(
        model, quantize_static, calibration_data_reader=Samples(x), quant_format=form, activation_type=kind, weight_type=QuantType.QInt8, **options
    )


RANGES = {TensorProto.INT8: (-128, 127), TensorProto.UINT8: (0, 255), TensorProto.INT4: (-8, 7), TensorProto.UINT4: (0, 15)}


class Levels:
    """Integers that stand for real numbers: `real` = (integers - zero) * scale."""

    def __init__(self, real: torch.Tensor, scale: torch.Tensor, zero: int) -> None:
        self.real, self.scale, self.zero = real, scale, zero


def array(tensor: onnx.TensorProto) -> torch.Tensor:
    if tensor.data_type == TensorProto.BFLOAT16:
        return torch.frombuffer(bytearray(tensor.raw_data), dtype=torch.bfloat16).reshape(list(tensor.dims)).double()
    return torch.from_numpy(numpy_helper.to_array(tensor).astype(np.float64))


def nibbles(packed: torch.Tensor, rows: int) -> torch.Tensor:
    whole = packed.to(torch.int64)
    return torch.stack([whole & 15, whole >> 4], -1).reshape(rows, -1).double()


def run(model: onnx.ModelProto, x: torch.Tensor, trained: dict[str, torch.Tensor]) -> torch.Tensor:
    """The network in PyTorch, node by node, in float64; numbers are rounded in float32, as ONNX Runtime does."""
    kinds = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    values: dict[str, Any] = {tensor.name: array(tensor) for tensor in model.graph.initializer} | {"x": x} | trained

    def fake(value: torch.Tensor, scale: torch.Tensor, zero: int, kind: int) -> Levels:
        real = torch.fake_quantize_per_tensor_affine(value.float(), scale.float().reshape(()), torch.tensor(zero), *RANGES[kind])
        levels = (real.detach() / scale.float()).round().double() * scale
        # The numbers in float64, the gradient that PyTorch's operator has.
        return Levels(levels + (real - real.detach()).double(), scale, zero)

    def zero_of(name: str | None) -> int:
        return int(values[name]) if name else 0

    def real(name: str) -> torch.Tensor:
        return values[name].real if isinstance(values[name], Levels) else values[name]

    for node in model.graph.node:
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        inputs = [name or None for name in node.input] + [None] * 9
        a, b, c, *_ = [values.get(name) if name else None for name in inputs]
        op, out = node.op_type, None
        if op == "MatMulNBits":
            rows, width, bits, block = (attributes[key] for key in ("N", "K", "bits", "block_size"))
            blocks = -(-width // block)
            levels = nibbles(b, rows) if bits == 4 else b.reshape(rows, -1)
            zero = torch.full((rows, blocks), 2.0 ** (bits - 1), dtype=torch.float64)
            if inputs[3]:
                packed = values[inputs[3]].reshape(rows, -1)
                zero = (nibbles(packed, rows) if bits == 4 else packed)[:, :blocks]
            weight = (levels.reshape(rows, blocks, block) - zero[..., None]) * c.reshape(rows, blocks, 1)
            out = a @ weight.reshape(rows, -1)[:, :width].T
        elif op == "QuantizeLinear":
            out = fake(a, b, zero_of(inputs[2]), kinds[inputs[2]])
        elif op == "DequantizeLinear":
            if isinstance(a, Levels):
                assert torch.equal(a.scale, b) and a.zero == zero_of(inputs[2])
                out = a.real
            else:
                axis, block = attributes.get("axis", 1), attributes.get("block_size", 0)
                spread = (lambda t: t.repeat_interleave(block, axis).narrow(axis, 0, a.shape[axis])) if block else (
                    lambda t: t.reshape([-1 if i == axis else 1 for i in range(a.dim())]) if t.numel() > 1 else t.reshape(())
                )
                out = (a - (spread(c) if c is not None else 0)) * spread(b)
        elif op == "DynamicQuantizeLinear":
            seen = a.detach().float()
            low, high = min(float(seen.min()), 0.0), max(float(seen.max()), 0.0)
            scale = torch.tensor((np.float32(high) - np.float32(low)) / np.float32(255)).double()
            zero = int(np.round(np.float32(-low) / np.float32(scale)))
            out = fake(a, scale, zero, TensorProto.UINT8)
            values[node.output[1]], values[node.output[2]] = scale, torch.tensor(float(zero))
        elif op == "MatMulInteger":
            out = (a.real / a.scale) @ (b - (values[inputs[3]] if inputs[3] else 0))
        elif op == "ConvInteger":
            shift = values[inputs[3]] if inputs[3] else torch.tensor(0.0)
            out = F.conv2d(a.real / a.scale, b - shift, None, attributes.get("strides", 1), attributes.get("pads", [0])[0])
        elif op in ("QLinearMatMul", "QLinearConv", "QGemm"):
            shift = values[inputs[5]]
            weight, scale = b_of(values[inputs[3]], shift, op), values[inputs[4]]
            if op == "QLinearMatMul":
                product, at = real(inputs[0]) @ (weight * scale), 6
            elif op == "QGemm":
                bias = values[inputs[6]] * real_scale(values[inputs[1]], scale)
                product, at = real(inputs[0]) @ (weight * scale.reshape(-1, 1)).T + bias, 7
            else:
                bias = values[inputs[8]] * real_scale(values[inputs[1]], scale)
                weight = weight * scale.reshape(-1, 1, 1, 1)
                product, at = F.conv2d(real(inputs[0]), weight, bias, attributes.get("strides", 1), attributes.get("pads", [0])[0]), 6
            out = fake(product, values[inputs[at]], zero_of(inputs[at + 1]), kinds[inputs[at + 1]])
        elif op == "QLinearAdd":
            other = real(inputs[3]) if isinstance(values[inputs[3]], Levels) else (values[inputs[3]] - values[inputs[5]]) * values[inputs[4]]
            out = fake(real(inputs[0]) + other, values[inputs[6]], zero_of(inputs[7]), kinds[inputs[7]])
        elif op == "Conv":
            out = F.conv2d(a, b, c, attributes.get("strides", 1), attributes.get("pads", [0])[0])
        elif op == "Gemm":
            out = a @ (b.T if attributes.get("transB") else b) + c
        elif op == "MaxPool":
            pool = lambda t: F.max_pool2d(t, attributes["kernel_shape"], attributes["strides"])
            out = Levels(pool(a.real), a.scale, a.zero) if isinstance(a, Levels) else pool(a)
        elif op == "Flatten":
            out = Levels(a.real.flatten(1), a.scale, a.zero) if isinstance(a, Levels) else a.flatten(1)
        else:
            out = {"MatMul": lambda: a @ b, "Add": lambda: a + b, "Mul": lambda: a * b, "Relu": lambda: F.relu(a), "Cast": lambda: a, "Reshape": lambda: a.reshape([int(n) for n in b])}[op]()
        values[node.output[0]] = out
    return values["logits"]


def b_of(levels: torch.Tensor, zero: torch.Tensor, op: str) -> torch.Tensor:
    """The weight's levels from their zero point: one for all, or one for each unit (columns of QLinearMatMul, else axis 0)."""
    by_rows = op != "QLinearMatMul" and zero.numel() > 1
    return levels - (zero.reshape([-1] + [1] * (levels.dim() - 1)) if by_rows else zero)


def real_scale(x_scale: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    return (x_scale.float() * scale.float()).double()


def short(value: torch.Tensor) -> list[float]:
    return [float(f"{number:.9g}") for number in value.detach().flatten().tolist()]


def figures(model: onnx.ModelProto, x: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    floats = {t.name: array(t) for t in model.graph.initializer if "lora" in t.name or t.name.endswith(".bias")}
    trained = {name: value.clone().requires_grad_() for name, value in floats.items()}
    point = torch.from_numpy(x).double().requires_grad_()
    target = torch.from_numpy(labels)
    loss = F.cross_entropy(run(model, point, trained), target)
    loss.backward()
    result: dict[str, Any] = {
        "loss": float(loss.detach()),
        "gradients": {name: short(value.grad) for name, value in {"x": point, **trained}.items() if value.grad is not None},
    }
    if trained:
        optimizer = torch.optim.AdamW(trained.values(), lr=RATE)
        losses = []
        for _ in range(STEPS):
            optimizer.zero_grad()
            loss = F.cross_entropy(run(model, point.detach(), trained), target)
            loss.backward()
            optimizer.step()
            losses.append(float(f"{float(loss.detach()):.9g}"))
        result["losses"] = losses
    return result


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    x, images = numbers("x", (BATCH, 32)), numbers("images", (BATCH, 2, 8, 8))
    labels = np.arange(BATCH) % SIZES["fc2"][1]
    bases = {
        "float16": network(half(TensorProto.FLOAT16)),
        "bfloat16": network(half(TensorProto.BFLOAT16)),
        "int8": network(channels, 17),
        "nbits4": in_blocks(4, False, QuantFormat.QOperator),
        "nbits4-symmetric": in_blocks(4, True, QuantFormat.QOperator),
        "nbits8": in_blocks(8, False, QuantFormat.QOperator),
        "int4-qdq": in_blocks(4, False, QuantFormat.QDQ),
    }
    without = {"nodes_to_exclude": [name for name in BRANCHES if name not in BASES]}
    rounding = {
        "static-qdq": statically(network(opset=17), x, QuantFormat.QDQ, QuantType.QUInt8, **without),
        "static-qdq-signed": statically(network(opset=17), x, QuantFormat.QDQ, QuantType.QInt8, extra_options={"ActivationSymmetric": True}, **without),
        "static-qoperator": statically(network(opset=17), x, QuantFormat.QOperator, QuantType.QUInt8, **without),
        "dynamic": by_onnxruntime(network(opset=17), quantize_dynamic, nodes_to_quantize=BASES),
    }
    convolutions = {
        "images-qdq": statically(image_network(), images, QuantFormat.QDQ, QuantType.QUInt8, per_channel=True),
        "images-qoperator": statically(image_network(), images, QuantFormat.QOperator, QuantType.QUInt8, per_channel=True),
        "images-dynamic": by_onnxruntime(image_network(), quantize_dynamic, op_types_to_quantize=["Conv", "MatMul"]),
    }
    index: dict[str, Any] = {
        "batch": BATCH,
        "learningRate": RATE,
        "x": short(torch.from_numpy(x)),
        "images": short(torch.from_numpy(images)),
        "labels": labels.tolist(),
        "models": {},
    }
    for kind, group in {"bases": bases, "rounding": rounding, "convolutions": convolutions}.items():
        for name, model in group.items():
            del model.metadata_props[:]
            model.graph.ClearField("value_info")
            onnx.save(model, FOLDER / f"{name}.onnx")
            index["models"][name] = {"kind": kind, **figures(model, images if kind == "convolutions" else x, labels)}
    write_json(FOLDER / "index.json", index)


if __name__ == "__main__":
    main()
