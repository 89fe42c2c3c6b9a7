"""Exports models of Keras and scikit-learn, and lists their trained parameters in keras.json.

Run: python scripts/parameters/export_keras.py FOLDER [NAME …]
"""

import json
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
from keras import layers

from common import Numbers, compact, expected

MODELS: dict[str, Callable[[], keras.Model]] = {}


def case(build: Callable[[], keras.Model]) -> Callable[[], keras.Model]:
    MODELS[build.__name__.replace("_", "-")] = build
    return build


def sequence(*parts: layers.Layer, shape: tuple[int, ...] = (5, 6)) -> keras.Model:
    return keras.Sequential([layers.Input(shape), *parts])


@case
def dense():
    return sequence(layers.Dense(4, activation="relu"), layers.Dense(1), shape=(6,))


@case
def dense_norms():
    return sequence(layers.Dense(4), layers.BatchNormalization(), layers.ReLU(), layers.LayerNormalization(), layers.Dense(3), shape=(6,))


@case
def convolutions():
    parts = [layers.Conv2D(4, 3), layers.BatchNormalization(), layers.ReLU(), layers.SeparableConv2D(4, 3), layers.DepthwiseConv2D(3, padding="same")]
    return sequence(*parts, layers.Conv2DTranspose(3, 2), layers.GlobalAveragePooling2D(), layers.Dense(3), shape=(8, 8, 3))


@case
def convolutions_1d():
    parts = [layers.Conv1D(4, 3), layers.BatchNormalization(), layers.SeparableConv1D(4, 3), layers.PReLU(shared_axes=[1])]
    return sequence(*parts, layers.GlobalAveragePooling1D(), layers.Dense(1), shape=(9, 6))


@case
def sequence_norms():
    return sequence(layers.Dense(4), layers.LayerNormalization(), layers.Dense(4), layers.RMSNormalization(), layers.UnitNormalization(), layers.Dense(1))


@case
def group_norms():
    return sequence(layers.Conv2D(4, 3), layers.GroupNormalization(2), layers.ReLU(), layers.Conv2D(4, 3), layers.GroupNormalization(-1), layers.Flatten(), layers.Dense(3), shape=(6, 6, 3))


@case
def einsum_dense():
    return sequence(layers.EinsumDense("abc,cde->abde", output_shape=(None, 2, 3), bias_axes="de"), layers.EinsumDense("abde,def->abf", output_shape=(None, 4), bias_axes="f"))


@case
def attention():
    x = keras.Input((5, 6))
    y = layers.LayerNormalization()(x + layers.MultiHeadAttention(2, 3)(x, x))
    return keras.Model(x, layers.Dense(3)(layers.LayerNormalization()(y + layers.Dense(6)(layers.Dense(8, activation="relu")(y)))))


@case
def embedding():
    x = keras.Input((5,), dtype="int32")
    y = layers.Embedding(7, 4)(x)
    return keras.Model(x, layers.Dense(3)(layers.GlobalAveragePooling1D()(y)))


@case
def gru():
    return sequence(layers.GRU(4), layers.Dense(3))


@case
def lstm():
    return sequence(layers.Bidirectional(layers.LSTM(4)), layers.Dense(3))


@case
def preprocessing():
    norm = layers.Normalization(mean=[0.485, 0.456, 0.406], variance=[0.05, 0.06, 0.07])
    return sequence(layers.Rescaling(1 / 255.0), norm, layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(3), shape=(6, 6, 3))


class Scaled(layers.Layer):
    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), name="scale", initializer="ones")
        self.temperature = self.add_weight(shape=(), name="temperature", initializer="ones")

    def call(self, x):
        return x * self.scale / self.temperature


@case
def own_layer():
    return sequence(layers.Dense(4), Scaled(), layers.Dense(3))


