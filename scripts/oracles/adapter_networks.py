"""The networks of scripts/oracles/adapters.py, and the files of those that no exporter writes."""
import numpy
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn


class Network(nn.Module):
    """Convolutions, a fused projection on tokens, and a classifier."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(2, 6, 3, stride=2, padding=1)
        self.conv2 = nn.Conv2d(6, 8, 1)
        self.qkv = nn.Linear(8, 24)
        self.proj = nn.Linear(8, 8, bias=False)
        self.fc1 = nn.Linear(8, 12)
        self.head = nn.Linear(12, 5)

    def forward(self, x):
        x = torch.relu(self.conv2(torch.relu(self.conv1(x))))
        x = x.flatten(2).transpose(1, 2)
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        x = x + self.proj(torch.softmax(q @ k.transpose(1, 2) / 8**0.5, -1) @ v)
        return self.head(torch.tanh(self.fc1(x.mean(1))))


class Tokens(nn.Module):
    """An embedding, convolutions with groups, one of them depthwise, and a classifier."""

    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(11, 8)
        self.conv = nn.Conv2d(8, 12, (3, 1), padding=(1, 0), groups=2)
        self.depth = nn.Conv2d(12, 12, (3, 1), padding=(1, 0), groups=12, bias=False)
        self.fc = nn.Linear(12, 7)
        self.head = nn.Linear(7, 5)

    def forward(self, x):
        x = torch.relu(self.conv(self.emb(x).transpose(1, 2).unsqueeze(3)))
        return self.head(torch.tanh(self.fc(self.depth(x).mean((2, 3)))))


class Layers(nn.Module):
    """Two layers whose weights are those that a quantized file stands for."""

    def __init__(self, weights):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(32, 24), nn.Linear(24, 5)
        for layer, (weight, bias) in zip([self.fc1, self.fc2], weights):
            layer.weight.data, layer.bias.data = torch.from_numpy(weight), torch.from_numpy(bias)

    def forward(self, x):
        return self.fc2(torch.tanh(self.fc1(x)))


class Attention(nn.Module):
    """An attention with one packed weight, which the file holds inside of com.microsoft.Attention."""

    def __init__(self):
        super().__init__()
        self.attn = nn.MultiheadAttention(8, 2, batch_first=True)
        nn.init.normal_(self.attn.in_proj_bias, std=0.3)
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        return self.fc(torch.tanh(self.attn(x, x, x, need_weights=False)[0]).mean(1))


class WrittenOut(nn.Module):
    """The same attention with its packed projection as a linear layer: PEFT has DoRA and IA³ for that, and not for MultiheadAttention."""

    def __init__(self, packed):
        super().__init__()
        self.attn = nn.Linear(8, 24)
        self.attn.weight, self.attn.bias = packed.attn.in_proj_weight, packed.attn.in_proj_bias
        self.out, self.fc = packed.attn.out_proj, packed.fc

    def forward(self, x):
        q, k, v = (part.unflatten(-1, (2, 4)).transpose(1, 2) for part in self.attn(x).chunk(3, dim=-1))
        mixed = torch.softmax(q @ k.transpose(2, 3) / 4**0.5, -1) @ v
        return self.fc(torch.tanh(self.out(mixed.transpose(1, 2).flatten(2))).mean(1))


class Blocks(nn.Module):
    """An embedding whose table is the one that a GatherBlockQuantized stands for."""

    def __init__(self, table):
        super().__init__()
        self.emb = nn.Embedding.from_pretrained(torch.from_numpy(table))
        self.fc = nn.Linear(32, 5)

    def forward(self, x):
        return self.fc(torch.tanh(self.emb(x).mean(1)))


class Upward(nn.Module):
    """Transposed convolutions, one of them with groups."""

    def __init__(self):
        super().__init__()
        self.up1 = nn.ConvTranspose2d(3, 4, 3, stride=2, padding=1, output_padding=1)
        self.up2 = nn.ConvTranspose2d(4, 6, (2, 3), groups=2, dilation=(2, 1))
        self.fc = nn.Linear(6, 5)

    def forward(self, x):
        return self.fc(torch.tanh(self.up2(torch.tanh(self.up1(x)))).mean((2, 3)))


class UpwardAdapter(nn.Module):
    """Adapters of a transposed convolution, for which PEFT has none: A [rank, in / groups, …] and B [out, rank / groups, 1, 1], by the weight."""

    def __init__(self, layer, kind, rank, scaling):
        super().__init__()
        self.layer, self.kind, self.scaling = layer.requires_grad_(False), kind, scaling
        inputs, outputs, groups = layer.in_channels, layer.out_channels, layer.groups
        if kind == "ia3":
            self.ia3_l = nn.Parameter(torch.ones(1, outputs, 1, 1))
            return
        self.lora_A = nn.Parameter(torch.randn(rank, inputs // groups, *layer.kernel_size) / 3)
        self.lora_B = nn.Parameter(torch.zeros(outputs, rank // groups, 1, 1))
        if kind == "dora":
            self.lora_magnitude_vector = nn.Parameter(self.units(layer.weight).flatten(2).norm(dim=2).reshape(1, -1, 1, 1))

    def units(self, weight):
        """[in, out / groups, …] as [groups, out / groups, in / groups, …]."""
        groups = self.layer.groups
        return weight.reshape(groups, -1, *weight.shape[1:]).transpose(1, 2)

    def weight(self):
        layer, groups = self.layer, self.layer.groups
        if self.kind == "ia3":
            return layer.weight * self.ia3_l.reshape(groups, -1).repeat_interleave(layer.in_channels // groups, 0)[..., None, None]
        down, up = (matrix.flatten(1).reshape(groups, -1, matrix.flatten(1).shape[1]) for matrix in [self.lora_A, self.lora_B])
        units = self.units(layer.weight)
        units = units + self.scaling * (up @ down).reshape(units.shape)
        if self.kind == "dora":
            lengths = units.detach().flatten(2).norm(dim=2)
            units = units * (self.lora_magnitude_vector.reshape(lengths.shape) / lengths)[..., None, None, None]
        return units.transpose(1, 2).reshape(layer.weight.shape)

    def forward(self, x):
        layer = self.layer
        bias = layer.bias * self.ia3_l.flatten() if self.kind == "ia3" else layer.bias
        return nn.functional.conv_transpose2d(
            x, self.weight(), bias, layer.stride, layer.padding, layer.output_padding, layer.groups, layer.dilation
        )


def block_table():
    """Levels of 4 bits, scales and zero points of a table, in blocks of 16."""
    generator = numpy.random.default_rng(6)
    levels = generator.integers(0, 16, (11, 32))
    zeros = generator.integers(6, 11, (11, 2))
    scales = generator.uniform(0.05, 0.2, (11, 2)).astype(numpy.float32)
    table = (levels - zeros.repeat(16, 1)) * scales.astype(numpy.float64).repeat(16, 1)
    return levels, zeros, scales, table.astype(numpy.float32)


def written_model(base, model):
    """Files that no exporter writes: what ONNX Runtime's optimizer and onnxruntime-genai make."""
    inits = [
        numpy_helper.from_array(numpy.ascontiguousarray(value.detach().numpy()), name)
        for name, value in model.named_parameters()
        if not name.startswith(("attn.in_proj", "emb"))
    ]
    add = lambda array, name: inits.append(numpy_helper.from_array(numpy.ascontiguousarray(array), name))
    if base == "attention":
        add(model.attn.in_proj_weight.detach().numpy().T, "attn.in_proj_weight")
        add(model.attn.in_proj_bias.detach().numpy(), "attn.in_proj_bias")
        add(numpy.array([1]), "axes")
        inits = [one for one in inits if one.name != "attn.out_proj.weight"]
        add(model.attn.out_proj.weight.detach().numpy().T, "attn.out_proj.weight")
        nodes = [
            helper.make_node(
                "Attention", ["x", "attn.in_proj_weight", "attn.in_proj_bias"], ["a"], "/attn/Attention",
                domain="com.microsoft", num_heads=2,
            ),
            helper.make_node("MatMul", ["a", "attn.out_proj.weight"], ["p"], "/attn/out_proj/MatMul"),
            helper.make_node("Add", ["p", "attn.out_proj.bias"], ["o"], "/attn/out_proj/Add"),
            helper.make_node("Tanh", ["o"], ["t"]),
            helper.make_node("ReduceMean", ["t", "axes"], ["m"], keepdims=0),
        ]
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 6, 8])
    else:
        levels, zeros, scales, _ = block_table()
        add((levels[:, 0::2] | levels[:, 1::2] << 4).astype(numpy.uint8), "emb.weight")
        add(scales, "emb.scales")
        add((zeros[:, :1] | zeros[:, 1:] << 4).astype(numpy.uint8), "emb.zeros")
        add(numpy.array([1]), "axes")
        nodes = [
            helper.make_node(
                "GatherBlockQuantized", ["emb.weight", "x", "emb.scales", "emb.zeros"], ["e"], "/emb/Gather",
                domain="com.microsoft", gather_axis=0, quantize_axis=1, block_size=16, bits=4,
            ),
            helper.make_node("ReduceMean", ["e", "axes"], ["mean"], keepdims=0),
            helper.make_node("Tanh", ["mean"], ["m"]),
        ]
        x = helper.make_tensor_value_info("x", TensorProto.INT64, ["batch", 6])
    nodes.append(helper.make_node("Gemm", ["m", "fc.weight", "fc.bias"], ["logits"], "/fc/Gemm", transB=1))
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 5])
    domains = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(helper.make_graph(nodes, base, [x], [logits], inits), opset_imports=domains, ir_version=10)


