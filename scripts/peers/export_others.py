"""Exports of Keras (by tf2onnx) and scikit-learn (by skl2onnx), with data for them.

Run: npm run peers, which calls this as: python scripts/peers/export_others.py FOLDER [NAME …]
Writes NAME.onnx and NAME.safetensors (inputs, and labels for the output that its metadata names), and one line of JSON
for each, as export.py does. What is there already, made with the same versions, is not made again.
"""

import json
import logging
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from safetensors.numpy import save_file

from versions import made_before, versions_of

os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "KERAS_BACKEND": "tensorflow"}

Maker = Callable[[Path], np.ndarray]
MAKERS: dict[str, tuple[str, Maker]] = {}
PACKAGES = {"skl2onnx": ["scikit-learn", "skl2onnx"], "tf2onnx": ["keras", "tensorflow", "tf2onnx"]}


def sklearn(name: str, classify: bool, build: Callable[[], object]) -> None:
    """An estimator fitted to 60 samples of 8 numbers; the comparison differentiates its probabilities or values."""

    def make(path: Path) -> np.ndarray:
        from skl2onnx import to_onnx

        random = np.random.default_rng(0)
        x = random.normal(size=(60, 8)).astype(np.float32)
        slope = x @ random.normal(size=8)
        y = (slope > 0).astype(int) + (slope > 2) if classify else slope
        estimator = build().fit(x, y)
        options = {"zipmap": False} if classify else {}
        model = to_onnx(estimator, x[:1], options={id(estimator): options} if options else None, target_opset=18)
        onnx.save(model, path)
        return x[:6]

    MAKERS[f"sklearn-{name}"] = ("skl2onnx", make)


def keras(name: str, shape: tuple[int, ...], build: Callable[[], object], tokens: int = 0) -> None:
    def make(path: Path) -> np.ndarray:
        import keras as k

        k.utils.set_random_seed(0)
        net = build()
        random = np.random.default_rng(0)
        if tokens:
            x = random.integers(0, tokens, (4, *shape)).astype(np.int32)
        else:
            x = random.normal(size=(4, *shape)).astype(np.float32)
        # Biases of 0 and scales of 1 would be indistinguishable in the file.
        for weight in net.trainable_variables:
            weight.assign_add(0.05 * random.normal(size=weight.shape).astype(weight.dtype))
        net(x)
        net.export(path, format="onnx", verbose=False)
        return x

    MAKERS[f"keras-{name}"] = ("tf2onnx", make)


def pipeline(*steps: object) -> object:
    from sklearn.pipeline import make_pipeline

    return make_pipeline(*steps)


def declare_sklearn() -> None:
    from sklearn.decomposition import PCA
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.preprocessing import MinMaxScaler, PolynomialFeatures, StandardScaler
    from sklearn.svm import SVC

    few = {"hidden_layer_sizes": (16, 8), "max_iter": 20, "random_state": 0}
    sklearn("mlp-classifier-relu", True, lambda: MLPClassifier(**few))
    sklearn("mlp-classifier-tanh", True, lambda: MLPClassifier(**few, activation="tanh"))
    sklearn("mlp-classifier-logistic", True, lambda: MLPClassifier(**few, activation="logistic"))
    sklearn("mlp-regressor", False, lambda: MLPRegressor(**few))
    sklearn("scaled-mlp", True, lambda: pipeline(StandardScaler(), MLPClassifier(**few)))
    sklearn("scaled-mlp-regressor", False, lambda: pipeline(MinMaxScaler(), MLPRegressor(**few)))
    sklearn("pca-mlp", False, lambda: pipeline(PCA(4), MLPRegressor(**few)))
    sklearn("linear-regression", False, LinearRegression)
    sklearn("polynomial-ridge", False, lambda: pipeline(PolynomialFeatures(2), Ridge()))
    sklearn("logistic-regression", True, LogisticRegression)
    sklearn("gaussian-process", False, GaussianProcessRegressor)
    sklearn("support-vectors", True, lambda: SVC(probability=True))
    sklearn("random-forest", True, lambda: RandomForestClassifier(4))