def export_keras(folder: Path, names: list[str]) -> list[dict[str, object]]:
    index = []
    for name in names or MODELS:
        keras.utils.set_random_seed(1)
        model = MODELS[name]()
        random = np.random.default_rng(len(name))
        # Keras exports only layers that were called.
        model(np.zeros((1, *model.input_shape[1:]), model.inputs[0].dtype))
        for weight in model.weights:
            positive = "variance" in weight.path
            weight.assign(random.random(weight.shape) + 0.5 if positive else random.standard_normal(weight.shape) * 0.5)
        numbers = Numbers(
            trained={weight.path: np.array(weight) for weight in model.trainable_weights},
            constant={weight.path: np.array(weight) for weight in model.non_trainable_weights if "seed" not in weight.path},
            computed=folded(model),
        )
        file = f"keras-{name}.onnx"
        try:
            model.export(folder / file, format="onnx", verbose=False)
        except Exception as error:
            print(file, type(error).__name__, str(error).splitlines()[0][:150], file=sys.stderr)
            continue
        index.append({"file": file, **expected(compact(folder / file), numbers)})
    return index


def folded(model: keras.Model) -> list[np.ndarray]:
    """Values that tf2onnx computes from parameters: convolutions with folded BatchNorm, a BatchNorm's scale and shift."""
    found = []
    for layer in model.layers:
        if isinstance(layer, layers.PReLU):
            found.append(-np.array(layer.alpha))
        if isinstance(layer, Scaled):
            found.append(np.array(layer.scale) / np.array(layer.temperature))
    for first, second in zip(model.layers, model.layers[1:]):
        if not isinstance(second, layers.BatchNormalization):
            continue
        scale = np.array(second.gamma) / np.sqrt(np.array(second.moving_variance) + second.epsilon)
        shift = np.array(second.beta) - np.array(second.moving_mean) * scale
        found += [scale, shift]
        if isinstance(first, (layers.Conv2D, layers.Conv1D, layers.Dense)):
            found += [np.array(first.kernel) * scale, np.array(first.bias) * scale + shift]
    return found


def export_sklearn(folder: Path) -> list[dict[str, object]]:
    from skl2onnx import to_onnx
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LinearRegression, LogisticRegression
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    random = np.random.default_rng(0)
    x = random.standard_normal((60, 6)).astype(np.float32)
    y, two, real = random.integers(0, 3, 60), random.integers(0, 2, 60), x.sum(1)
    models = {
        "mlp": MLPClassifier(hidden_layer_sizes=(4,), max_iter=5).fit(x, y),
        "mlp-two-classes": MLPClassifier(hidden_layer_sizes=(4, 4), max_iter=5).fit(x, two),
        "mlp-regressor": MLPRegressor(hidden_layer_sizes=(4,), max_iter=5).fit(x, real),
        "scaled-mlp": make_pipeline(StandardScaler(), MLPClassifier(hidden_layer_sizes=(4,), max_iter=5)).fit(x, y),
        "pca-mlp": make_pipeline(PCA(3), MLPClassifier(hidden_layer_sizes=(4,), max_iter=5)).fit(x, y),
        "logistic": LogisticRegression().fit(x, y),
        "linear": LinearRegression().fit(x, real),
    }
    index = []
    for name, model in models.items():
        *steps, last = [step for _, step in model.steps] if hasattr(model, "steps") else [model]
        if hasattr(last, "coefs_"):
            trained = {f"{kind}{i}": part for kind, parts in (("coefs_", last.coefs_), ("intercepts_", last.intercepts_)) for i, part in enumerate(parts)}
        else:
            trained = {"coef_": last.coef_, "intercept_": np.asarray(last.intercept_)}
        constant = {f"{key}{i}": value for i, step in enumerate(steps) for key, value in vars(step).items() if isinstance(value, np.ndarray)}
        file = f"sklearn-{name}.onnx"
        proto = to_onnx(model, x[:1], options={"zipmap": False} if hasattr(last, "classes_") else None)
        (folder / file).write_bytes(proto.SerializeToString())
        index.append({"file": file, **expected(compact(folder / file), Numbers(trained, constant, []))})
    return index


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    index = export_keras(folder, sys.argv[2:]) + ([] if sys.argv[2:] else export_sklearn(folder))
    (folder / "keras.json").write_text(json.dumps({"keras": keras.__version__, "models": index}, indent=1) + "\n")
