// The part of the library that is the same in node (index.ts) and in browsers (web.ts).
export type {
  Adapter,
  AdapterLayer,
  AdapterScaling,
  AdapterSettings,
  AddAdaptersOptions,
  Ia3Layer,
  LoraLayer,
  LoraOptions,
  WeightedAdapter,
} from "./adapters/adapter.ts";
export type { OnnxAdapterFiles } from "./adapters/adapter-inputs.ts";
export type { MergeOptions } from "./adapters/merge-layers.ts";
export type { AdapterFiles } from "./adapters/peft-file.ts";
export type { DimensionOptions } from "./analysis/dimensions.ts";
export type { ModelPart } from "./analysis/model-part.ts";
export type { Probe, ProbedOutput } from "./analysis/probe.ts";
export type { AdapterParts, Site, SiteOp, SkippedSite } from "./analysis/site-types.ts";
export {
  decodeCheckpoint,
  encodeCheckpoint,
  isCheckpoint,
  type OrtCheckpoint,
  type OrtOptimizerState,
} from "./artifacts/checkpoint.ts";
export type { OfficialAdamWOptions } from "./artifacts/optimizer-model.ts";
export { type NamedOptimizer, readOptimizerModel } from "./artifacts/read-optimizer-model.ts";
export type { FoldedLayerOptions } from "./batch-norm/folded-layers.ts";
export { strip } from "./block/strip.ts";
export {
  type ArrayDatasetOptions,
  arrayDataset,
  type NamedArrays,
  namedDataset,
  type SampleArray,
  type SourceArray,
} from "./data/array-dataset.ts";
export { splitValidation } from "./data/batches.ts";
export { balancedClassWeights } from "./data/class-weights.ts";
export type {
  ColumnConversion,
  DataConversion,
  ImageConversion,
  Missing,
  TableConversion,
  TableInput,
} from "./data/conversion.ts";
export {
  type BatchArray,
  type Column,
  type Dataset,
  type Filled,
  type NumberRange,
  type SampleType,
  subset as datasetSubset,
  type TargetType,
  type TrainingPass,
} from "./data/dataset.ts";
export { type DigitPointOptions, digitPoints } from "./data/digit-points.ts";
export type {
  GeneratedArray,
  GeneratedSample,
  GeneratorOptions,
  SampleGenerator,
} from "./data/generator-dataset.ts";
export type { Augmentation } from "./data/images/augment.ts";
export { type NamedBytes, type PixelOptions, parseMnist } from "./data/mnist.ts";
export { imagenet, type MeanAndStd, type Normalization } from "./data/normalize.ts";
export { parseNpz } from "./data/npz.ts";
export type { SampleFeedOptions } from "./data/sample-feeds.ts";
export type { SplitData } from "./data/split-data.ts";
export type { TextConversion } from "./data/text/conversion.ts";
export type { TokenizerFacts } from "./data/text/tokenizer.ts";
export * from "./deprecated.ts";
export { type ErrorCode, SorthError, UsageError } from "./errors.ts";
export type { FreeBatchOptions } from "./free-batch/free-batch.ts";
export type { Attribute } from "./graph/attribute.ts";
export { checkGraph } from "./graph/check.ts";
export type { ConvOptions, Emit } from "./graph/emit.ts";
export type { EmitOptions, Typed } from "./graph/emit-base.ts";
export type { Operand } from "./graph/emit-elementwise.ts";
export type { ScatterReduction } from "./graph/emit-indexing.ts";
export type { Graph } from "./graph/graph.ts";
export { graphOf } from "./graph/model-graph.ts";
export type { DeclaredDim, Node, NodeFields, Use, Value } from "./graph/node.ts";
export { printGraph } from "./graph/print.ts";
export type { Shape } from "./graph/shapes.ts";
export type { HeadOptions } from "./head/replace-head.ts";
export type { InjectOptions } from "./inject/options.ts";
export type { Library } from "./library.ts";
export { binaryCrossEntropy } from "./losses/binary.ts";
export { type CrossEntropyOptions, crossEntropy } from "./losses/cross-entropy.ts";
export { meanSquaredError } from "./losses/elementwise.ts";
export type {
  Evaluation,
  InjectedLoss,
  Objective,
  ObjectiveGraph,
  ObjectiveOptions,
} from "./losses/objective.ts";
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
export type {
  FindLearningRateOptions,
  FoundLearningRate,
  LearningRatePoint,
} from "./measure/find-learning-rate.ts";
export type { GradientNorm } from "./measure/gradient-norms.ts";
export type {
  InspectedArtifact,
  InspectedBlock,
  InspectedSite,
  InspectedValue,
  Inspection,
  InspectOptions,
} from "./measure/inspect.ts";
export type { MeanInterval } from "./measure/mean-interval.ts";
export type {
  AnglesEvent,
  GradientsEvent,
  ObservationEvent,
  ObservedAngles,
  ObserveOptions,
} from "./measure/observe.ts";
export type { AnglePercentiles, AngleStatistics, UnitPairs } from "./measure/pair-statistics.ts";
export type { Feeds } from "./measure/sample-chunks.ts";
export type { NotComputed, SpectralFigures, Spectrum } from "./measure/spectrum.ts";
export type { SeedFigures, SeedRun, SeedsResult, TrainSeedsOptions } from "./measure/train-seeds.ts";
export type { TrainerAngleOptions, TrainerAngles } from "./measure/trainer-angles.ts";
export type { WeightAngleOptions } from "./measure/weight-angles.ts";
export type { ClassFigures, ClassReport } from "./metrics/class-metrics.ts";
export type { LabelFigures, LabelReport } from "./metrics/label-metrics.ts";
export type { Measured, Metric, MetricPass, MetricSample } from "./metrics/metric.ts";
export type { NumberReport } from "./metrics/number-metrics.ts";
export * from "./on-first-call.ts";
export type { DataTypeName } from "./onnx/data-types.ts";
export { decodeModel, encodeModel, Model, type ModelSource } from "./onnx/model.ts";
export { type ExternalReader, type ExternalReference, Tensor, type TensorData } from "./onnx/tensor.ts";
// Exported one by one, not through their table, so that a page loads the table later, if at all (tsdown.config.ts).
export { adam } from "./optimizers/adam.ts";
export { adamw } from "./optimizers/adamw.ts";
export { adamwOrt } from "./optimizers/adamw-ort.ts";
export type { AverageKind, AverageOptions } from "./optimizers/averages.ts";
export type { Optimizer } from "./optimizers/optimizer.ts";
export { sgd } from "./optimizers/sgd.ts";
export type { GradientTransformation } from "./optimizers/transformation.ts";
export type { Lowering } from "./passes/backends/table.ts";
export type { Pass, PassContext, PassResult } from "./passes/pass.ts";
export type { StateLayout } from "./passes/training/store-as-read.ts";
export { definePenalty } from "./penalties/define.ts";
// Only the types: a page loads the penalties on adapters later, if at all.
export type {
  Draw,
  FrozenVectors,
  Matrix,
  Penalty,
  PenaltyDefinition,
  PenaltyFactory,
  PenaltyGraph,
  PenaltyLayer,
  PenaltyOptions,
  PenaltyPlan,
  PenaltyReference,
  PenaltySubject,
  PlainAdapter,
  PlainConvolution,
  PlainLayer,
  Settings,
  Slope,
  SomOptions,
} from "./penalties/public.ts";
export { som } from "./penalties/som.ts";
export { penaltyNamed, penaltyNames } from "./penalties/table.ts";
export type { ArtifactOptions, Artifacts } from "./programs/artifacts.ts";
export type { DifferentiateOptions, GradientModel } from "./programs/differentiate.ts";
export { withWeights } from "./programs/export.ts";
export { initialState } from "./programs/initial-state.ts";
export type { JacobianOptions } from "./programs/jacobian-products.ts";
export type {
  LossOptions,
  ParameterGroup,
  PenaltyApplication,
  Precision,
  PrecisionOptions,
  TrainingFormOptions,
  UpdateOptions,
} from "./programs/options.ts";
export { checkpointOf, type RescuedModel, rescuedInference, rescueModel } from "./programs/rescue.ts";
export type { SplitParameterPort, SplitStep } from "./programs/split-step.ts";
export type { Step, StepOptions } from "./programs/step.ts";
export { stepLoop } from "./programs/step-loop.ts";
export type {
  DataPort,
  DrawPort,
  LossPort,
  ParameterPort,
  PenaltyPort,
  StatePort,
  StepPorts,
} from "./programs/step-ports.ts";
export type { TrainablePartOptions } from "./programs/trainable-part.ts";
export type { TrainerState } from "./programs/trainer-state.ts";
export type { VariableOptions } from "./programs/variables.ts";
export type { AnglePageOptions, PageModel } from "./report/pages/angle-page.ts";
export type { EvaluationPageOptions } from "./report/pages/evaluation-page.ts";
export type { PageFunctions } from "./report/pages/page-functions.ts";
export type { RunPageOptions } from "./report/pages/run-page.ts";
export { anglePictures } from "./report/pictures.ts";
export {
  type AnglePoint,
  type EndPoint,
  type EpochPoint,
  type GradientPoint,
  type LayerSpreadPoint,
  parseRunRecord,
  type RunRecord,
  runRecord,
  type StepPoint,
} from "./report/run-record.ts";
export type { AveragedOption } from "./runtime/averages.ts";
export type { CallbackRun, CallbackTrainer, TrainingCallback } from "./runtime/callbacks.ts";
export type {
  CheckpointEvent,
  CheckpointKind,
  EndEvent,
  EpochEvent,
  EvaluationResult,
  StepEvent,
  TrainingEvent,
} from "./runtime/events.ts";
export type { ExportCheckpointOptions } from "./runtime/export-checkpoint.ts";
export type { EarlyStop, FitOptions } from "./runtime/fit-plan.ts";
export type { MemoryEstimate } from "./runtime/memory-estimate.ts";
export type {
  EvaluateOptions,
  ModelEvaluation,
  TermFigures,
  WorstSample,
} from "./runtime/model-evaluation.ts";
export type { ModelFunctions } from "./runtime/model-functions.ts";
export type { ModelRunOptions } from "./runtime/model-run.ts";
export type {
  NewParameters,
  ParameterForm,
  ParametersOptions,
  ParameterValues,
  SetParametersOptions,
} from "./runtime/parameters.ts";
export type { Prediction, PredictOptions } from "./runtime/predict.ts";
export type { RecoverBatchNormOptions } from "./runtime/recover-batch-norm.ts";
export type { RescueOptions } from "./runtime/rescue.ts";
export type { SessionOptions } from "./runtime/step-session.ts";
export type { ExportOptions } from "./runtime/trained-model.ts";
export type { TrainerOptions } from "./runtime/trainer-options.ts";
export type { UpdateBatchNormOptions } from "./runtime/update-batch-norm.ts";
export type { Schedule, ScheduledRun } from "./schedules/public.ts";
export type { InnerValueInfo, TapOptions } from "./tap/tap.ts";
export type { VerifyCheck, VerifyOptions, VerifyReport } from "./verify/verify.ts";
