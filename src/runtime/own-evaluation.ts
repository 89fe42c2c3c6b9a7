import { hasFreeBatch } from "../analysis/dimensions.ts";
import { checkTokens } from "../data/check-tokens.ts";
import type { Dataset } from "../data/dataset.ts";
import type { Normalization } from "../data/normalize.ts";
import { graphOf } from "../graph/model-graph.ts";
import { isObjective, termsOf } from "../losses/terms.ts";
import type { Model } from "../onnx/model.ts";
import type { EvaluationGraph } from "../programs/evaluation.ts";
import { batchOf, type StepPorts } from "../programs/step-ports.ts";
import type { Better } from "./best-epochs.ts";
import type { BucketForward } from "./bucket-forward.ts";
import type { Evaluated } from "./evaluator.ts";
import type { EvaluationResult } from "./events.ts";
import type { Backend, Fed, ForwardSession } from "./step-session.ts";
import type { Taught } from "./taught.ts";
import type { TrainerOptions } from "./trainer-options.ts";
import type { TrainerRuntime } from "./trainer-runtime.ts";

/** Options of an evaluation. */
interface EvaluationSettings {
  readonly signal?: AbortSignal | undefined;
  /** How pixels are scaled. */
  readonly normalize?: Normalization | undefined;
}

/** An evaluation graph that is ready to run, and its inputs for data. */
interface Opened extends Pick<Evaluated, "graph" | "ports" | "measure"> {
  /** Opens its session on first use: a run that is never evaluated holds its frozen weights once. */
  readonly session: () => Promise<ForwardSession>;
  readonly options: TrainerOptions;
  /** The batch size for which the graph was built. */
  readonly batch: number | undefined;
  /** The lengths for which it was built, if they are not those of the run. */
  readonly lengths: string | undefined;
}

/** Loaded with the first use. */
const evaluating = () => import("./evaluator.ts");

/** The figures that an evaluation computes, each with what is better of it. */
export async function figuresIn(
  { terms }: Pick<EvaluationGraph, "terms">,
  metrics: TrainerOptions["metrics"] = [],
): Promise<ReadonlyMap<string, Better>> {
  const table = metrics.length > 0 ? await import("../metrics/table.ts") : undefined;
  const classifying = terms.filter(({ objective, prediction }) => {
    const counts = objective?.evaluate([], [], 0, prediction?.shape ?? [0]);
    return counts?.correct !== undefined;
  });
  // If several losses have an accuracy, none of these is that of the model.
  const hasAccuracy = classifying.length === 1;
  return new Map<string, Better>([
    ["loss", "lower"],
    ...(hasAccuracy ? [["accuracy", "higher"] as const] : []),
    ...metrics.flatMap((metric) =>
      table && metric !== "confusion" ? [[table.figureName(metric), table.betterOf(metric)] as const] : [],
    ),
  ]);
}

/** Evaluates a trainer's model. Builds the graph, and opens its session, on first use of each. */
export class OwnEvaluation {
  readonly #model: Model;
  readonly #options: TrainerOptions;
  readonly #ports: StepPorts;
  readonly #probe: TrainerRuntime["probe"];
  readonly #backend: Backend;
  readonly #taught: Taught | undefined;
  readonly #opened: Opened[] = [];
  readonly #sessions: Promise<ForwardSession>[] = [];
  readonly #inBucketsOf = new WeakMap<Dataset, BucketForward | undefined>();
  /** Datasets whose labels have been checked. */
  readonly #checked = new WeakSet<Dataset>();
  /** Messages already sent: each is sent once. */
  readonly #remarks = new Set<string>();

  constructor(
    model: Model,
    options: TrainerOptions,
    of: {
      readonly ports: StepPorts;
      readonly probe: TrainerRuntime["probe"];
      readonly backend: Backend;
      readonly taught: Taught | undefined;
    },
  ) {
    this.#taught = of.taught;
    this.#model = model;
    this.#options = options;
    this.#ports = of.ports;
    this.#probe = of.probe;
    this.#backend = of.backend;
  }

