import type { AnyObjective } from "../losses/terms.ts";
import type { Model } from "../onnx/model.ts";
import type { AverageOptions } from "../optimizers/averages.ts";
import type { Optimizer } from "../optimizers/optimizer.ts";
import type { Penalty } from "../penalties/penalty.ts";
import type { PenaltyPlan } from "../penalties/plan.ts";

/** How a model becomes a loss: which part of it is trained, and what is minimized. */
export interface LossOptions {
  /** Batch size for models whose first input dimension is free. Default: the model's own; required if it has none. */
  readonly batch?: number;
  /** Sizes of other free dimensions, by the name that the model gives them. */
  readonly dims?: Readonly<Record<string, number>>;
  /**
   * The loss that compares the model's prediction with labels, one of your own (`ownLoss`, `lossModel`), or a weighted
   * sum over several outputs (`combined`), all of `sorth-onnx/losses`. Absent for a model that contains its loss.
   */
  readonly objective?: AnyObjective;
  /** Name of the value that is the loss, for a model that contains it. */
  readonly loss?: string;
  /**
   * The value that `objective` reads, an output or an inner value; default: the first float output. A loss of embeddings takes
   * several, with commas: `text_embeds,image_embeds`.
   */
  readonly output?: string;
  /**
   * A model from whose values the model learns: losses read them in place of labels (`distillation`, `kl`, `meanSquaredError` …).
   * It becomes part of the graph, in inference form and frozen, and reads the same inputs, by name or the only one of each. Its
   * weights stay constants, or in their files where these lie in the model's folder.
   */
  readonly teacher?: Model;
  /**
   * The teacher's value that losses read, an output or an inner value. Default: the output with the name of the model's, else
   * its first float output. `combined` can name one for each loss.
   */
  readonly teacherOutput?: string;
  /**
   * Losses of embeddings (`contrastive`, `triplet`, `cosineSimilarity`): how many inputs of the model one sample holds, which
   * pass through it side by side: 2 for pairs, 3 for triplets. Arrays of the data have this axis behind that of the samples:
   * `input_ids` `[N, 2, T]`. Default: one, or as many as `output` names outputs.
   */
  readonly siamese?: number;
  /** Penalties, alone or with layers, weights and schedules. A model with an injected block has its own and accepts no others. */
  readonly penalties?: readonly (Penalty | PenaltyPlan)[];
  /** Train exactly the parameters whose name matches; other float constants that match become parameters. */
  readonly trainable?: RegExp;
  /** Train the matches in addition to the default parameters, whatever they are. */
  readonly alsoTrain?: RegExp;
  /** Do not train parameters whose name matches. */
  readonly freeze?: RegExp;
  /** Shared initializers whose name matches stay one parameter. */
  readonly tie?: RegExp;
  /** Shared initializers whose name matches become one parameter for each reader. */
  readonly untie?: RegExp;
  /**
   * Recompute cheap activations (elementwise operators) in the backward pass instead of keeping them: less memory, more time.
   * Numbers differ by rounding at most, because ONNX Runtime may fuse operators whose results are no longer kept. Default
   * false.
   */
  readonly recompute?: boolean;
  /**
   * Keep only some outputs of blocks of the forward pass, and compute what lies between them again when the gradient arrives
   * there: a second forward pass of time for memory that grows with the square root of the depth. `block` chooses the places
   * where the network is narrow so that the peak is smallest; a number N takes every N-th such place. Numbers are the same bit
   * for bit, or differ by rounding where ONNX Runtime fuses operators whose results are no longer kept.
   */
  readonly checkpointEvery?: "block" | number;
  /**
   * Passes gradients straight through what rounds: Round, Floor, Ceil, Sign, and quantized activations (QuantizeLinear,
   * DynamicQuantizeLinear, MatMulInteger, QLinear…), as PyTorch's fake quantization does: as if the number were not rounded, and 0
   * outside of the range. Default false: the gradient of Round, Floor, Ceil and Sign is 0, and quantized activations are refused.
   */
  readonly straightThrough?: boolean;
  /**
   * Inner values at which gradients stop, by their names or those of the nodes that compute them: what PyTorch's `detach`, and
   * `stop_gradient` of JAX and TensorFlow, do. No exporter keeps those. The values themselves stay as they are.
   */
  readonly detach?: RegExp;
  /** Receives remarks for the user: skipped layers, frozen parameters. */
  readonly onMessage?: (message: string) => void;
}

/** In which precision a step computes. */
export interface PrecisionOptions {
  /**
   * `float32` (default); `mixed`, or `mixed-float16`: products (MatMul, Gemm, Conv, ConvTranspose) and what lies between them in
   * float16, with float32 weights and a loss scale that adapts itself, as torch.amp; `mixed-bfloat16`: likewise in bfloat16,
   * without a scale. Options of the scale may follow `mixed`, as in `mixed:init-scale=1024,growth-interval=200`.
   */
  readonly precision?: Precision;
}

/** A precision by name; see {@link PrecisionOptions}. */
export type Precision =
  | "float32"
  | "mixed"
  | "mixed-float16"
  | "mixed-bfloat16"
  | `mixed:${string}`
  | `mixed-float16:${string}`;
/** Parameters that are updated otherwise than the rest; what is left out is as for the rest. */
export interface ParameterGroup {
  /** Matches the names of its parameters: their own, those in the source, and those of the layers that read them. */
  readonly match: RegExp;
  /** Its learning rate, in place of the run's; the schedule multiplies it likewise. */
  readonly learningRate?: number;
  /** Its weight decay, in place of the optimizer's. */
  readonly weightDecay?: number;
  /**
   * For this number of steps the parameters and their optimizer state stay as they are, as with PyTorch's requires_grad=False. Then they
   * are trained as in a run that begins: the optimizer's count for its bias correction begins with them.
   */
  readonly freezeUntil?: number;
}

/** How penalties reach the weights; see {@link UpdateOptions.applyPenalties}. */
export type PenaltyApplication = "loss" | "decoupled" | "retraction";

/** How parameters are updated. */
export interface UpdateOptions extends AverageOptions {
  /** Default: AdamW with torch's defaults. */
  readonly optimizer?: Optimizer;
  /**
   * How penalties reach the weights. The figures of a step are the same.
   *
   * - `loss` (default): the optimizer sees the gradient of loss + w·R.
   * - `decoupled`: it sees that of the loss alone, and beside its update each weight W moves by −lr·∇(w·R), as with decoupled
   *   weight decay (arXiv 1711.05101). Adam's moments then do not rescale the penalty.
   * - `retraction`, for penalties on weights: after the update, each weight moves by −∇(w·R), taken where the update left it,
   *   whatever the learning rate. For `so` this is the retraction of Parseval networks (arXiv 1704.08847, sect. 4.2),
   *   W ← (1 + β)·W − β·WWᵀW with β = 4w.
   */
  readonly applyPenalties?: PenaltyApplication;
  /** Sets parameters apart by their names; a parameter belongs to the first group that matches it. */
  readonly groups?: readonly ParameterGroup[];
  /** No weight decay of biases, of the scales and shifts of normalizations, and of parameters with fewer than two axes. */
  readonly noDecay?: boolean;
}

/** How BatchNormalization and Dropout run while training (DESIGN §5.10). */
export interface TrainingFormOptions {
  /** "train" (default): batch statistics, running statistics are state. "frozen": the stored statistics. */
  readonly batchNorm?: "train" | "frozen";
  /** Variance that goes into running statistics: "onnx" (biased, default) or "torch" (N/(N−1)). */
  readonly runningVariance?: "onnx" | "torch";
}
