"""A small Llama for test/adapters/peft-decoder.test.ts: its exports, and what PEFT answers with adapters that were trained on them.

`export FOLDER` writes FOLDER/{float,int4,int8}.onnx and, for each, the weights of the PyTorch model (the quantized ones dequantized);
`answer FOLDER` loads FOLDER/{name}/adapter_model.safetensors with PEFT beside each and writes FOLDER/answers.json.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from transformers import LlamaConfig, LlamaForCausalLM

NAMES = ("float", "int4", "int8")
BLOCK = 32


def llama() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=48,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=32,
        use_cache=False,
        attn_implementation="eager",
    )
    return LlamaForCausalLM(config).eval()


class Logits(torch.nn.Module):
    """The logits alone; its only module has no name of its own in the export."""

    def __init__(self, model: LlamaForCausalLM) -> None:
        super().__init__()
        self.model, self.lm_head = model.model, model.lm_head

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        mask = torch.ones_like(input_ids)
        return self.lm_head(self.model(input_ids=input_ids, attention_mask=mask).last_hidden_state)


def layers(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    """The linear layers of the blocks by their module's name."""
    return {
        node.name.strip("/").rsplit("/", 1)[0].replace("/", "."): node
        for node in model.graph.node
        if node.op_type in ("MatMul", "MatMulNBits") and "_proj/" in node.name
    }


def nbits(node: onnx.NodeProto, stored: dict[str, np.ndarray]) -> np.ndarray:
    """The weight [out, in] of MatMulNBits, by its documentation."""
    sizes = {one.name: one.i for one in node.attribute}
    n, k = sizes["N"], sizes["K"]
    low_first = np.stack([stored[node.input[1]] & 15, stored[node.input[1]] >> 4], -1).reshape(n, -1, BLOCK)
    scales = stored[node.input[2]].reshape(n, -1, 1)
    zero: np.ndarray | int = 8
    if len(node.input) > 3 and node.input[3]:
        points = stored[node.input[3]].reshape(n, -1)
        zero = np.stack([points & 15, points >> 4], -1).reshape(n, -1)[:, : scales.shape[1], None]
    return ((low_first.astype(np.float32) - np.float32(zero)) * scales).reshape(n, -1)[:, :k]


def to_int8(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Stores the linear layers as int8 with one scale for each unit, behind DequantizeLinear. Returns the weights [out, in]."""
    graph = model.graph
    stored = {one.name: one for one in graph.initializer}
    weights = {}
    dequantize = []
    for module, node in layers(model).items():
        weight = numpy_helper.to_array(stored[node.input[1]])
        scale = (np.abs(weight).max(0) / 127).astype(np.float32)
        rounded = np.clip(np.rint(weight / scale), -127, 127).astype(np.int8)
        name = node.input[1]
        graph.initializer.extend(
            [
                numpy_helper.from_array(rounded, f"{name}.int8"),
                numpy_helper.from_array(scale, f"{name}.scale"),
                numpy_helper.from_array(np.zeros_like(scale, np.int8), f"{name}.zero"),
            ]
        )
        inputs = [f"{name}.int8", f"{name}.scale", f"{name}.zero"]
        dequantize.append(helper.make_node("DequantizeLinear", inputs, [f"{name}.float"], axis=1))
        node.input[1] = f"{name}.float"
        graph.initializer.remove(stored[name])
        weights[module] = (rounded.astype(np.float32) * scale).T
    for node in reversed(dequantize):
        graph.node.insert(0, node)
    return weights


def export(folder: Path) -> None:
    model = llama()
    ids = torch.arange(10).reshape(2, 5)
    path = folder / "float.onnx"
    axes = {name: {0: "batch", 1: "tokens"} for name in ("input_ids", "logits")}
    names = {"input_names": ["input_ids"], "output_names": ["logits"], "dynamic_axes": axes}
    torch.onnx.export(Logits(model), (ids,), path, dynamo=False, opset_version=17, **names)
    torch.save(model.state_dict(), folder / "float.pt")

    exported = onnx.load(path)
    quantizer = MatMulNBitsQuantizer(
        exported, block_size=BLOCK, is_symmetric=False, nodes_to_exclude=["/lm_head/MatMul"]
    )
    quantizer.process()
    int4 = quantizer.model.model
    onnx.save(int4, folder / "int4.onnx")
    stored = {one.name: numpy_helper.to_array(one) for one in int4.graph.initializer}
    save(model, {name: nbits(node, stored) for name, node in layers(int4).items()}, folder / "int4.pt")

    int8 = onnx.load(path)
    save(model, to_int8(int8), folder / "int8.pt")
    onnx.save(int8, folder / "int8.onnx")
    assert all(one.data_type != TensorProto.UNDEFINED for one in int8.graph.initializer)


def save(model: LlamaForCausalLM, weights: dict[str, np.ndarray], path: Path) -> None:
    assert len(weights) == 14
    state = dict(model.state_dict())
    for name, weight in weights.items():
        assert state[f"{name}.weight"].shape == weight.shape
        state[f"{name}.weight"] = torch.from_numpy(np.ascontiguousarray(weight))
    torch.save(state, path)


def answer(folder: Path) -> None:
    from peft import PeftModel

    ids = torch.tensor(json.loads((folder / "ids.json").read_text()))
    answers = {}
    for name in NAMES:
        model = llama()
        model.load_state_dict(torch.load(folder / f"{name}.pt"))
        with torch.no_grad():
            without = model(input_ids=ids).logits
            adapted = PeftModel.from_pretrained(model, folder / name)
            answers[name] = {
                "without": without.flatten().tolist(),
                "with": adapted(input_ids=ids).logits.flatten().tolist(),
            }
    (folder / "answers.json").write_text(json.dumps(answers))


if __name__ == "__main__":
    {"export": export, "answer": answer}[sys.argv[1]](Path(sys.argv[2]))
