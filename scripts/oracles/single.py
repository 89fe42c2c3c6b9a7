"""Networks that PyTorch exports for one sample (no dynamic axes), and their outputs for three samples at once.

Writes test/fixtures/single/*.onnx and index.json. Inputs are blocks of numbers by name (test/fixtures/README.md).
"""

import contextlib
import io
import json
import pathlib
import warnings

import onnx
import torch
from torch import nn

from lcg import uniform

warnings.filterwarnings("ignore")
folder = pathlib.Path(__file__).parent.parent.parent / "test" / "fixtures" / "single"


class Flat(nn.Module):
    """A convolution and a dense layer; the one sample is written into the shape between them."""

    def __init__(self):
        super().__init__()
        self.conv, self.dense = nn.Conv2d(1, 4, 3), nn.Linear(4 * 36, 5)

    def forward(self, x):
        return self.dense(torch.relu(self.conv(x)).view(1, -1) if x.size(0) == 1 else torch.relu(self.conv(x)).flatten(1))


class Tokens(nn.Module):
    """A vision transformer of one block: a class token joined to each sample, heads split and joined again."""

    def __init__(self, width=8, heads=2):
        super().__init__()
        self.patches, self.heads = nn.Conv2d(1, width, 4, 4), heads
        self.token, self.place = nn.Parameter(torch.randn(1, 1, width)), nn.Parameter(torch.randn(1, 5, width))
        self.qkv, self.out, self.head = nn.Linear(width, 3 * width), nn.Linear(width, width), nn.Linear(width, 3)

    def forward(self, x):
        batch = x.size(0)
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(batch, -1, -1), x], 1) + self.place
        q, k, v = self.qkv(x).reshape(batch, 5, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        y = (q @ k.transpose(-1, -2)).softmax(-1) @ v
        return self.head((x + self.out(y.transpose(1, 2).reshape(batch, 5, -1)))[:, 0])


class Encoder(nn.Module):
    """PyTorch's own encoder layer: tokens and samples merged for a Gemm, samples and heads merged for products."""

    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.layer(x).mean(1))


class Recurrent(nn.Module):
    """Two bidirectional LSTMs, tokens first: their initial states are constants for one sample."""

    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(4, 5, 2, bidirectional=True), nn.Linear(10, 3)

    def forward(self, x):
        return self.head(self.lstm(x)[0][-1])


class Centred(nn.Module):
    """Subtracts the mean over the samples: no sample is on its own."""

    def __init__(self):
        super().__init__()
        self.dense = nn.Linear(4, 3)

    def forward(self, x):
        return self.dense(x - x.mean(0, keepdim=True))


# Name: the network, the shape of one sample's input, its batch axis, the exporters.
networks = {
    "flat": (Flat, (1, 1, 8, 8), 0, (False, True)),
    "tokens": (Tokens, (1, 1, 8, 8), 0, (False, True)),
    "encoder": (Encoder, (1, 6, 8), 0, (False, True)),
    "recurrent": (Recurrent, (7, 1, 4), 1, (True,)),
    "centred": (Centred, (1, 4), 0, (False,)),
}
folder.mkdir(parents=True, exist_ok=True)
index = []
for name, (network, shape, axis, exporters) in networks.items():
    torch.manual_seed(0)
    model = network().eval()
    dims = [3 if at == axis else length for at, length in enumerate(shape)]
    x = torch.from_numpy(uniform(f"single.{name}", dims))
    with torch.no_grad():
        y = model.double()(x.double())
    model.float()
    for dynamo in exporters:
        file = f"{name}.{'dynamo' if dynamo else 'script'}.onnx"
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            options = {"external_data": False} if dynamo else {}
            torch.onnx.export(model, (torch.randn(shape),), str(folder / file), dynamo=dynamo, **options)
        # Traces of the source code and of shapes are most of such a file, and nothing here reads them.
        proto = onnx.load(folder / file)
        for node in proto.graph.node:
            node.doc_string = ""
            del node.metadata_props[:]
        del proto.graph.value_info[:]
        onnx.save(proto, folder / file)
        index.append({"file": file, "block": f"single.{name}", "shape": dims, "output": y.flatten().tolist()})
(folder / "index.json").write_text(json.dumps(index, indent=1) + "\n")
print(sum(path.stat().st_size for path in folder.iterdir()) // 1000, "kB")
