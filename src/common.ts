// What the library is in node (index.ts) and in browsers (web.ts) alike.
export type { DimensionOptions } from "./analysis/dimensions.ts";
export {
  decodeCheckpoint,
  encodeCheckpoint,
  isCheckpoint,
  type OrtCheckpoint,
  type OrtOptimizerState,
} from "./artifacts/checkpoint.ts";
export { type NamedOptimizer, readOptimizerModel } from "./artifacts/read-optimizer-model.ts";
export { arrayDataset, type NamedArrays, namedDataset, type SampleArray } from "./data/array-dataset.ts";
export { splitValidation } from "./data/batches.ts";
export { type Column, type Dataset, type SplitData, subset } from "./data/dataset.ts";
export { type DigitPointOptions, digitPoints } from "./data/digit-points.ts";
export { type NamedBytes, type PixelOptions, parseMnist } from "./data/mnist.ts";
export type { Normalization } from "./data/normalize.ts";
export { parseNpz } from "./data/npz.ts";
export { type SampleFeedOptions, sampleFeeds } from "./data/sample-feeds.ts";
export { SorthError, UsageError } from "./errors.ts";
export type { InjectOptions } from "./inject/options.ts";
export { strip } from "./inject/strip.ts";
export { crossEntropy } from "./objectives/cross-entropy.ts";
export { binaryCrossEntropy, l1, meanSquaredError } from "./objectives/elementwise.ts";
export type { Objective } from "./objectives/objective.ts";
export { decodeModel, encodeModel, Model } from "./onnx/model.ts";
export { Tensor } from "./onnx/tensor.ts";
export { adam } from "./optimizers/adam.ts";
export { adamw } from "./optimizers/adamw.ts";
export { adamwOrt } from "./optimizers/adamw-ort.ts";
export type { Optimizer } from "./optimizers/optimizer.ts";
export {
  constant,
  cosine,
  parseSchedule,
  type Schedule,
  sripSchedule,
  stepDecay,
  warmup,
} from "./optimizers/schedules.ts";
export { sgd } from "./optimizers/sgd.ts";
export { definePenalty, type PenaltyFactory } from "./penalties/define.ts";
export type { Draw } from "./penalties/draws.ts";
export type { PenaltyLayer } from "./penalties/layer.ts";
export type { Penalty, PenaltyDefinition, PenaltyGraph, PenaltyOptions, Slope } from "./penalties/penalty.ts";
export type { PenaltyReference, PlainLayer } from "./penalties/plain-layer.ts";
export type { PenaltyPlan } from "./penalties/plan.ts";
export { barlow } from "./penalties/responses/barlow.ts";
export { decov } from "./penalties/responses/decov.ts";
export { vicreg } from "./penalties/responses/vicreg.ts";
export { som } from "./penalties/som.ts";
export { penaltyNamed, penaltyNames } from "./penalties/table.ts";
export { biggan } from "./penalties/weights/biggan.ts";
export { dso } from "./penalties/weights/dso.ts";
export { keras } from "./penalties/weights/keras.ts";
export { lorth } from "./penalties/weights/lorth.ts";
export { mc } from "./penalties/weights/mc.ts";
export { mhe } from "./penalties/weights/mhe.ts";
export { mma } from "./penalties/weights/mma.ts";
export { ocnn } from "./penalties/weights/ocnn.ts";
export { so } from "./penalties/weights/so.ts";
export { spectralSo } from "./penalties/weights/spectral-so.ts";
export { srip } from "./penalties/weights/srip.ts";
export type {
  AngleReport,
  LayerAngles,
  LayerResponseAngles,
  LayerWeightAngles,
  Orthogonality,
  ResponseAngleOptions,
} from "./report/angle-report.ts";
export type { ConvolutionSpectrum } from "./report/convolution-spectrum.ts";
export type { CosineMap } from "./report/cosine-map.ts";
export type { Distribution } from "./report/distribution.ts";
export type { Inspection, InspectOptions } from "./report/inspect.ts";
export type {
  AnglesEvent,
  GradientsEvent,
  ObservationEvent,
  ObservedAngles,
  ObserveOptions,
} from "./report/observe.ts";
export type { AnglePercentiles, AngleStatistics, UnitPairs } from "./report/pair-statistics.ts";
export type { NotComputed, SpectralFigures, Spectrum } from "./report/spectrum.ts";
export type { WeightAngleOptions } from "./report/weight-angles.ts";
export type { EvaluationResult, TrainingEvent } from "./runtime/events.ts";
export type { ExportCheckpointOptions } from "./runtime/export-checkpoint.ts";
export type { FitOptions } from "./runtime/fit-plan.ts";
export type { TrainerOptions } from "./runtime/trainer-options.ts";
export type { ArtifactOptions, Artifacts } from "./training/artifacts.ts";
export type { DifferentiateOptions, GradientModel } from "./training/differentiate.ts";
export { withWeights } from "./training/export.ts";
export { initialState } from "./training/initial-state.ts";
export { checkpointOf, type RescuedModel, rescuedInference, rescueModel } from "./training/rescue.ts";
export type { SplitParameterPort, SplitStep } from "./training/split-step.ts";
export type { Step, StepOptions, StepPorts } from "./training/step.ts";
export { stepLoop } from "./training/step-loop.ts";
export type { TrainerState } from "./training/trainer-state.ts";
export type { VerifyCheck, VerifyOptions, VerifyReport } from "./verify/verify.ts";
