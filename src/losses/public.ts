/**
 * Losses that compare a model's prediction with labels: the `objective` of `Trainer.create`, `buildStep` and `differentiate`.
 *
 * @example
 * import { differentiate, readModel } from "sorth-onnx";
 * import { crossEntropy } from "sorth-onnx/losses";
 *
 * const objective = crossEntropy({ labelSmoothing: 0.1 });
 * const { loss } = await differentiate(await readModel("model.onnx"), { objective, batch: 32 });
 * console.log(loss); // loss
 *
 * @module sorth-onnx/losses
 */
export {
  type BinaryCrossEntropyOptions,
  type BinaryFocalOptions,
  binaryCrossEntropy,
  binaryFocal,
} from "./binary.ts";
export { type CausalLmOptions, causalLm } from "./causal-lm.ts";
export { type ContrastiveOptions, contrastive, infoNce } from "./contrastive.ts";
export { type CosineOptions, cosine } from "./cosine.ts";
export { type CosineSimilarityOptions, cosineSimilarity } from "./cosine-similarity.ts";
export { type CrossEntropyOptions, crossEntropy } from "./cross-entropy.ts";
export { type DistillationOptions, distillation } from "./distillation.ts";
export {
  type HuberOptions,
  huber,
  l1,
  meanSquaredError,
  type SmoothL1Options,
  smoothL1,
} from "./elementwise.ts";
export type { EmbeddingOptions, Pooling } from "./embeddings.ts";
export { type KlDivergenceOptions, klDivergence } from "./kl-divergence.ts";
export { type LossModel, lossModel } from "./loss-model.ts";
export { type MaskedLmOptions, maskedLm } from "./masked-lm.ts";
export type {
  Evaluation,
  InjectedLoss,
  LabelMaker,
  Objective,
  ObjectiveGraph,
  ObjectiveOptions,
  TokenSample,
} from "./objective.ts";
export { type OwnLoss, type OwnLossOptions, ownLoss } from "./own-loss.ts";
export { objectiveNamed, objectiveNames } from "./table.ts";
export {
  type AnyObjective,
  type CombinedObjective,
  combined,
  type LossTerm,
  type NamedTerm,
} from "./terms.ts";
export { type TripletOptions, triplet } from "./triplet.ts";
