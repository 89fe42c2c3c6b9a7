"""LoRA, DoRA and IA³ in PEFT on PyTorch: test/fixtures/peft, the reference of test/adapters/peft.test.ts.

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
import torch
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


def network():
    torch.manual_seed(0)
    return Network()


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
}


def config(name):
    return (IA3Config if name == "ia3" else LoraConfig)(**cases[name])


def data():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(24, 2, 8, 8, generator=generator), torch.randint(0, 5, (24,), generator=generator)


def main():
    x, y = data()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    torch.onnx.export(
        network().eval(), (x,), str(folder / "model.onnx"), dynamo=False, opset_version=17,
        input_names=["x"], output_names=["logits"], dynamic_axes={"x": {0: "batch"}, "logits": {0: "batch"}},
    )
    numpy.savez(folder / "data.npz", x=x.numpy(), y=y.numpy().astype(numpy.int64))
    record = {}
    for name in cases:
        torch.manual_seed(2)
        model = get_peft_model(network(), config(name))
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
        merged = model.merge_and_unload()
        weights = {key: value.flatten().tolist() for key, value in merged.state_dict().items() if "weight" in key}
        record[name] = {"losses": losses, "logits": logits.flatten().tolist(), "weights": weights}
    (folder / "record.json").write_text(json.dumps(record))
    for path in folder.rglob("README.md"):
        path.unlink()


def ours():
    x, _ = data()
    record = {}
    for name in cases:
        model = PeftModel.from_pretrained(network(), str(folder / name / "ours")).eval()
        record[name] = model(x).detach().flatten().tolist()
    (folder / "ours.json").write_text(json.dumps(record))


def onnx():
    import onnxruntime

    x, _ = data()
    feeds = {"x": x.numpy()}
    record = {}
    for name in ["lora", "dora", "ia3"]:
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
    ours() if "--ours" in sys.argv else onnx() if "--onnx" in sys.argv else main()
