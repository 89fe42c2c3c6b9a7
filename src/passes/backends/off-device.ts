import type { BackendName } from "./names.ts";

/**
 * Where operators do not run on the device, as far as it was measured (WebGPU and browsers, ONNX Runtime 1.30) or read from
 * ONNX Runtime's source (CUDA, 1.27). Everything else runs everywhere.
 */

/** Why an operator does not run on a device. */
export type OffDevice = Readonly<Record<string, string>>;

/** The whole operator is. */
export const onCpu = "computed on the CPU";

/** Operators of ai.onnx.ml that have a derivative here. */
const classical = [
  ...["Scaler", "Imputer", "Normalizer", "LinearRegressor", "LinearClassifier", "SVMRegressor"],
  ...["FeatureVectorizer", "ArrayFeatureExtractor"],
];

const inMl = (op: string) => `ai.onnx.ml.${op}`;
const inMicrosoft = (op: string) => `com.microsoft.${op}`;

/** WebGPU: silently moved to the CPU, or an error when it runs. */
export const offWebGpu: OffDevice = {
  ...Object.fromEntries(
    [
      ...["Sign", "Round", "Mod", "IsNaN", "Or", "Xor", "Selu", "Softsign", "Sum", "Mean", "CastLike"],
      ...["LogSoftmax", "SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss", "OneHot", "Dropout"],
      ...["Bernoulli", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"],
      ...["Col2Im", "ConstantOfShape", "EyeLike", "GroupNormalization", "Loop", "Scan", "MaxUnpool"],
      ...["SpaceToDepth", "Celu", "Shrink", "Not", "CumProd", "TensorScatter", "Compress", "ReverseSequence"],
      ...["CenterCropPad", "AffineGrid", "RoiAlign", "DeformConv", "Attention", "RNN", "STFT", "Det"],
      ...["MeanVarianceNormalization", "LRN", "LpPool", "GlobalLpPool"],
      ...classical.map(inMl),
      ...["FusedMatMul", "TransposeMatMul", "FusedGemm", "EmbedLayerNormalization", "Attention"].map(
        inMicrosoft,
      ),
      ...["Inverse", "CDist", "ExpandDims", "GatherND", "GridSample", "Pad", "Trilu"].map(inMicrosoft),
      ...["UnfoldTensor", "DequantizeLinear"].map(inMicrosoft),
    ].map((op) => [op, onCpu]),
  ),
  BatchNormalization: "training form fails (train writes it out)",
  ConvTranspose: "3-D fails",
  MaxPool: "with Indices, or by columns, fails",
  Conv: "grouped 3-D fails",
  GRU: "other activations fail, opset 22 is computed on the CPU",
  GridSample: "most forms are computed on the CPU",
  LSTM: "other activations fail, opset 22 is computed on the CPU",
  Pad: "with axes is computed on the CPU",
  Pow: "with int64 exponents is computed on the CPU",
  Resize: "antialias fails",
};

/** wasm: ONNX Runtime's build for browsers has no operators of ai.onnx.ml, on WebGPU neither; embeddings in blocks it has on WebGPU alone. */
const offWasm: OffDevice = Object.fromEntries(
  [...classical.map(inMl), inMicrosoft("GatherBlockQuantized")].map((op) => [
    op,
    "not in the build for browsers",
  ]),
);

/** CUDA: no kernel, so the CPU computes it. */
export const offCuda: OffDevice = {
  ...Object.fromEntries(
    [
      ...["SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss", "GroupNormalization", "Col2Im"],
      ...["Acos", "Asin", "Atan", "MaxUnpool", "Mean", "LpNormalization", "Mish"],
    ].map((op) => [op, onCpu]),
  ),
  BatchNormalization: "training form fails (train writes it out)",
};

/** Operators that are known not to run on a backend's device. */
export const offDevice: Readonly<Record<BackendName, OffDevice>> = {
  cpu: {},
  wasm: offWasm,
  cuda: offCuda,
  webgpu: offWebGpu,
};
