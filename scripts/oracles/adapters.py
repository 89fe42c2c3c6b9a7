"""LoRA, DoRA and IA³ in PEFT on PyTorch: test/fixtures/peft, the reference of test/adapters/peft*.test.ts.

    python scripts/oracles/adapters.py          a model, PEFT's adapters before and after 20 steps, losses, merged weights
    RECORD_ADAPTERS=1 npx vitest run test/adapters/peft.test.ts     the adapters that our training ends with: <case>/ours
    python scripts/oracles/adapters.py --ours   loads these with PEFT and records what the model answers: ours.json
    python scripts/oracles/adapters.py --onnx   the same with ONNX Runtime and the .onnx_adapter files: onnx.json, ort.onnx_adapter

Made with torch 2.15 and peft 0.21.
"""
import json
import shutil
import sys
from pathlib import Path

import numpy
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from peft import IA3Config, LoraConfig, PeftModel, get_peft_model
from torch import nn

folder = Path("test/fixtures/peft")


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


def network(name):
    torch.manual_seed(0)
    if base_of(name) in ["nbits", "dequantize"]:
        return Layers([(weight, bias) for *_, bias, weight in quantized(base_of(name))])
    return Network() if base_of(name) == "model" else Tokens()


def base_of(name):
    """The file beside which the adapter of a case lies."""
    return name.removeprefix("dora-") if name.endswith(("nbits", "dequantize")) else bases.get(name, "model")


bases = {"embedding": "tokens", "dora-embedding": "tokens", "groups": "tokens", "ia3-groups": "tokens"}
cases = {
    "lora": dict(r=3, lora_alpha=6, target_modules=["conv1", "conv2", "qkv", "proj", "fc1"]),
    "rslora": dict(
        r=4, lora_alpha=5, use_rslora=True, target_modules=["conv1", "qkv", "fc1"], modules_to_save=["head"]
    ),
    "dora": dict(r=3, lora_alpha=6, use_dora=True, target_modules=["conv1", "conv2", "qkv", "proj", "fc1"]),
    "ia3": dict(
        target_modules=["conv1", "conv2", "qkv", "proj", "fc1"],
        feedforward_modules=["conv2", "proj"],
        modules_to_save=["head"],
    ),
    "embedding": dict(r=3, lora_alpha=6, target_modules=["emb", "fc"]),
    "dora-embedding": dict(r=3, lora_alpha=6, use_dora=True, target_modules=["emb", "fc"]),
    "groups": dict(r=12, lora_alpha=6, use_rslora=True, target_modules=["conv", "depth"]),
    "ia3-groups": dict(target_modules=["conv", "depth"], feedforward_modules=[]),
    "dora-nbits": dict(r=3, lora_alpha=6, use_dora=True, target_modules=["fc1", "fc2"]),
    "dora-dequantize": dict(r=3, lora_alpha=6, use_dora=True, target_modules=["fc1", "fc2"]),
}
# Into what PEFT merges, or what a file can hold merged.
merged_cases = [name for name in cases if name != "groups" and base_of(name) in ["model", "tokens"]]


def config(name):
    return (IA3Config if name.startswith("ia3") else LoraConfig)(**cases[name])


def data(base):
    generator = torch.Generator().manual_seed(1)
    if base == "tokens":
        x = torch.randint(0, 11, (24, 6), generator=generator)
    else:
        x = torch.randn(24, *([2, 8, 8] if base == "model" else [32]), generator=generator)
    return x, torch.randint(0, 5, (24,), generator=generator)


def main():
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for base in ["model", "tokens", "nbits", "dequantize"]:
        x, y = data(base)
        path = folder / f"{base}.onnx"
        if base in ["model", "tokens"]:
            torch.onnx.export(
                network("lora" if base == "model" else "groups").eval(), (x,), str(path), dynamo=False, opset_version=17,
                input_names=["x"], output_names=["logits"], dynamic_axes={"x": {0: "batch"}, "logits": {0: "batch"}},
            )
        else:
            onnx.save(quantized_model(base), path)
        numpy.savez(folder / f"{base}.npz", x=x.numpy(), y=y.numpy().astype(numpy.int64))
    record = {}
    for name in cases:
        x, y = data(base_of(name))
        torch.manual_seed(2)
        model = get_peft_model(network(name), config(name))
        model.save_pretrained(folder / name / "begin")
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.02)
        losses = []
        for _ in range(20):
            loss = nn.functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        model.save_pretrained(folder / name / "end")
        model.eval()
        logits = model(x).detach()
        weights = {}
        if name in merged_cases:
            merged = model.merge_and_unload()
            weights = {key: value.flatten().tolist() for key, value in merged.state_dict().items() if "weight" in key}
        record[name] = {"losses": losses, "logits": logits.flatten().tolist(), "weights": weights}
    (folder / "record.json").write_text(json.dumps(record))
    for path in folder.rglob("README.md"):
        path.unlink()


def ours():
    record = {}
    for name in cases:
        x, _ = data(base_of(name))
        model = PeftModel.from_pretrained(network(name), str(folder / name / "ours")).eval()
        record[name] = model(x).detach().flatten().tolist()
    (folder / "ours.json").write_text(json.dumps(record))


def runtime():
    import onnxruntime

    record = {}
    for name in ["lora", "dora", "ia3", "embedding", "groups", "dora-nbits"]:
        feeds = {"x": data(base_of(name))[0].numpy()}
        path = folder / name / "ours.onnx_adapter"
        session = onnxruntime.InferenceSession(str(path).replace(".onnx_adapter", ".inputs.onnx"))
        adapter = onnxruntime.LoraAdapter()
        adapter.Load(str(path))
        options = onnxruntime.RunOptions()
        options.add_active_adapter(adapter)
        record[name] = {
            "with": session.run(["logits"], feeds, options)[0].flatten().tolist(),
            "without": session.run(["logits"], feeds)[0].flatten().tolist(),
        }
        # The same parameters as ONNX Runtime writes them.
        read = onnxruntime.AdapterFormat.read_adapter(str(path))
        written = onnxruntime.AdapterFormat()
        written.set_adapter_version(7)
        written.set_model_version(3)
        written.set_parameters(read.get_parameters())
        written.export_adapter(str(folder / name / "ort.onnx_adapter"))
    (folder / "onnx.json").write_text(json.dumps(record))


if __name__ == "__main__":
    ours() if "--ours" in sys.argv else runtime() if "--onnx" in sys.argv else main()