  /**
   * @returns the dataset; where its labels could not be looked through, they are checked as they are read
   * @throws SorthError for labels that the loss cannot take
   */
  async check(dataset: Dataset): Promise<Dataset> {
    const { graph, ports, options } = await this.#open(dataset);
    const { checkDataset, watched } = await evaluating();
    if (!this.#checked.has(dataset)) {
      checkDataset(dataset, { graph, ports }, options.objective);
      checkTokens(dataset, this.#model);
      this.#checked.add(dataset);
    }
    return watched(dataset, { graph, ports }, options.objective);
  }

  /** The losses with what they read. */
  async terms(): Promise<EvaluationGraph["terms"]> {
    return (await this.#open()).graph.terms;
  }

  /**
   * The figures that an evaluation computes, each with what is better of it. Shows that a session for it opens.
   * @param dataset - that will be evaluated
   */
  async figures(dataset: Dataset): Promise<ReadonlyMap<string, Better>> {
    const { graph, session } = await this.#open();
    const texts = await this.#inBuckets(dataset);
    await (texts ? texts.openLongest() : session());
    return figuresIn(graph, this.#options.metrics);
  }

  /**
   * Loss and accuracy over a whole dataset.
   * @param withState - works with the state in the form that the ports name; called after all checks
   */
  async run(
    dataset: Dataset,
    withState: <T>(work: (state: ReadonlyMap<string, Fed>) => Promise<T>) => Promise<T>,
    { signal, normalize }: EvaluationSettings,
  ): Promise<EvaluationResult> {
    const { session, graph, ports, measure } = await this.#open(dataset);
    const read = await this.check(dataset);
    const { evaluate, remarkOnRest } = await evaluating();
    const remark = remarkOnRest(dataset, { graph, ports });
    if (remark !== undefined && !this.#remarks.has(remark)) this.#options.onMessage?.(remark);
    if (remark !== undefined) this.#remarks.add(remark);
    const texts = await this.#inBuckets(dataset);
    const open = texts ?? (await session());
    return withState((state) =>
      evaluate(read, {
        ...{ session: open, order: texts?.order, graph, ports, state },
        ...{ signal, normalize, measure },
      }),
    );
  }

  /** Texts in the buckets of the run; undefined where a loss compares samples of a batch, and for data that have no padding. */
  async #inBuckets(dataset: Dataset): Promise<BucketForward | undefined> {
    const { buckets } = this.#options;
    if (!buckets) return undefined;
    if (!this.#inBucketsOf.has(dataset)) {
      const { evaluatedInBuckets } = await import("./bucket-forward.ts");
      const whole = await this.#open(dataset);
      const found = await evaluatedInBuckets(dataset, buckets, {
        ...{ model: this.#model, dims: this.#options.dims, whole },
        built: (dims) => this.#open(dataset, dims),
      });
      this.#inBucketsOf.set(dataset, found);
    }
    return this.#inBucketsOf.get(dataset);
  }

  async release(): Promise<void> {
    for (const session of this.#sessions) await (await session.catch(() => undefined))?.release();
  }

  /**
   * @param dataset - its size decides on the batch; without one, an open graph of whatever batch will do
   * @param dims - other lengths than those of the run
   */
  async #open(dataset?: Dataset, dims?: TrainerOptions["dims"]): Promise<Opened> {
    // Beside a teacher, the labels of a dataset decide on the losses.
    const options = this.#taught?.evaluated(dataset, this.#options) ?? this.#options;
    const { batch: most, objective, teacher } = options;
    // A loss that is one number for a batch counts every sample if all batches are equal.
    const inGraph =
      teacher || (objective && !termsOf(objective).every((term) => isObjective(term.objective)));
    const even = inGraph && most !== undefined && hasFreeBatch(graphOf(this.#model), this.#options);
    const batch = even && dataset ? (await evaluating()).evenBatch(dataset.size, most) : most;
    const lengths = dims && JSON.stringify(dims);
    const known = dataset
      ? this.#opened.find((one) => one.options === options && one.batch === batch && one.lengths === lengths)
      : this.#opened[0];
    if (known) return known;
    const lower = await this.#backend.lowering();
    const own = { ...options, ...(batch !== undefined && { batch }), ...(dims && { dims }) };
    const { buildEvaluation } = await import("../programs/evaluation.ts");
    const graph = await buildEvaluation(this.#model, own, this.#ports, this.#probe, lower);
    const ports = graph.data ?? this.#ports;
    const measure = await this.#measuring(graph, batchOf(ports));
    let open: Promise<ForwardSession> | undefined;
    const session = () => {
      if (open) return open;
      open = this.#backend.openForward(graph.model, this.#options);
      this.#sessions.push(open);
      return open;
    };
    const opened = { session, graph, ports, measure, options, batch, lengths };
    this.#opened.push(opened);
    return opened;
  }

  /** @throws UsageError for metrics that are not defined for any of the losses */
  async #measuring(graph: EvaluationGraph, batch: number): Promise<Opened["measure"]> {
    const { metrics = [] } = this.#options;
    return metrics.length === 0 ? undefined : (await evaluating()).measureOf(metrics, graph, batch);
  }
}