def declare_keras() -> None:
    def layers(*names_and_arguments: tuple) -> Callable[[], object]:
        def build() -> object:
            import keras as k

            shape, *rest = names_and_arguments
            return k.Sequential([k.Input(shape), *(getattr(k.layers, n)(*a, **o) for n, a, o in rest)])

        return build

    def layer(name: str, *arguments: object, **options: object) -> tuple:
        return name, arguments, options

    relu, same = {"activation": "relu"}, {"padding": "same"}
    head = (layer("GlobalAveragePooling2D"), layer("Dense", 5))
    keras("mlp", (12,), layers((12,), layer("Dense", 16, **relu), layer("Dense", 8, activation="swish"), layer("Dense", 3)))
    convolutions = (layer("Conv2D", 8, 3, **relu, **same), layer("MaxPooling2D"), layer("Conv2D", 12, 3, **same))
    keras("cnn", (16, 16, 3), layers((16, 16, 3), *convolutions, layer("BatchNormalization"), layer("ReLU"), *head))
    separable = (layer("SeparableConv2D", 8, 3, **same), layer("LayerNormalization"), layer("DepthwiseConv2D", 3, **relu))
    keras("separable", (12, 12, 3), layers((12, 12, 3), *separable, *head))
    decoder = (layer("Conv2DTranspose", 8, 3, strides=2, **same, **relu), layer("UpSampling2D"), layer("Conv2D", 1, 3, **same))
    keras("autoencoder", (8, 8, 1), layers((8, 8, 1), layer("Conv2D", 8, 3, strides=2, **same, **relu), *decoder))
    keras(
        "conv1d",
        (20, 4),
        layers(
            (20, 4),
            layer("Conv1D", 8, 3, dilation_rate=2, padding="causal", **relu),
            layer("GlobalMaxPooling1D"),
            layer("Dense", 3),
        ),
    )
    keras("lstm", (7, 6), layers((7, 6), layer("LSTM", 8), layer("Dense", 3)))
    keras("gru", (7, 6), layers((7, 6), layer("GRU", 8, return_sequences=True), layer("Dense", 3)))
    embedded = (layer("Embedding", 20, 8), layer("Conv1D", 8, 3, **relu), layer("GlobalAveragePooling1D"), layer("Dense", 2))
    keras("text", (9,), layers((9,), *embedded), tokens=20)

    def transformer() -> object:
        import keras as k

        x = k.Input((6, 16))
        attended = k.layers.MultiHeadAttention(2, 8)(x, x)
        y = k.layers.LayerNormalization()(x + attended)
        z = k.layers.Dense(16)(k.layers.Dense(32, activation="swish")(y))
        return k.Model(x, k.layers.Dense(3)(k.layers.LayerNormalization()(y + z)))

    keras("transformer", (6, 16), transformer)

    def application(name: str, **options: object) -> Callable[[], object]:
        def build() -> object:
            import keras as k

            construct = getattr(k.applications, name)
            return construct(weights=None, classes=5, input_shape=(64, 64, 3), classifier_activation=None, **options)

        return build

    keras("mobilenet-v2", (64, 64, 3), application("MobileNetV2", alpha=0.35))
    keras("efficientnet-v2", (64, 64, 3), application("EfficientNetV2B0", include_preprocessing=False))


def write_data(path: Path, model: onnx.ModelProto, x: np.ndarray, versions: dict[str, str]) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    # Keras declares tokens as floats.
    name, kind = session.get_inputs()[0].name, session.get_inputs()[0].type
    x = x.astype(np.float32 if kind == "tensor(float)" else x.dtype)
    results = dict(zip([output.name for output in session.get_outputs()], session.run(None, {name: x})))
    output = next(key for key, result in results.items() if result.dtype == np.float32)
    labels = np.random.default_rng(1).normal(size=results[output].shape).astype(np.float32)
    save_file({f"feed/{name}": x, "labels": labels}, path, {"output": output, "versions": json.dumps(versions)})


def main(folder: Path, names: list[str]) -> None:
    # Libraries write to file descriptor 1, below Python: stdout becomes stderr, and results keep the real one.
    results = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    declare_sklearn()
    declare_keras()
    for name, (exporter, make) in MAKERS.items():
        if names and name not in names:
            continue
        path, data, problem = folder / f"{name}.onnx", folder / f"{name}.safetensors", None
        versions = versions_of(PACKAGES[exporter])
        try:
            if not made_before(data, versions, lambda metadata: json.loads(metadata.get("versions", "{}"))):
                x = make(path)
                write_data(data, onnx.load(path), x, versions)
        except Exception as error:  # The report names it; the others go on.
            problem = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"[:300]
        family = "Keras" if name.startswith("keras") else "scikit-learn"
        result = {"name": name, "family": family, "versions": versions, "exports": {exporter: problem}}
        print(json.dumps(result), file=results, flush=True)


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    main(Path(sys.argv[1]), sys.argv[2:])
