"""Writes test/fixtures/recurrent: LSTM, GRU and RNN of PyTorch as its exporters write them, and float64 gradients.

Run: npm run python -- scripts/oracles/recurrent.py
"""

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import lcg
from summary import summary, write_json

FOLDER = Path(__file__).parents[2] / "test" / "fixtures" / "recurrent"
BATCH, STEPS, FEATURES, UNITS, CLASSES = 4, 6, 3, 4, 5
LENGTHS = [6, 4, 4, 1]

# Order of PyTorch's gates in ONNX: i f g o -> i o f c, r z n -> z r h.
GATES = {"LSTM": [0, 3, 1, 2], "GRU": [1, 0, 2], "RNN": [0]}


@dataclass(frozen=True)
class Case:
    kind: str
    # The classifier's input: the mean over the outputs of all steps, the last layer's last hidden (and cell) state,
    # or the sum of both (the TorchScript exporter fails on packed sequences whose outputs nobody reads).
    reads: str = "outputs"
    packed: bool = False
    exporters: tuple[str, ...] = ("script", "dynamo")
    options: dict[str, Any] = field(default_factory=dict)


DEEP = {"num_layers": 2, "bidirectional": True, "batch_first": True}
# The dynamo exporter expands RNN into single operators and does not support packed sequences.
CASES = {
    "lstm": Case("LSTM", reads="states"),
    "lstm-deep": Case("LSTM", options=DEEP),
    "lstm-packed": Case("LSTM", packed=True, exporters=("script",), options=DEEP),
    "lstm-packed-both": Case("LSTM", reads="both", packed=True, exporters=("script",), options={"bias": False}),
    "gru": Case("GRU", reads="states", options={"batch_first": True}),
    "gru-deep": Case("GRU", options=DEEP),
    "gru-packed": Case("GRU", reads="both", packed=True, exporters=("script",), options=DEEP),
    "rnn": Case("RNN", exporters=("script",), options={"nonlinearity": "relu"}),
    "rnn-deep": Case("RNN", reads="states", exporters=("script",), options=DEEP),
    "rnn-packed": Case("RNN", packed=True, exporters=("script",), options=DEEP),
}


class Network(nn.Module):
    """A recurrent module and a linear classifier; its initial states are zeros."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.case = CASES[name]
        kind, options = self.case.kind, self.case.options
        self.recurrent = getattr(nn, kind)(FEATURES, UNITS, **options)
        width = UNITS * (2 if options.get("bidirectional") else 1)
        self.head = nn.Linear(width, CLASSES)
        with torch.no_grad():
            for key, parameter in self.named_parameters():
                parameter.copy_(torch.from_numpy(lcg.uniform(f"recurrent.{name}.{key}", parameter.shape, 0.6)))

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        first = self.recurrent.batch_first
        packed = pack_padded_sequence(x, lengths, batch_first=first) if self.case.packed else x
        outputs, states = self.recurrent(packed)
        if self.case.packed:
            outputs, _ = pad_packed_sequence(outputs, batch_first=first)
        read = []
        if self.case.reads != "outputs":
            count = 2 if self.recurrent.bidirectional else 1
            for state in states if isinstance(states, tuple) else (states,):
                read.append(torch.cat([state[-count + i] for i in range(count)], 1))
        if self.case.reads != "states":
            read.append(outputs.mean(1 if first else 0))
        return self.head(sum(read))


def inputs_of(name: str, network: Network) -> tuple[Tensor, ...]:
    shape = (BATCH, STEPS, FEATURES) if network.recurrent.batch_first else (STEPS, BATCH, FEATURES)
    x = torch.from_numpy(lcg.uniform(f"recurrent.{name}.x", shape))
    return (x, torch.tensor(LENGTHS)) if network.case.packed else (x,)


def in_onnx(network: Network, of: str) -> dict[str, np.ndarray]:
    """The values ("data") or gradients ("grad") of all parameters, in the form in which ONNX has them."""
    recurrent = network.recurrent
    directions = ["", "_reverse"] if recurrent.bidirectional else [""]
    order = GATES[network.case.kind]

    def gates(key: str) -> np.ndarray:
        array = getattr(getattr(recurrent, key), of).numpy()
        return np.concatenate([np.split(array, len(order))[i] for i in order])

    found = {}
    for layer in range(recurrent.num_layers):
        keys = [f"l{layer}{direction}" for direction in directions]
        found[f"W{layer}"] = np.stack([gates(f"weight_ih_{key}") for key in keys])
        found[f"R{layer}"] = np.stack([gates(f"weight_hh_{key}") for key in keys])
        if recurrent.bias:
            halves = [[gates(f"bias_ih_{key}"), gates(f"bias_hh_{key}")] for key in keys]
            found[f"B{layer}"] = np.stack([np.concatenate(pair) for pair in halves])
    found["head.weight"] = getattr(network.head.weight, of).numpy()
    found["head.bias"] = getattr(network.head.bias, of).numpy()
    return found


def export(name: str, exporter: str) -> onnx.ModelProto:
    network = Network(name).eval()
    path = FOLDER / f"{name}.{exporter}.onnx"
    args = inputs_of(name, network)
    torch.onnx.export(
        network, args, path, dynamo=exporter == "dynamo", verbose=False,
        input_names=["x", "lengths"][: len(args)], output_names=["logits"],
        **({"external_data": False} if exporter == "dynamo" else {}),
    )  # fmt: skip
    model = onnx.load(path)
    # The dynamo exporter stores a stack of source files at every node.
    for holder in (*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output):
        del holder.metadata_props[:]
    del model.metadata_props[:], model.graph.metadata_props[:]
    for node in model.graph.node:
        node.doc_string = ""
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return model


def main() -> None:
    warnings.filterwarnings("ignore")
    FOLDER.mkdir(parents=True, exist_ok=True)
    cases = {}
    for name, case in CASES.items():
        network = Network(name).double()
        x, *lengths = inputs_of(name, network)
        loss = F.cross_entropy(network(x.double(), *lengths), torch.from_numpy(lcg.labels(f"recurrent.{name}.labels", BATCH, CLASSES)))
        loss.backward()
        values = in_onnx(Network(name), "data")
        models = []
        for exporter in case.exporters:
            parameters = {}
            for tensor in export(name, exporter).graph.initializer:
                array = numpy_helper.to_array(tensor)
                for key, value in values.items():
                    if array.shape == value.shape and np.allclose(array, value, rtol=1e-6, atol=0):
                        parameters[tensor.name] = key
            models.append({"file": f"{name}.{exporter}.onnx", "parameters": parameters})
        gradients = {key: summary(key, torch.from_numpy(value)) for key, value in in_onnx(network, "grad").items()}
        cases[name] = {
            "shape": list(x.shape), **({"lengths": LENGTHS} if case.packed else {}),
            "loss": loss.item(), "gradients": gradients, "models": models,
        }  # fmt: skip
    write_json(FOLDER / "recurrent.json", {"batch": BATCH, "classes": CLASSES, "cases": cases})


if __name__ == "__main__":
    main()
