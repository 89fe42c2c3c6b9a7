/**
 * Where operators do not run on the device, as far as it was measured (WebGPU, native build of ONNX Runtime 1.30) or read
 * from ONNX Runtime's source (CUDA, 1.27). The CPU and wasm builds run the same operators.
 */

/** Why an operator does not run on a device. */
export type OffDevice = Readonly<Record<string, string>>;

const onCpu = "computed on the CPU";

/** WebGPU: silently moved to the CPU, or an error when it runs. */
export const offWebGpu: OffDevice = {
  ...Object.fromEntries(
    [
      ...["Sign", "Round", "Mod", "IsNaN", "Or", "Xor", "Selu", "Softsign", "Sum", "Mean"],
      ...["LogSoftmax", "SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss", "OneHot", "Dropout"],
      ...["Bernoulli", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"],
      ...["Col2Im", "ConstantOfShape", "EyeLike", "GroupNormalization", "Loop", "Scan", "MaxUnpool"],
      ...["SpaceToDepth", "com.microsoft.FusedMatMul"],
    ].map((op) => [op, onCpu]),
  ),
  BatchNormalization: "training form fails (train writes it out)",
  ConvTranspose: "3-D fails",
  MaxPool: "with Indices fails",
};

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
