import type { LoraOptions } from "../adapters/adapter.ts";
import type { Normalization } from "../data/normalize.ts";
import { UsageError } from "../errors.ts";
import { checkOptions } from "../known-options.ts";
import type { Metric } from "../metrics/metric.ts";
import type {
  LossOptions,
  PrecisionOptions,
  TrainingFormOptions,
  UpdateOptions,
} from "../programs/options.ts";
import type { TrainerState } from "../programs/trainer-state.ts";
import type { Schedule } from "../schedules/schedule.ts";
import type { MemoryEstimate } from "./memory-estimate.ts";
import type { Backend, SessionOptions } from "./step-session.ts";

/** How a model is trained. */
export interface TrainerOptions
  extends LossOptions,
    TrainingFormOptions,
    PrecisionOptions,
    UpdateOptions,
    SessionOptions {
  /**
   * Where to train: `cpu` (default), `cuda` or `webgpu` in node, `wasm` (default) or `webgpu` in a browser. A resumed run
   * continues on its former backend, if that one is available.
   */
  readonly backend?: string;
  /**
   * Steps done in one run of ONNX Runtime, as a Loop: up to twice as fast for small networks. `auto` (default): as many as
   * take about 50 ms on CPU, CUDA and wasm, 1 on WebGPU. The numbers are the same to the bit.
   */
  readonly stepsPerRun?: number | "auto";
  /**
   * Lengths of texts, ascending, as in `[32, 64, 128]`; the last is that of the samples. Each batch holds texts of one bucket, cut
   * to its length: padding behind it is neither read nor computed. An epoch trains on the samples that it trains on without buckets,
   * in another order. Steps are done one at a time. An evaluation runs texts of like lengths together too, with the same figures.
   * Default: every batch has the whole length.
   */
  readonly buckets?: readonly number[];
  /** Default 1e-3. */
  readonly learningRate?: number;
  /** Factor of the learning rate over the run, as text (`cosine:warmup=100`) or a function; default constant. */
  readonly schedule?: string | Schedule;
  /** Weight w of the penalty in loss + w·R; default: that of the first penalty that has one above 0. */
  readonly penaltyWeight?: number;
  /**
   * In place of {@link penaltyWeight}: the share of the loss that penalties are to be at the run's first batch, above 0 and below 1,
   * as `penaltyShare` of step events. The weight is chosen there, told to `onMessage`, and kept as `penaltyWeight` of the run;
   * weights of several penalties count relative to one another.
   */
  readonly penaltyShare?: number;
  /** Factor of the penalty weight over the run, for all penalties; a plan may have its own schedule for one penalty. */
  readonly penaltySchedule?: string | Schedule;
  /**
   * How pixels are scaled: `0..1` divides them by 255, `none` leaves them unchanged. Default: the trainer decides when it
   * sees the run's first data and reports the decision to `onMessage`; the run keeps it.
   */
  readonly normalize?: Normalization;
  /**
   * α of mixup (arXiv 1710.09412): while training, each sample of a batch and its label are mixed with another one, with a
   * share from Beta(α, α) that is drawn for each batch. A cross-entropy then reads probabilities of classes. Default: none.
   */
  readonly mixup?: number;
  /**
   * Figures that evaluations compute besides loss and accuracy, in the same pass: `top5` (or another number), `precision`,
   * `recall`, `f1`, `auc`, `confusion` and `perplexity` for classes, the first four but top5 for yes-or-no labels, `mse`,
   * `rmse`, `mae` and `r2` for numbers, and those of your own. Precision, recall, F1 and AUC are means over the classes.
   */
  readonly metrics?: readonly (string | Metric)[];
  /** Seed of the data's order, of dropout masks, adapters and of the random numbers of penalties and of the model itself; default 0. */
  readonly seed?: number;
  /**
   * Trains LoRA adapters beside the layers in place of the model's own parameters, which stay frozen; `alsoTrain` adds to them,
   * and BatchNormalization keeps its statistics unless `batchNorm` is `train`. The exported model has the adapters in its weights; where these are quantized, beside them.
   * Penalties act on the adapters' A: the directions in which they read the layer's inputs. Default: none.
   */
  readonly lora?: LoraOptions;
  /**
   * Receives an estimate of the run's memory before its session opens, where the state lies in the host's memory (`cpu`, `wasm`).
   * In node, `process.memoryUsage().rss + estimate.added` is the peak of the process, within about 30 %.
   */
  readonly onMemory?: (estimate: MemoryEstimate) => void;
}

/** @throws UsageError for a name that no backend has */
export function backendNamed(name: string | undefined, backends: readonly [Backend, ...Backend[]]): Backend {
  const found = name === undefined ? backends[0] : backends.find((backend) => backend.name === name);
  if (found) return found;
  const names = backends.map((backend) => backend.name).join(", ");
  throw new UsageError(`there is no backend "${name}" here; give one of ${names}`);
}

/** @throws UsageError for updates of another run where groups count the steps of this one */
export function checkTakesOver({ groups = [] }: TrainerOptions, state: Partial<TrainerState>): void {
  checkOptions("takeOver", state);
  const { updates = 0 } = state;
  if (updates === 0 || groups.every(({ freezeUntil }) => freezeUntil === undefined)) return;
  throw new UsageError(
    "a run that goes on from another one's optimizer state cannot freeze a group until a step: leave freezeUntil (freeze-until) out",
  );
}
