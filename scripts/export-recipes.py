"""Tries the ways of exporting a network for training that `inspect` and docs/exporting.md advise, and those they warn of.

Prints what is left of BatchNorm and Dropout in each file, as the table of docs/exporting.md, and writes the files to
test/fixtures/recipes, which a test holds the advice against. Run: npm run python -- scripts/export-recipes.py
The rows of Keras need `pip install tensorflow-cpu tf2onnx` beside scripts/requirements.txt and are left out without.
With an older PyTorch (2.5 to 2.8) it tries the ways of that version and writes its files beside the others.
"""

import collections
import contextlib
import io
import os
import pathlib
import warnings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
warnings.filterwarnings("ignore")

import onnx  # noqa: E402
import torch  # noqa: E402
from torch import nn  # noqa: E402

folder = pathlib.Path(__file__).parent.parent / "test" / "fixtures" / "recipes"
training = torch.onnx.TrainingMode.TRAINING


def network() -> nn.Module:
    """Two convolutions with BatchNorm, one Dropout, a dense layer."""
    torch.manual_seed(0)
    blocks = [nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.2)]
    blocks += [nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU()]
    return nn.Sequential(*blocks, nn.Flatten(), nn.Linear(4 * 16, 5))


# Name of the file: whether model.train() comes first, options of torch.onnx.export, and how that is written.
recipes = {
    "torch-default-eval": (False, {}, "`model.eval()`, default exporter"),
    "torch-default-train": (True, {}, "`model.train()`, default exporter"),
    "torch-default-training": (True, {"training": training}, "default exporter, `training=TrainingMode.TRAINING`"),
    "torch-unoptimized": (True, {"optimize": False}, "`model.train()`, default exporter, `optimize=False`"),
    "torch-script-eval": (False, {"dynamo": False}, "`model.eval()`, `dynamo=False`"),
    "torch-script-training": (
        True,
        {"dynamo": False, "training": training, "do_constant_folding": False},
        "`dynamo=False, training=TrainingMode.TRAINING, do_constant_folding=False`",
    ),
}

# Until 2.8, the exporter without flags is the one of TorchScript.
older = {
    "eval": (False, {}, "`model.eval()`, default exporter"),
    "training": (
        True,
        {"training": training, "do_constant_folding": False},
        "`training=TrainingMode.TRAINING, do_constant_folding=False`",
    ),
    "functions": (
        False,
        {"export_modules_as_functions": {nn.Conv2d, nn.Linear}},
        "`model.eval()`, `export_modules_as_functions={nn.Conv2d, nn.Linear}`",
    ),
    "dynamo-train": (True, {"dynamo": True}, "`model.train()`, `dynamo=True`"),
    "dynamo-unoptimized": (True, {"dynamo": True, "optimize": False}, "`model.train()`, `dynamo=True, optimize=False`"),
}
version = torch.__version__.split("+")[0]
is_older = tuple(int(part) for part in version.split(".")[:2]) < (2, 9)
if is_older:
    short = ".".join(version.split(".")[:2])
    recipes = {f"torch-{short}-{name}": recipe for name, recipe in older.items()}


def report(exporter: str, how: str, path: pathlib.Path) -> None:
    """Returns one row of the table."""
    counts = collections.Counter(node.op_type for node in onnx.load(path).graph.node)
    for function in onnx.load(path).functions:
        counts.update(node.op_type for node in function.node)
    kept = lambda op: "kept" if counts[op] else "**gone**"  # noqa: E731
    print(f"| {exporter} | {how} | {kept('BatchNormalization')} | {kept('Dropout')} |")


def keras_rows() -> None:
    """Keras's own export, which is tf2onnx's."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    try:
        import keras
        import tf2onnx
        from keras import layers
    except ImportError as error:
        print(f"(no rows of Keras: {error})")
        return
    convolution = lambda: layers.Conv2D(4, 3, padding="same", use_bias=False)  # noqa: E731
    model = keras.Sequential(
        [keras.Input((4, 4, 3)), convolution(), layers.BatchNormalization(), layers.ReLU(), layers.Dropout(0.2)]
        + [convolution(), layers.BatchNormalization(), layers.ReLU(), layers.Flatten(), layers.Dense(5)]
    )
    path = folder / "keras.onnx"
    import tensorflow as tf

    # What model.export(…, format="onnx") does, without its check of the newest NumPy.
    call = tf.function(
        lambda x: model(x, training=False), input_signature=[tf.TensorSpec((None, 4, 4, 3), tf.float32)]
    )
    tf2onnx.convert.from_function(call, input_signature=call.input_signature, output_path=str(path), opset=17)
    report(f"Keras {keras.__version__}, tf2onnx {tf2onnx.__version__}", "`model.export(…, format=\"onnx\")`", path)


folder.mkdir(parents=True, exist_ok=True)
print("| exporter | how | BatchNorm | Dropout |")
print("| --- | --- | --- | --- |")
for name, (train, options, how) in recipes.items():
    path = folder / f"{name}.onnx"
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        torch.onnx.export(network().train(train), (torch.randn(2, 3, 4, 4),), str(path), **options)
    # Traces of the source code and of shapes are most of such a file, and nothing here reads them.
    model = onnx.load(path)
    for node in model.graph.node:
        node.doc_string = ""
        for entry in [e for e in node.metadata_props if "stack_trace" in e.key or "fx_node" in e.key]:
            node.metadata_props.remove(entry)
    onnx.save(model, path)
    path.with_suffix(".onnx.data").unlink(missing_ok=True)
    report(f"PyTorch {version}", how, path)
if not is_older:
    # The option changes nothing: this is the same file again.
    (folder / "torch-default-training.onnx").unlink()
    keras_rows()
