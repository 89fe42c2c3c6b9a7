"""LoRA, DoRA and IA³ in PEFT on PyTorch: test/fixtures/peft, the reference of test/adapters/peft*.test.ts.

    python scripts/oracles/adapters.py          a model, PEFT's adapters before and after 20 steps, losses, merged weights
    python scripts/oracles/adapters.py --add    the same for cases that have no folder yet
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
from peft import IA3Config, LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import nn

from adapter_networks import (
    Attention, Blocks, Layers, Network, Tokens, Upward, UpwardAdapter, WrittenOut, block_table, quantized,
    quantized_model, written_model
)

folder = Path("test/fixtures/peft")


def upward(kind):
    """The network with adapters of a case beside its transposed convolutions."""
    model = network(kind).requires_grad_(False)
    own = cases[kind]
    for name in own["target_modules"]:
        scaling = own.get("lora_alpha", 1) / own.get("r", 1) ** (0.5 if own.get("use_rslora") else 1)
        form = "ia3" if kind.startswith("ia3") else "dora" if kind.startswith("dora") else "lora"
        setattr(model, name, UpwardAdapter(getattr(model, name), form, own.get("r"), scaling))
    return model


def named_upward(name):
    """The name in PEFT's files of an adapter's parameter."""
    return f"base_model.model.{name}" + (".weight" if name.endswith(("lora_A", "lora_B")) else "")


def save_peft(model, path):
    """Without the adapter of the last projection, which begins with zeros and stays so: PEFT 0.21 adds its change twice."""
    model.save_pretrained(path)
    file = path / "adapter_model.safetensors"
    found = load_file(file)
    if any("out_proj" in key for key in found):
        save_file({key: value for key, value in found.items() if "out_proj" not in key}, file, metadata={"format": "pt"})


def save_upward(model, name, path):
    path.mkdir(parents=True)
    own = {named_upward(key): value.detach().clone() for key, value in model.named_parameters() if value.requires_grad}
    save_file(own, path / "adapter_model.safetensors", metadata={"format": "pt"})
    settings = {"peft_type": "IA3" if name.startswith("ia3") else "LORA", "feedforward_modules": [], **cases[name]}
    (path / "adapter_config.json").write_text(json.dumps(settings, indent=2))


def network(name):
    torch.manual_seed(0)
    if base_of(name) in ["nbits", "dequantize"]:
        return Layers([(weight, bias) for *_, bias, weight in quantized(base_of(name))])
    if base_of(name) == "blocks":
        return Blocks(block_table()[-1])
    if name.endswith("-attention"):
        return WrittenOut(Attention())
    return {"model": Network, "tokens": Tokens, "attention": Attention, "upward": Upward}[base_of(name)]()


def base_of(name):
    """The file beside which the adapter of a case lies."""
    last = name.rsplit("-", 1)[-1]
    return last if last in ["nbits", "dequantize", "blocks", "attention", "upward"] else bases.get(name, "model")


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
cases |= {
    "attention": dict(r=3, lora_alpha=6, target_modules=["attn"]),
    "dora-attention": dict(r=3, lora_alpha=6, use_dora=True, target_modules=["attn"]),
    "ia3-attention": dict(target_modules=["attn"], feedforward_modules=[]),
    "blocks": dict(r=3, lora_alpha=6, target_modules=["emb"]),
    "dora-blocks": dict(r=3, lora_alpha=6, use_dora=True, target_modules=["emb"]),
    "upward": dict(r=4, lora_alpha=5, use_rslora=True, target_modules=["up1", "up2"]),
    "dora-upward": dict(r=3, lora_alpha=6, use_dora=True, target_modules=["up1"]),
    "ia3-upward": dict(target_modules=["up1", "up2"]),
}
# Into what PEFT merges, or what a file can hold merged.
merged_cases = [name for name in cases if name != "groups" and base_of(name) in ["model", "tokens"]]


def config(name):
    return (IA3Config if name.startswith("ia3") else LoraConfig)(**cases[name])


def data(base):
    generator = torch.Generator().manual_seed(1)
    if base in ["tokens", "blocks"]:
        x = torch.randint(0, 11, (24, 6), generator=generator)
    else:
        shapes = {"model": [2, 8, 8], "attention": [6, 8], "upward": [3, 5, 5]}
        x = torch.randn(24, *shapes.get(base, [32]), generator=generator)
    return x, torch.randint(0, 5, (24,), generator=generator)


def write_bases():
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for base in ["model", "tokens", "nbits", "dequantize", "attention", "blocks", "upward"]:
        x, y = data(base)
        path = folder / f"{base}.onnx"
        if base in ["attention", "blocks"]:
            onnx.save(written_model(base, network(base)), path)
        elif base in ["model", "tokens", "upward"]:
            torch.onnx.export(
                network({"model": "lora", "tokens": "groups"}.get(base, base)).eval(), (x,), str(path), dynamo=False, opset_version=17,
                input_names=["x"], output_names=["logits"], dynamic_axes={"x": {0: "batch"}, "logits": {0: "batch"}},
            )
        else:
            onnx.save(quantized_model(base), path)
        numpy.savez(folder / f"{base}.npz", x=x.numpy(), y=y.numpy().astype(numpy.int64))


def main(adds):
    if not adds:
        write_bases()
    record = json.loads((folder / "record.json").read_text()) if adds else {}
    for name in [name for name in cases if not (folder / name).exists()]:
        x, y = data(base_of(name))
        torch.manual_seed(2)
        by_hand = base_of(name) == "upward"
        model = upward(name) if by_hand else get_peft_model(network(name), config(name))
        save = lambda path: save_upward(model, name, path) if by_hand else save_peft(model, path)
        save(folder / name / "begin")
        trained = [p for key, p in model.named_parameters() if p.requires_grad and "out_proj" not in key]
        optimizer = torch.optim.AdamW(trained, lr=0.02)
        losses = []
        for _ in range(20):
            loss = nn.functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        save(folder / name / "end")
        model.eval()
        logits = model(x).detach()
        weights = {}
        if by_hand:
            weights = {f"{key}.weight": getattr(model, key).weight().flatten().tolist() for key in cases[name]["target_modules"]}
        elif name in merged_cases:
            merged = model.merge_and_unload()
            weights = {key: value.flatten().tolist() for key, value in merged.state_dict().items() if "weight" in key}
        elif name.endswith("-attention"):
            merged = model.merge_and_unload().attn
            weights = {"attn.in_proj_weight": merged.weight.T.flatten().tolist(), "attn.in_proj_bias": merged.bias.tolist()}
        record[name] = {"losses": losses, "logits": logits.flatten().tolist(), "weights": weights}
    (folder / "record.json").write_text(json.dumps(record))
    for path in folder.rglob("README.md"):
        path.unlink()


def ours():
    record = {}
    for name in cases:
        x, _ = data(base_of(name))
        if base_of(name) == "upward":
            model, found = upward(name), load_file(folder / name / "ours" / "adapter_model.safetensors")
            own = [key for key, value in model.named_parameters() if value.requires_grad]
            assert sorted(map(named_upward, own)) == sorted(found), found.keys()
            model.load_state_dict({key: found[named_upward(key)] for key in own}, strict=False)
        else:
            model = PeftModel.from_pretrained(network(name), str(folder / name / "ours")).eval()
        record[name] = model(x).detach().flatten().tolist()
    (folder / "ours.json").write_text(json.dumps(record))


def runtime():
    import onnxruntime

    record = {}
    for name in ["lora", "dora", "ia3", "embedding", "groups", "dora-nbits", "attention", "blocks", "upward"]:
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
    ours() if "--ours" in sys.argv else runtime() if "--onnx" in sys.argv else main("--add" in sys.argv)