def quantized(kind):
    """Levels, scales and zero points of two layers: blocks of 16 along the inputs (nbits), or one of each per unit."""
    generator = numpy.random.default_rng(5)
    for units, inputs in [(24, 32), (5, 24)]:
        bits, block = (4, 16) if kind == "nbits" else (8, inputs)
        blocks = -(-inputs // block)
        levels = generator.integers(0, 2**bits, (units, blocks * block))
        zeros = generator.integers(2 ** (bits - 1) - 2, 2 ** (bits - 1) + 3, (units, blocks))
        scales = generator.uniform(0.5, 1.5, (units, blocks)).astype(numpy.float32) * numpy.float32(2.0**-bits)
        bias = generator.normal(0, 0.1, units).astype(numpy.float32)
        weight = (levels - zeros.repeat(block, 1)) * scales.astype(numpy.float64).repeat(block, 1)
        yield levels, zeros, scales, bias, weight[:, :inputs].astype(numpy.float32)


def quantized_model(kind):
    """The file of `Layers`: MatMulNBits, or DequantizeLinear of uint8 and MatMul or Gemm."""
    nodes, inits, x = [], [], "x"
    for name, (levels, zeros, scales, bias, weight) in zip(["fc1", "fc2"], quantized(kind)):
        units, inputs = weight.shape
        y, add = ("logits" if name == "fc2" else f"{name}.out"), lambda array, part: inits.append(
            numpy_helper.from_array(numpy.ascontiguousarray(array), f"{name}.{part}")
        )
        add(bias, "bias")
        if kind == "nbits":
            pack = lambda array: (array[..., 0::2] | array[..., 1::2] << 4).astype(numpy.uint8)
            blocks = levels.reshape(units, -1, 16)
            add(pack(blocks), "weight")
            add(scales.flatten(), "scales")
            add(pack(numpy.pad(zeros, [(0, 0), (0, zeros.shape[1] % 2)])), "zeros")
            parts = [f"{name}.{part}" for part in ["weight", "scales", "zeros"]] + (["", "fc1.bias"] if name == "fc1" else [])
            product = y if name == "fc1" else f"{name}.product"
            nodes.append(helper.make_node(
                "MatMulNBits", [x, *parts], [product], name, domain="com.microsoft", K=inputs, N=units, bits=4, block_size=16
            ))
            if name == "fc2":
                nodes.append(helper.make_node("Add", [product, "fc2.bias"], [y], "fc2.add"))
        else:
            # One is stored as [in, out] for MatMul, the other as [out, in] for Gemm.
            turned = name == "fc1"
            add((levels.T if turned else levels).astype(numpy.uint8), "weight_quantized")
            add(scales[:, 0], "scales")
            add(zeros[:, 0].astype(numpy.uint8), "zeros")
            parts = [f"{name}.{part}" for part in ["weight_quantized", "scales", "zeros"]]
            nodes.append(helper.make_node("DequantizeLinear", parts, [f"{name}.weight"], axis=1 if turned else 0))
            if turned:
                nodes.append(helper.make_node("MatMul", [x, f"{name}.weight"], [f"{name}.product"], name))
                nodes.append(helper.make_node("Add", [f"{name}.product", f"{name}.bias"], [y], f"{name}.add"))
            else:
                nodes.append(helper.make_node("Gemm", [x, f"{name}.weight", f"{name}.bias"], [y], name, transB=1))
        if name == "fc1":
            nodes.append(helper.make_node("Tanh", [y], ["hidden"]))
            x = "hidden"
    info = lambda name, width: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", width])
    graph = helper.make_graph(nodes, kind, [info("x", 32)], [info("logits", 5)], inits)
    domains = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=domains, ir_version=10)
