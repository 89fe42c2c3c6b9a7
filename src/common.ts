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
export { strip } from "./block/strip.ts";
export { arrayDataset, type NamedArrays, namedDataset, type SampleArray } from "./data/array-dataset.ts";
export { splitValidation } from "./data/batches.ts";
export { type Column, type Dataset, type SplitData, subset } from "./data/dataset.ts";
export { type DigitPointOptions, digitPoints } from "./data/digit-points.ts";
export { type NamedBytes, type PixelOptions, parseMnist } from "./data/mnist.ts";
export type { Normalization } from "./data/normalize.ts";
export { parseNpz } from "./data/npz.ts";
export { type SampleFeedOptions, sampleFeeds } from "./data/sample-feeds.ts";
export { type ErrorCode, SorthError, UsageError } from "./errors.ts";
export type { InjectOptions } from "./inject/options.ts";
export { crossEntropy } from "./losses/cross-entropy.ts";
export { binaryCrossEntropy, l1, meanSquaredError } from "./losses/elementwise.ts";
export type { InjectedLoss, Objective, ObjectiveOptions } from "./losses/objective.ts";
export { objectiveNamed, objectiveNames } from "./losses/table.ts";
export type {
  AngleReport,
  LayerAngles,
  LayerResponseAngles,
  LayerWeightAngles,
  Orthogonality,
  ResponseAngleOptions,
} from "./measure/angle-report.ts";
export type { ConvolutionSpectrum } from "./measure/convolution-spectrum.ts";
export type { CosineMap } from "./measure/cosine-map.ts";
export type { Distribution } from "./measure/distribution.ts";
export type { Inspection, InspectOptions } from "./measure/inspect.ts";
export type {
  AnglesEvent,
  GradientsEvent,
  ObservationEvent,
  ObservedAngles,
  ObserveOptions,
} from "./measure/observe.ts";
export type { AnglePercentiles, AngleStatistics, UnitPairs } from "./measure/pair-statistics.ts";
export type { NotComputed, SpectralFigures, Spectrum } from "./measure/spectrum.ts";
export type { TrainerAngleOptions, TrainerAngles } from "./measure/trainer-angles.ts";
export type { WeightAngleOptions } from "./measure/weight-angles.ts";
export { decodeModel, encodeModel, Model } from "./onnx/model.ts";
export { Tensor } from "./onnx/tensor.ts";
export { chain } from "./optimizers/chain.ts";
export { type EachParameter, eachParameter, type ParameterSlot } from "./optimizers/each-parameter.ts";
export {
  type Optimizer,
  type OptimizerInputs,
  type OptimizerNumbers,
  type PerParameterOptimizer,
  perParameter,
} from "./optimizers/optimizer.ts";
// Every optimizer and transformation, by its name and in lists.
export * from "./optimizers/table.ts";
export type {
  GradientTransformation,
  OptimizerOptions,
  ParameterSpec,
  SlotSpec,
  TransformationInputs,
  TransformationNumbers,
} from "./optimizers/transformation.ts";
export { Update, type UpdateByResult, type UpdateParts } from "./optimizers/update.ts";
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
export type { ArtifactOptions, Artifacts } from "./programs/artifacts.ts";
export type { DifferentiateOptions, GradientModel } from "./programs/differentiate.ts";
export { withWeights } from "./programs/export.ts";
export { initialState } from "./programs/initial-state.ts";
export { checkpointOf, type RescuedModel, rescuedInference, rescueModel } from "./programs/rescue.ts";
export type { SplitParameterPort, SplitStep } from "./programs/split-step.ts";
export type { Step, StepOptions, StepPorts } from "./programs/step.ts";
export { stepLoop } from "./programs/step-loop.ts";
export type { TrainerState } from "./programs/trainer-state.ts";
export type { EvaluationResult, TrainingEvent } from "./runtime/events.ts";
export type { ExportCheckpointOptions } from "./runtime/export-checkpoint.ts";
export type { FitOptions } from "./runtime/fit-plan.ts";
export type { RescueOptions } from "./runtime/rescue.ts";
export type { TrainerOptions } from "./runtime/trainer-options.ts";
export {
  constant,
  cosine,
  parseSchedule,
  type Schedule,
  sripSchedule,
  stepDecay,
  warmup,
} from "./schedules/schedules.ts";
export type { VerifyCheck, VerifyOptions, VerifyReport } from "./verify/verify.ts";
